"""Writes the golden vectors beside this file: ``python -m tests.crypto.make_vectors`` from the root of the repository.

Each file is a list of {about, call, given, expect}: ``call`` names a function of ``CALLS`` below, ``given`` its
arguments (hex for bytes), ``expect`` is ``{"value": ...}`` or ``{"error": "<class of vaultsync.errors>"}``. What was
sealed from seeded entropy comes out the same whenever this runs, except roster entries with grants and answers of a
pairing: HPKE draws its own randomness, so those, and what is made for their vault, are only ever opened. Other
implementations are welcome to these files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.crypto.given import Seeded, World, device, world
from vaultsync import errors
from vaultsync.crypto import (
    account,
    body,
    checkpoint,
    crockford,
    envelope,
    epochs,
    packing,
    pairing,
    primitives,
    roster_entry,
    slots,
)
from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.keys import Chain, DeviceKeys, EpochKey
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.rows import LocalKey
from vaultsync.remote import signing

FOLDER = Path(__file__).parent / "vectors"
Vector = dict[str, Any]


# ---- what a vector can ask for ----------------------------------------------------------------------------------


def _device(seed: bytes) -> dict[str, str]:
    keys = DeviceKeys.from_bytes(seed)
    return {"id": keys.public.id.hex(), "public": keys.public.to_bytes().hex()}


def _chain(device_id: bytes, nonce: bytes) -> str:
    return Chain.of(device_id, nonce).id.hex()


def _epoch(key: bytes) -> dict[str, str]:
    return {"id": EpochKey(key).id.hex(), "check": EpochKey(key).check.hex()}


def _link(newer: bytes, link: bytes) -> str:
    held = epochs.Epoch(EpochKey(newer).check, (epochs.Link(link[:32], link[32:]),))
    return next(
        key.key.hex() for id, key in epochs.open_links([EpochKey(newer)], {held.id: held}).items() if id != held.id
    )


def _open_row(local_key: bytes, table: str, row_key: bytes, heads: bytes, sealed: bytes) -> str:
    return LocalKey(local_key[:16], local_key[16:], Seeded("unused")).open(table, row_key, sealed, heads).hex()


def _open_slot(slot: bytes, password: str | None = None, raw_key: bytes | None = None, weak: bool = False) -> str:
    key = slots.open_slot(slot, password=password, raw_key=raw_key, entropy=Seeded("unused"), allow_weak=weak)
    return key.to_bytes().hex()


def _parse_code(text: str) -> dict[str, str]:
    code = RecoveryCode.parse(text)
    secrets = code.secrets()
    return {
        "text": str(code),
        "bits": code.to_bytes().hex(),
        "locator": secrets.locator.hex(),
        "claim_key": secrets.claim_key.hex(),
        "salt": secrets.salt.hex(),
    }


def _open_account(code: str, password: str, slot: bytes, weak: bool = False) -> list[str]:
    contents = account.open_account(RecoveryCode.parse(code), password, slot, allow_weak=weak)
    parts = (contents.recovery.to_bytes(), contents.vault_id, contents.roster_key, contents.roster_head)
    return [part.hex() for part in parts]


def _open_envelope(data: bytes, sign_public: bytes, epoch_key: bytes, vault_id: bytes) -> str:
    return envelope.open_envelope(data, sign_public=sign_public, epoch=EpochKey(epoch_key), vault_id=vault_id).hex()


def _decode_body(data: bytes) -> dict[str, Any]:
    read = body.decode(data)
    fields = {name: getattr(read, name) for name in ("generation", "count", "wall_ms")}
    frontier = [[chain.hex(), seq, env.hex()] for chain, (seq, env) in sorted(read.frontier.items())]
    return fields | {"roster_head": read.roster_head.hex(), "changes": read.changes.hex(), "frontier": frontier}


def _load_roster(vault_id: bytes, entries: list[str], seed: bytes) -> dict[str, Any]:
    roster = Roster.load(vault_id, map(bytes.fromhex, entries))
    if roster.refused:
        raise next(iter(roster.refused.values()))
    keys = roster.epoch_keys(DeviceKeys.from_bytes(seed))
    return {
        "members": {
            id.hex(): [chain.hex() for chain in member.chains] for id, member in sorted(roster.members.items())
        },
        "former": sorted(id.hex() for id in roster.former),
        "revoked": {
            chain.hex(): {
                "pins": [[seq, env_id.hex()] for seq, env_id in sorted(end.pins)],
                "acks": [[seq, env_id.hex()] for seq, env_id in sorted(end.acks)],
            }
            for chain, end in sorted(roster.revoked.items())
        },
        "epoch": roster.epoch.hex(),
        "head": roster.head.hex(),
        "needs_update": roster.needs_update,
        "epoch_keys": {id.hex(): key.key.hex() for id, key in keys.items()},
    }


def _open_entry(data: bytes, vault_id: bytes, roster_key: bytes, hash: bytes) -> str:
    return roster_entry.open_entry(data, vault_id=vault_id, roster_key=roster_key, hash=hash).hex()


def _parse_invitation(text: str) -> dict[str, Any]:
    read = Invitation.parse(text)
    vault_id = read.vault_id and read.vault_id.hex()
    place = {"remote": read.remote, "mailbox": read.mailbox.hex(), "key": read.key.hex()}
    return place | {"expires_ms": read.expires_ms, "vault_id": vault_id, "access": read.access().public.hex()}


def _access(seed: bytes) -> str:
    return DeviceKeys.from_bytes(seed).access.public.hex()


def _bucket(owner: bytes) -> str:
    return signing.bucket_of(owner).hex()


def _edit(seed: bytes, n: int, members: list[str]) -> str:
    key = DeviceKeys.from_bytes(seed).access
    return signing.Membership.edit(key.sign, key.public, n, map(bytes.fromhex, members)).signature.hex()


def _grant(seed: bytes, owner: bytes, n: int, member: bytes) -> str:
    key = DeviceKeys.from_bytes(seed).access
    base = signing.Membership(owner, n, (), bytes(64))
    return base.granting(key.sign, key.public, member).grants[0].signature.hex()


def _handover(former: bytes, successor: bytes, number: int, members: list[str]) -> str:
    old, new = DeviceKeys.from_bytes(former).access, DeviceKeys.from_bytes(successor).access
    bucket = bytes.fromhex(_bucket(old.public))
    return roster_entry.hand_over(old, new, bucket, number, map(bytes.fromhex, members)).hex()


def _request(seed: bytes, nonce: bytes, counter: int, body: bytes, line: list[str]) -> str:
    method, host, target = line
    parts = signing.request_parts(nonce, counter, hashlib.sha256(body).digest(), method, host, target)
    return DeviceKeys.from_bytes(seed).access.sign("relay-request", *parts).hex()


def _pair(text: str, seed: bytes, nonce: bytes, name: str, drawn: str, letters: list[str]) -> dict[str, Any]:
    """A newcomer whose random numbers are SHAKE-256 of "<drawn>/<count>", and what it makes of a sponsor's letters."""
    keys = DeviceKeys.from_bytes(seed)
    chain = Chain.of(keys.public.id, nonce)
    newcomer = pairing.Joiner(Invitation.parse(text), keys, chain, name, entropy=Seeded(drawn))
    for letter in letters:
        newcomer.receive(bytes.fromhex(letter))
        newcomer.confirm()
    found: dict[str, Any] = {"code": newcomer.code, "letters": [letter.data.hex() for letter in newcomer.outbox]}
    if newcomer.joined is not None:
        roster, welcome = newcomer.joined
        found |= {"head": roster.head.hex(), "roster_key": welcome.roster_key.hex(), "account": welcome.account.hex()}
        found["frontier"] = [[chain.hex(), seq, env.hex()] for chain, (seq, env) in sorted(welcome.frontier.items())]
    return found


