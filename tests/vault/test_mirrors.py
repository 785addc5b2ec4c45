"""One primary remote and mirrors: the same bytes on all, delivered to each, and any of them keeps devices going."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import vaultsync as vs
from vaultsync.sync import names
from vaultsync.testing import FaultyRemote, MemoryRemote, environment, memory_vault
from vaultsync.testing.vaults import KEY, PASSWORD

SCHEMA = vs.Schema(
    "notes",
    version=1,
    platform="linux",
    types=[vs.EntryType("note", fields=[vs.Field("title", vs.text), vs.Field("scan", vs.file)])],
)
MIRROR = "memory://mirror"


def titles(vault: vs.Vault) -> set[str]:
    return {str(entry["title"]) for entry in vault.view()}


def envelopes(remote: MemoryRemote) -> dict[str, bytes]:
    return {name: data for name, data in remote.objects.items() if names.parse_envelope(name)}


def wait_for(holds: Callable[[], bool], patience: float = 20.0) -> None:
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "still not so"
        time.sleep(0.01)


def test_the_same_bytes_are_on_every_remote_those_of_other_devices_too() -> None:
    primary, mirror = MemoryRemote(), MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=primary, device="Laptop")
    phone = memory_vault(SCHEMA, joins=laptop, device="Phone")
    phone.add("note", title="before there was a mirror")
    phone.sync()
    laptop.sync()
    laptop.connect(MIRROR, remote=mirror, mirror=True)
    assert laptop.mirrors == (MIRROR,)
    laptop.sync()
    assert envelopes(mirror) == envelopes(primary)
    entry = phone.add("note", title="by the one that knows no mirror")
    phone.attach(entry, "a.bin", b"contents")
    phone.sync()
    laptop.sync()
    laptop.attach(laptop.add("note", title="by the other"), "b.bin", b"contents")
    laptop.sync()
    assert envelopes(mirror) == envelopes(primary)
    blobs = [{name for name in remote.objects if names.parse_blob(name)} for remote in (primary, mirror)]
    assert blobs[0] == blobs[1]
    assert len(blobs[0]) == 2, "attachments of the other device too"
    assert not laptop.status.findings
    assert (laptop.status.state, laptop.status.pending) == (vs.State.UP_TO_DATE, 0)
    assert [(one.remote, one.state, one.pending) for one in laptop.status.mirrors] == [(MIRROR, vs.State.UP_TO_DATE, 0)]
    again = laptop.sync()
    assert (again.sent, again.received) == (0, 0)
    phone.close()
    laptop.close()


def test_a_mirror_keeps_devices_going_while_the_primary_is_away() -> None:
    primary, mirror = MemoryRemote(), MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=primary, device="Laptop")
    phone = memory_vault(SCHEMA, joins=laptop, device="Phone")
    for vault in (laptop, phone):
        vault.connect(MIRROR, remote=mirror, mirror=True)
        vault.sync()
    primary.present = False
    laptop.add("note", title="one")
    phone.add("note", title="two")
    for vault in (laptop, phone, laptop):
        vault.sync()
    assert titles(laptop) == titles(phone) == {"one", "two"}
    status = laptop.status
    assert (status.state, status.remote) == (vs.State.UP_TO_DATE, "memory://")
    assert "away" in status.message, "the person hears that the primary one is not there"
    primary.present = True
    for vault in (laptop, phone, laptop):
        vault.sync()
    assert envelopes(primary) == envelopes(mirror)
    assert not laptop.status.findings + phone.status.findings
    mirror.present = primary.present = False
    with pytest.raises(vs.RemoteUnavailable):
        laptop.sync()
    phone.close()
    laptop.close()


def test_in_the_background_too(tmp_path: Path) -> None:
    urls = [(tmp_path / name).as_uri() for name in ("primary", "mirror")]
    laptop = vs.Vault.create(
        tmp_path / "a", schema=SCHEMA, password=PASSWORD, key=KEY, device="Laptop", environment=environment(1)
    )
    laptop.connect(urls[0])
    laptop.sync()
    phone = vs.Vault.join(
        tmp_path / "b", urls[0], schema=SCHEMA, password=PASSWORD, code=laptop.recovery_code, key=KEY, device="Phone",
        environment=environment(2),
    )  # fmt: skip
    for vault in (laptop, phone):
        vault.connect(urls[1], mirror=True)
    (tmp_path / "primary").rename(tmp_path / "gone")
    laptop.add("note", title="through the mirror")
    started = time.monotonic()
    wait_for(lambda: titles(phone) == {"through the mirror"}, 30)
    print(f"through the mirror after {time.monotonic() - started:.1f} s")
    (tmp_path / "gone").rename(tmp_path / "primary")
    phone.add("note", title="and back")
    wait_for(lambda: len(titles(laptop)) == 2, 30)
    phone.close()
    laptop.close()
    with vs.Vault.open(tmp_path / "a", schema=SCHEMA, key=KEY, environment=environment(3)) as again:
        assert again.mirrors == (urls[1],), "remembered"


def test_what_is_refused_and_how_it_ends() -> None:
    primary, mirror = MemoryRemote(), MemoryRemote()
    laptop = memory_vault(SCHEMA, device="Laptop")
    with pytest.raises(vs.NotConnected, match="first"):
        laptop.connect(MIRROR, remote=mirror, mirror=True)
    with pytest.raises(vs.NotConnected):
        laptop.disconnect()
    laptop.connect("memory://", remote=primary)
    laptop.connect(MIRROR, remote=mirror, mirror=True)
    with pytest.raises(vs.UsageError, match="already"):
        laptop.connect(MIRROR, remote=mirror, mirror=True)
    with pytest.raises(vs.NotConnected):
        laptop.disconnect("memory://elsewhere")
    laptop.disconnect("memory://")
    assert (laptop.status.remote, laptop.mirrors) == (MIRROR, ()), "what is left is primary"
    laptop.add("note", title="x")
    laptop.sync()
    assert envelopes(mirror)
    assert not envelopes(primary)
    laptop.disconnect()
    assert laptop.status.state is vs.State.NOT_CONNECTED
    with pytest.raises(vs.NotConnected):
        laptop.sync()
    laptop.add("note", title="y")
    laptop.connect("memory://", remote=primary)
    laptop.sync()
    assert len(envelopes(primary)) == 2, "what was sent elsewhere is sent here as well"
    laptop.close()


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_packed_twice_or_lost_whatever_fails_between_put_and_mark(seed: int) -> None:
    """Puts whose acknowledgement is lost, on both remotes, and a device that begins anew from its file each time."""
    primary, mirror = MemoryRemote(), MemoryRemote()
    laptop = memory_vault(SCHEMA, remote=primary, seed=f"laptop{seed}", device="Laptop")
    laptop.connect(MIRROR, remote=mirror, mirror=True)
    faulty = [FaultyRemote(inner, seed + n) for n, inner in enumerate((primary, mirror))]
    for number in range(8):
        for link, remote in zip(laptop._syncing.links, faulty, strict=True):
            link.exchange().remote = remote
        laptop.add("note", title=f"{number}")
        with contextlib.suppress(vs.RemoteError):
            laptop.sync()
        for link in laptop._syncing.links:
            link.forget()
    for remote in faulty:
        remote.calm()
    laptop.sync()
    laptop.sync()
    assert envelopes(primary) == envelopes(mirror), f"seed {seed}"
    seqs = sorted(names.parse_envelope(name).seq for name in envelopes(primary))  # type: ignore[union-attr]
    assert seqs == list(range(1, len(seqs) + 1)), f"each number once, seed {seed}"
    phone = memory_vault(SCHEMA, joins=laptop, remote=mirror, device="Phone")
    assert titles(phone) == {str(number) for number in range(8)}
    phone.close()
    laptop.close()
