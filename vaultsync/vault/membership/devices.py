"""The person's devices as the roster (who they are) and the census (what they run) tell them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.replication.exchange import HEARD
from vaultsync.vault.replication.standing import Heard
from vaultsync.view.context import Device

__all__ = ["DeviceInfo", "census_rows", "devices", "heard"]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device. What it runs is ``None`` until its census row has arrived. ``heard_ms``: when it sealed the newest
    envelope of it that arrived here, by its own clock; ``None`` for this device and for one never heard from.
    ``arrived`` is false for one that was let in, and of which nothing ever came: still joining, or given up on the way.
    `Vault.revoke` takes it off the list."""

    id: str
    name: str
    this: bool
    app: str | None
    version: int | None
    release: str | None
    platform: str | None
    heard_ms: int | None
    arrived: bool = True


def devices(identity: Identity, census: Iterable[Device], ledger: Ledger) -> tuple[DeviceInfo, ...]:
    """Every member of the roster that writes, this device first, then by name."""
    rows = {device.id: device for device in census}
    heard = {name.removeprefix(HEARD): int(value) for name, value in ledger.states(HEARD).items()}
    found = []
    for member in identity.roster.members.values():
        if member.recovery:
            continue
        device_id = member.id.hex()
        row = rows.get(device_id)
        times = [heard[chain.hex()] for chain in member.chains if chain.hex() in heard]
        this = device_id == identity.device_id
        name = identity.name if this else row.name if row else f"Device {device_id[:8]}"
        found.append(
            DeviceInfo(
                device_id,
                name,
                this,
                row.app if row else None,
                row.version if row else None,
                row.release if row else None,
                row.platform if row else None,
                max(times, default=None),
                this or row is not None or bool(times),
            )
        )
    return tuple(sorted(found, key=lambda device: (not device.this, device.name.lower(), device.id)))


def census_rows(rows: Mapping[str, Any]) -> list[Device]:
    """What every device that ever was here says of itself, from the section ``devices``."""
    return [device for name, row in sorted(rows.items()) if (device := Device.parse(name, row)) is not None]


def heard(identity: Identity, census: Iterable[Device], ledger: Ledger) -> tuple[Heard, ...]:
    """When each other device was last heard from."""
    return tuple(
        Heard(device.id, device.name, device.heard_ms)
        for device in devices(identity, census, ledger)
        if not device.this
    )