def _checkpoint(data: bytes, entries: list[str], vault_id: bytes, last: list[list[Any]]) -> dict[str, Any]:
    read = checkpoint.decode(data)
    ends = {bytes.fromhex(actor): [(seq, bytes.fromhex(name))] for actor, seq, name in last}
    checkpoint.verify(read, ends, Roster.load(vault_id, map(bytes.fromhex, entries)), vault_id)
    return {"document": read.document.hex(), "chains": sorted(chain.hex() for chain in read.tips)}


def _unpack(data: bytes) -> str:
    return repr(packing.unpack(data, max_bytes=1 << 20))


CALLS: dict[str, Callable[..., Any]] = {
    "device": _device,
    "chain": _chain,
    "epoch": _epoch,
    "link": _link,
    "unpack": _unpack,
    "open row": _open_row,
    "open slot": _open_slot,
    "parse code": _parse_code,
    "open account": _open_account,
    "open envelope": _open_envelope,
    "decode body": _decode_body,
    "load roster": _load_roster,
    "open entry": _open_entry,
    "parse invitation": _parse_invitation,
    "pair": _pair,
    "verify checkpoint": _checkpoint,
    "access key": _access,
    "bucket": _bucket,
    "relay edit": _edit,
    "relay grant": _grant,
    "relay handover": _handover,
    "relay request": _request,
}
TEXT = {"table", "password", "text", "code", "name", "drawn"}


