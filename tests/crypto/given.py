"""What the tests of this folder start from: seeded entropy and a small vault's keys. All replays from its seeds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from vaultsync.crypto.keys import Chain, DeviceKeys, EpochKey
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.roster_entry import Claim

EXAMPLES = int(os.environ.get("VAULTSYNC_EXAMPLES", "100"))
THOROUGH = "VAULTSYNC_EXAMPLES" in os.environ


class Seeded:
    """Entropy that repeats itself: SHAKE-256 of seed and counter."""

    def __init__(self, seed: str) -> None:
        self.seed, self.drawn = seed, 0

    def __call__(self, size: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(f"{self.seed}/{self.drawn}".encode()).digest(size)


def device(name: str) -> DeviceKeys:
    return DeviceKeys.generate(Seeded(f"device {name}"))


@dataclass(frozen=True)
class World:
    recovery: DeviceKeys
    laptop: DeviceKeys
    phone: DeviceKeys
    laptop_chain: Chain
    phone_chain: Chain
    first: Roster
    roster: Roster
    entries: tuple[bytes, bytes]
    epoch: EpochKey


def world() -> World:
    """A vault of a laptop and a phone."""
    recovery, laptop, phone = device("recovery"), device("laptop"), device("phone")
    laptop_chain = Chain.new(laptop.public.id, Seeded("laptop chain"))
    phone_chain = Chain.new(phone.public.id, Seeded("phone chain"))
    first, create = Roster.found(recovery, laptop, laptop_chain, entropy=Seeded("vault"))
    roster, add = first.add_device(laptop, Claim.make(phone, phone_chain, first.vault_id))
    epoch = roster.epoch_keys(phone)[roster.epoch]
    return World(recovery, laptop, phone, laptop_chain, phone_chain, first, roster, (create, add), epoch)


def flips(data: bytes, *, every_bit: bool = True) -> Iterator[bytes]:
    """Each copy of ``data`` with one bit changed; or one bit a byte, another one from byte to byte."""
    for at in range(len(data)):
        for bit in range(8) if every_bit else (at * 5 % 8,):
            yield data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]


def cuts(data: bytes) -> Iterator[bytes]:
    """Cut off, and with a byte put in, at every offset."""
    for at in range(len(data)):
        yield data[:at]
        yield data[:at] + b"\0" + data[at:]
    yield data + b"\0"
    yield data + data