def run(vector: Vector) -> Vector:
    """What the code makes of a vector: its ``expect``."""
    given = {
        name: bytes.fromhex(value) if isinstance(value, str) and name not in TEXT else value
        for name, value in vector["given"].items()
    }
    try:
        return {"value": CALLS[vector["call"]](**given)}
    except errors.VaultSyncError as error:
        return {"error": type(error).__name__}


# ---- the vectors ------------------------------------------------------------------------------------------------


def _vector(about: str, call: str, error: type[errors.VaultSyncError] | None = None, /, **given: Any) -> Vector:
    given = {name: value.hex() if isinstance(value, bytes) else value for name, value in given.items()}
    vector: Vector = {"about": about, "call": call, "given": given}
    vector["expect"] = run(vector)
    if vector["expect"].get("error") != (error and error.__name__):
        raise SystemExit(f"{about}: expected {error}, the code says {vector['expect']}")
    return vector


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def keys() -> Iterator[Vector]:
    seed = Seeded("vector seed")(32)
    yield _vector("public keys and id of a seed", "device", seed=seed)
    yield _vector("chain id of a nonce", "chain", device_id=device("laptop").public.id, nonce=Seeded("nonce")(16))
    old, new = EpochKey(Seeded("old")(32)), EpochKey(Seeded("new")(32))
    yield _vector("id and check of an epoch key", "epoch", key=old.key)
    link = epochs.link(new, old)
    yield _vector("older epoch key under the newer", "link", newer=new.key, link=link.check + link.sealed)
    yield _vector("link: wrong newer key", "link", errors.BadSeal, newer=bytes(32), link=link.check + link.sealed)
    for about, data in {
        "not minimal": "cd0001",
        "float": "cb" + "00" * 8,
        "duplicate": "82a16101a16102",
        "ext": "d40500",
    }.items():
        yield _vector(f"packing: {about}", "unpack", errors.MalformedEnvelope, data=bytes.fromhex(data))


def rows() -> Iterator[Vector]:
    key = LocalKey.generate(Seeded("vector local"))
    for size in (0, 1, 300):
        plain = Seeded(f"row {size}")(size) if size else b""
        sealed = key.seal("journal", b"\0\1", plain, b"heads")
        place = {"local_key": key.to_bytes(), "table": "journal", "row_key": b"\0\1", "heads": b"heads"}
        yield _vector(f"row of {size} bytes", "open row", **place, sealed=sealed)
    yield _vector("another table", "open row", errors.BadSeal, **place | {"table": "state"}, sealed=sealed)
    yield _vector("another row", "open row", errors.BadSeal, **place | {"row_key": b"\0\2"}, sealed=sealed)
    yield _vector("other heads", "open row", errors.BadSeal, **place | {"heads": b"older"}, sealed=sealed)
    yield _vector("unknown row format", "open row", errors.BadSeal, **place, sealed=b"\2" + sealed[1:])
    yield _vector("damaged tag", "open row", errors.BadSeal, **place, sealed=_flipped(sealed, len(sealed) - 1))


def slot() -> Iterator[Vector]:
    key, password, raw = LocalKey.generate(Seeded("vector local")), "pässword", Seeded("raw")(32)
    real = slots.make_slot(key, password=password, entropy=Seeded("slot 1"))
    yield _vector("password, 256 MiB", "open slot", slot=real, password=password)
    yield _vector("raw key", "open slot", slot=slots.make_slot(key, raw_key=raw, entropy=Seeded("slot 2")), raw_key=raw)
    weak = slots.make_slot(
        key, password=password, params=slots.WEAK_FOR_TESTS, entropy=Seeded("slot 3"), allow_weak=True
    )
    yield _vector("weak costs where allowed", "open slot", slot=weak, password="pa\u0308ssword", weak=True)
    yield _vector("weak costs in production", "open slot", errors.DamagedStore, slot=weak, password=password)
    yield _vector("wrong password", "open slot", errors.WrongPassword, slot=weak, password="password", weak=True)
    yield _vector("raw key for a password", "open slot", errors.WrongPassword, slot=weak, raw_key=raw, weak=True)
    bomb = weak[:5] + b"\xff" * 4 + weak[9:]
    yield _vector("4 TiB of memory", "open slot", errors.DamagedStore, slot=bomb, password=password)
    yield _vector(
        "commitment", "open slot", errors.WrongPassword, slot=_flipped(weak, 43), password=password, weak=True
    )
    yield _vector("later format", "open slot", errors.UpdateRequired, slot=b"VSS2" + weak[4:], password=password)


def recovery() -> Iterator[Vector]:
    code = str(RecoveryCode.generate(Seeded("vector code")))
    yield _vector("a code", "parse code", text=code)
    yield _vector("the same, as typed", "parse code", text=code.lower().replace("-", " ").replace("1", "l"))
    yield _vector(
        "one character wrong", "parse code", errors.WrongCode, text=code[:-1] + ("0" if code[-1] != "0" else "2")
    )
    yield _vector("too short", "parse code", errors.WrongCode, text=code[:-1])
    yield _vector("a later version", "parse code", errors.UpdateRequired, text=str(RecoveryCode(bytes(16), version=2)))


def accounts() -> Iterator[Vector]:
    code, password = RecoveryCode.generate(Seeded("vector code")), "pässword"
    contents = account.AccountContents(device("recovery"), b"v" * 16, b"k" * 32, b"h" * 32)
    real = account.seal_account(code, password, contents, number=1, entropy=Seeded("account 1"))
    both = {"code": str(code), "password": password}
    yield _vector("version 1", "open account", **both, slot=real)
    weak = account.seal_account(
        code, password, contents, number=2, entropy=Seeded("account 2"), version=account.TEST_VERSION, allow_weak=True
    )
    yield _vector("test version where allowed", "open account", **both, slot=weak, weak=True)
    yield _vector("test version in production", "open account", errors.MalformedEnvelope, **both, slot=weak)
    wrong = both | {"password": "password"}
    yield _vector("wrong password", "open account", errors.WrongPassword, **wrong, slot=weak, weak=True)
    wrong = both | {"code": str(RecoveryCode(bytes(16)))}
    yield _vector("wrong code", "open account", errors.WrongPassword, **wrong, slot=weak, weak=True)
    yield _vector("renumbered", "open account", errors.WrongPassword, **both, slot=_flipped(weak, 8), weak=True)
    yield _vector("later version", "open account", errors.UpdateRequired, **both, slot=weak[:4] + b"\2" + weak[5:])


def envelopes() -> Iterator[Vector]:
    laptop, epoch = device("laptop"), EpochKey.generate(Seeded("vector epoch"))
    header = envelope.Header(envelope.Kind.CHANGES, b"v" * 16, b"c" * 16, epoch.id, 7, b"p" * 32)
    tip = body.sign_tip(laptop, b"v" * 16, b"c" * 16, 9, b"h" * 32)
    frontier = {b"d" * 16: (3, b"e" * 32)}
    contents = body.Body(b"r" * 32, 0, frontier, body.frontier_digest(frontier), 1, b"changes", tip, 1_790_000_000_000)
    inside = body.encode(contents)
    yield _vector("a body", "decode body", data=inside)
    grouped = dataclasses.replace(contents, tip=None, group=body.Group(b"g" * 16, 0, 2))
    yield _vector("a body in a group, no tip", "decode body", data=body.encode(grouped))
    yield _vector("a body of a later version", "decode body", errors.UpdateRequired, data=b"\x9a\x02" + inside[2:])
    yield _vector("a body with too few fields", "decode body", errors.MalformedEnvelope, data=b"\x91\x01")
    given = {"sign_public": laptop.public.sign, "epoch_key": epoch.key, "vault_id": b"v" * 16}
    for size in (0, 252, 253, 5000):
        done = envelope.seal(header, bytes(size), laptop, epoch, Seeded(f"envelope {size}")).data
        yield _vector(f"body of {size} bytes", "open envelope", **given, data=done)
    done = envelope.seal(header, inside, laptop, epoch, Seeded("envelope")).data
    yield _vector("one edit", "open envelope", **given, data=done)

    def resigned(data: bytes) -> bytes:
        return data[:-64] + laptop.sign("env-sig", primitives.sha256("env-id", data[:-64]))

    for about, error, data in (
        ("signature", errors.BadSignature, _flipped(done, len(done) - 1)),
        ("sequence number", errors.BadSignature, _flipped(done, 55)),
        ("commitment, signed", errors.BadSeal, resigned(_flipped(done, 124))),
        ("ciphertext, signed", errors.BadSeal, resigned(_flipped(done, 156))),
        ("chain id, signed", errors.BadSeal, resigned(_flipped(done, 24))),
        ("previous envelope, signed", errors.BadSeal, resigned(_flipped(done, 56))),
        ("suite", errors.UpdateRequired, _flipped(done, 4)),
        ("flags", errors.UpdateRequired, _flipped(done, 7)),
        ("length", errors.MalformedEnvelope, _flipped(done, 123)),
        ("cut off", errors.MalformedEnvelope, done[:-1]),
    ):
        yield _vector(f"damaged: {about}", "open envelope", error, **given, data=data)
    weak = given | {"sign_public": b"\1" + bytes(31)}
    forged = done[:-64] + b"\1" + bytes(63)
    yield _vector("forged under a small-order key", "open envelope", errors.WeakKey, **weak, data=forged)
    yield _vector("another vault", "open envelope", errors.BadSeal, **given | {"vault_id": b"w" * 16}, data=done)


def roster() -> Iterator[Vector]:
    w = world()
    entries, vault_id = [entry.hex() for entry in w.entries], w.roster.vault_id
    phone = {"vault_id": vault_id, "seed": w.phone.to_bytes()}
    yield _vector("laptop and phone", "load roster", **phone, entries=entries)
    yield _vector("in another order", "load roster", **phone, entries=entries[::-1])
    chained, entry = w.roster.add_chain(w.phone, Chain.new(w.phone.public.id, Seeded("vector chain")))
    yield _vector("a further chain", "load roster", **phone, entries=[*entries, entry.hex()])
    unknown = roster_entry.build(
        roster_entry.Op.CHECKPOINTER, n=4, prev=chained.heads, author=w.recovery, subject=(w.phone.public.id,)
    )
    yield _vector("a later operation", "load roster", **phone, entries=[*entries, entry.hex(), unknown.hex()])
    bad = [*entries, _flipped(entry, len(entry) - 1).hex()]
    yield _vector("a bad signature", "load roster", errors.BadSignature, **phone, entries=bad)
    yield _vector("first entry missing", "load roster", errors.MalformedRoster, **phone, entries=entries[1:])
    yield from _ended(w, phone, entries)
    sealed = roster_entry.seal_entry(bytes.fromhex(entries[1]), vault_id=vault_id, roster_key=b"k" * 32)
    given = {"data": sealed, "vault_id": vault_id, "roster_key": b"k" * 32, "hash": w.roster.head}
    yield _vector("an entry on a remote", "open entry", **given)
    yield _vector("named as another", "open entry", errors.BadSeal, **given | {"hash": bytes(32)})


def _ended(w: World, phone: dict[str, bytes], entries: list[str]) -> Iterator[Vector]:
    """Everything that ends something, over the same vault."""
    place = {w.phone_chain.id: (4, b"4" * 32)}
    gone, entry = w.roster.remove(w.recovery, [w.phone.public.id], place, entropy=Seeded("vector epoch"))
    removal = [*entries, entry.hex()]
    yield _vector("the phone removed, as it sees it", "load roster", **phone, entries=removal)
    laptop = phone | {"seed": w.laptop.to_bytes()}
    yield _vector("the phone removed, as the laptop sees it", "load roster", **laptop, entries=removal)
    _, ack = gone.ack(w.laptop, {w.phone_chain.id: (6, b"6" * 32)})
    yield _vector("and acknowledged", "load roster", **laptop, entries=[*removal, ack.hex()])
    _, backdated = w.roster.add_chain(w.phone, Chain.new(w.phone.public.id, Seeded("vector backdated")))
    yield _vector("with a chain backdated", "load roster", **laptop, entries=[*removal, backdated.hex()])
    _, rotation = w.roster.rotate(w.recovery, entropy=Seeded("vector rotation"))
    yield _vector("rotated", "load roster", **phone, entries=[*entries, rotation.hex()])
    yield _vector("rotated beside the removal", "load roster", **laptop, entries=[*removal, rotation.hex()])
    tablet = device("tablet")
    claim = roster_entry.Claim.make(tablet, Chain.new(tablet.public.id, Seeded("vector tablet")), w.roster.vault_id)
    _, add = w.roster.add_device(w.laptop, claim)
    both = gone.merge([add])
    made = both.grant_missing(w.laptop)
    if made is None:
        raise SystemExit("the tablet lacks a key and nothing is granted")
    newcomer = phone | {"seed": tablet.to_bytes()}
    yield _vector("added beside the removal", "load roster", **newcomer, entries=[*removal, add.hex()])
    yield _vector("and granted the new key", "load roster", **newcomer, entries=[*removal, add.hex(), made[1].hex()])
    _, renewal = w.roster.renew(w.recovery, device("recovery 2"), entropy=Seeded("vector renewal"))
    yield _vector("recovery identity renewed", "load roster", **phone, entries=[*entries, renewal.hex()])
    old = phone | {"seed": w.recovery.to_bytes()}
    yield _vector("renewed, as the old one sees it", "load roster", **old, entries=[*entries, renewal.hex()])
    thief = [*entries, renewal.hex(), removal[-1]]
    yield _vector("the old one removes beside it", "load roster", **phone, entries=thief)
    subject = packing.unpack(entry[4:-64], max_bytes=1 << 20)[4]
    by_member = roster_entry.build(roster_entry.Op.REMOVE, n=3, prev=w.roster.heads, author=w.laptop, subject=subject)
    forged = [*entries, by_member.hex()]
    yield _vector("removed by a member", "load roster", errors.MalformedRoster, **laptop, entries=forged)
    without_proof = bytearray(renewal)
    at = bytes(renewal).index(device("recovery 2").public.to_bytes()) + 1280 + 2
    without_proof[at] ^= 1
    signed = bytes(without_proof[:-64])
    forged = [*entries, (signed + w.recovery.sign("roster-sig", signed)).hex()]
    yield _vector("renewed without possession", "load roster", errors.BadSignature, **phone, entries=forged)


def invitations() -> Iterator[Vector]:
    invited = _invited()
    yield _vector("an invitation", "parse invitation", text=str(invited))
    mangled = " ".join(str(invited)).lower().replace("1", "l")
    yield _vector("the same, as a messenger mangles it", "parse invitation", text=mangled)
    free = Invitation.make("file:///mnt/stick", expires_ms=1, entropy=Seeded("vector invitation 2"))
    yield _vector("of no vault in particular", "parse invitation", text=str(free))
    wrong = str(invited)[:-9] + ("0" if str(invited)[-9] != "0" else "2") + str(invited)[-8:]
    yield _vector("one character wrong", "parse invitation", errors.WrongInvitation, text=wrong)
    yield _vector("cut off", "parse invitation", errors.WrongInvitation, text=str(invited)[:-1])
    later = packing.pack((2, "whatever comes"))
    later += primitives.sha256("invitation", later)[:4]
    yield _vector("a later version", "parse invitation", errors.UpdateRequired, text="VSI" + crockford.encode(later))


def _invited() -> Invitation:
    moment, source = 1_790_000_600_000, Seeded("vector invitation")
    return Invitation.make("https://relay.example/", expires_ms=moment, entropy=source, vault_id=b"v" * 16)


def pairings() -> Iterator[Vector]:
    w, tablet, now = world(), device("tablet"), 1_790_000_000_000
    vault_id = w.roster.vault_id
    invited = Invitation.make(
        "https://relay.example/", expires_ms=now + 1000, entropy=Seeded("vector pairing"), vault_id=vault_id
    )
    sponsor = pairing.Inviter(invited, w.laptop, w.roster, entropy=Seeded("vector sponsor"))
    chain = Chain.new(tablet.public.id, Seeded("vector tablet"))
    newcomer = pairing.Joiner(invited, tablet, chain, "Tablet", entropy=Seeded("vector newcomer"))
    sponsor.receive(newcomer.outbox[0].data, now_ms=now)
    offer = sponsor.outbox[0].data
    newcomer.receive(offer)
    sponsor.receive(newcomer.outbox[1].data, now_ms=now)
    claim = roster_entry.Claim.make(tablet, chain, vault_id)
    added, _ = w.roster.add_device(w.laptop, claim)
    handed = pairing.Welcome(
        vault_id,
        b"k" * 32,
        tuple(entry.data for entry in added.log),
        locator=b"l" * 16,
        number=2,
        account=b"account slot",
        frontier={w.laptop_chain.id: (7, b"7" * 32)},
    )
    sponsor.approve(handed, now_ms=now)
    answer = sponsor.outbox[1].data
    given = {"text": str(invited), "seed": tablet.to_bytes(), "nonce": chain.nonce}
    given |= {"name": "Tablet", "drawn": "vector newcomer"}
    yield _vector("before any letter", "pair", **given, letters=[])
    yield _vector("the code", "pair", **given, letters=[offer.hex()])
    yield _vector("joined", "pair", **given, letters=[offer.hex(), answer.hex()])
    early = [answer.hex(), offer.hex()]
    yield _vector("answer before the offer", "pair", errors.BadSeal, **given, letters=early)
    late = [offer.hex(), _flipped(answer, len(answer) - 1).hex()]
    yield _vector("answer damaged", "pair", errors.BadSeal, **given, letters=late)
    own = [newcomer.outbox[0].data.hex()]
    yield _vector("own letter reflected", "pair", errors.BadSeal, **given, letters=own)
    other = given | {"drawn": "another newcomer"}
    yield _vector("offer to somebody else", "pair", errors.PairingFailed, **other, letters=[offer.hex()])
    later = b"VSP2" + offer[4:]
    yield _vector("letter of a later format", "pair", errors.UpdateRequired, **given, letters=[later.hex()])
    sponsor._keys = w.phone
    signed = list(packing.unpack(sponsor._bodies[4], max_bytes=1 << 20))
    signed[3] = w.phone.sign("pair-answer", sponsor._transcript or b"", *signed[1:3])
    sponsor._write(4, *signed[1:])
    forged = [offer.hex(), sponsor.outbox[1].data.hex()]
    yield _vector("answer signed by another", "pair", errors.BadSignature, **given, letters=forged)


def checkpoints() -> Iterator[Vector]:
    laptop, phone = device("laptop"), device("phone")
    stored = json.loads((FOLDER / "roster.json").read_text())[0]["given"]
    vault_id, entries = bytes.fromhex(stored["vault_id"]), stored["entries"]
    chains = {world().laptop_chain.id: laptop, world().phone_chain.id: phone}
    last = {chain: (9 + at, bytes([at]) * 32) for at, chain in enumerate(sorted(chains))}
    tips = {
        chain: checkpoint.Tip(seq, name, body.sign_tip(chains[chain], vault_id, chain, seq, name))
        for chain, (seq, name) in last.items()
    }
    frontier = dict.fromkeys(chains, (3, b"e" * 32))
    made = checkpoint.Checkpoint(b"saved document", tips, frontier, b"h" * 32, 2)
    ends = [[chain.hex(), seq, name.hex()] for chain, (seq, name) in sorted(last.items())]
    given = {"entries": entries, "vault_id": vault_id, "last": ends}
    data = checkpoint.encode(made)
    yield _vector("two chains", "verify checkpoint", **given, data=data)
    fewer = given | {"last": ends[:1]}
    yield _vector("tip too many", "verify checkpoint", errors.MalformedEnvelope, **fewer, data=data)
    forged = given | {"last": [[ends[0][0], ends[0][1], "ff" * 32], ends[1]]}
    yield _vector("forged below a tip", "verify checkpoint", errors.MalformedEnvelope, **forged, data=data)
    chain = sorted(chains)[0]
    wrong = tips | {chain: tips[chain]._replace(signature=tips[sorted(chains)[1]].signature)}
    bad = checkpoint.encode(checkpoint.Checkpoint(b"saved document", wrong, frontier, b"h" * 32, 2))
    yield _vector("tip signed by another", "verify checkpoint", errors.BadSignature, **given, data=bad)
    yield _vector("later version", "verify checkpoint", errors.UpdateRequired, **given, data=b"\x96\x03" + data[2:])


def relays() -> Iterator[Vector]:
    recovery, laptop, phone = device("recovery"), device("laptop"), device("phone")
    owner = recovery.access.public
    yield _vector("a device's key", "access key", seed=laptop.to_bytes())
    yield _vector("the bucket of a vault, by its recovery identity's access key", "bucket", owner=owner)
    first = {"seed": recovery.to_bytes(), "n": 0, "members": [laptop.access.public.hex()]}
    yield _vector("the first list, signed when the vault is made", "relay edit", **first)
    later = sorted(one.access.public.hex() for one in (laptop, phone))
    yield _vector("a later list", "relay edit", seed=recovery.to_bytes(), n=3, members=later)
    given = {"seed": laptop.to_bytes(), "owner": owner, "n": 3, "member": phone.access.public}
    yield _vector("a member lets another in", "relay grant", **given)
    handed = {"former": recovery.to_bytes(), "successor": device("recovery 2").to_bytes(), "number": 1}
    yield _vector("a renewal hands the bucket over", "relay handover", **handed, members=later)
    asked = {"nonce": Seeded("vector nonce")(40), "counter": 7, "body": b"sealed bytes"}
    line = ["PUT", "relay.example:8443", f"/v1/{signing.bucket_of(owner).hex()}/objects/a/1"]
    yield _vector("a request", "relay request", seed=phone.to_bytes(), **asked, line=line)


FILES: dict[str, Callable[[], Iterator[Vector]]] = {
    "keys": keys,
    "rows": rows,
    "slots": slot,
    "recovery": recovery,
    "account": accounts,
    "envelope": envelopes,
    "roster": roster,
    "invitation": invitations,
    "pairing": pairings,
    "checkpoint": checkpoints,
    "relay": relays,
}
REPRODUCIBLE = [name for name in FILES if name not in ("roster", "pairing", "checkpoint")]


def main() -> None:
    """Writes every file; those that never come out the same only when they are missing."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in FILES.items():
        path = FOLDER / f"{name}.json"
        if name in REPRODUCIBLE or not path.exists():
            path.write_text(json.dumps(list(make()), indent=1, ensure_ascii=True) + "\n", encoding="ascii")
            print(path.name, len(json.loads(path.read_text())), "vectors")


if __name__ == "__main__":
    main()
