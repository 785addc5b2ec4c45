"""Every parser of bytes from outside, as a function of bytes that a fuzzer may call.

A target takes any bytes and returns, or raises one of the errors that it names; anything else is a bug. Where a seal or
a checksum would keep a fuzzer out, the target seals the bytes itself: what an insider could do. What was read is
written again where there is a writer: one value has one encoding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from tests.crypto.given import Seeded, device, world
from tests.crypto.test_checkpoint import HISTORY, certified
from tests.crypto.test_pairing import NOW, invitation, inviter, joiner, letters, until_code, welcome
from vaultsync.crypto import account, blob, body, checkpoint, crockford, envelope, moving, packing, roster_entry, slots
from vaultsync.crypto import primitives as p
from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.keys import DevicePublic
from vaultsync.crypto.letters import letter_number
from vaultsync.crypto.pairing import Inviter, Joiner
from vaultsync.crypto.recovery import RecoveryCode
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.rows import LocalKey
from vaultsync.document import codec, inspector, pack, rows
from vaultsync.document.changes import Change
from vaultsync.document.columns import to_unsigned
from vaultsync.document.engine import Edit, Engine
from vaultsync.errors import (
    DamagedStore,
    ImportFailed,
    MissingDependencies,
    Refused,
    RemoteRefused,
    UnknownChain,
    UpdateRequired,
    UsageError,
    WrongCode,
    WrongInvitation,
    WrongPassword,
)
from vaultsync.importers.registry import FORMATS, parse
from vaultsync.presets.passwords import passwords
from vaultsync.relay.access import Access, AccessError, bucket_of
from vaultsync.relay.storage import Cursor
from vaultsync.remote.davxml import multistatus
from vaultsync.remote.signing import Membership
from vaultsync.schema import published
from vaultsync.sync import names
from vaultsync.view.context import Context, Device
from vaultsync.view.entry import evaluate
from vaultsync.view.marks import Mark

__all__ = ["TARGETS", "Target"]

REFUSALS = (Refused, UpdateRequired)


@dataclass(frozen=True)
class Target:
    """``run`` reads bytes; ``seeds`` are inputs that it accepts; ``raises`` are the errors allowed."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    raises: tuple[type[Exception], ...] = REFUSALS

    def __call__(self, data: bytes) -> None:
        with suppress(*self.raises):
            self.run(data)


TARGETS: dict[str, Target] = {}


def target(
    seeds: Callable[[], list[bytes]], *raises: type[Exception]
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    def register(run: Callable[[bytes], object]) -> Callable[[bytes], object]:
        name = run.__name__.replace("_", "-")
        TARGETS[name] = Target(name, run, seeds, raises or REFUSALS)
        return run

    return register


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


class Different(AssertionError):
    """Bytes were accepted that their own writer would not have written."""


def same(written: bytes, data: bytes) -> None:
    if written != data:
        raise Different(f"{written.hex()} was read from {data.hex()}")


# ---- what the targets start from ----------------------------------------------------------------------------------
W = world()
KEYS = W.laptop
VAULT = W.roster.vault_id
HEADER = envelope.Header(envelope.Kind.CHANGES, VAULT, W.laptop_chain.id, W.epoch.id, 7, b"p" * 32)
LOCAL = LocalKey(b"s" * 16, b"k" * 32, Seeded("rows"))
CODE = RecoveryCode.generate(Seeded("code"))
RAW_KEY = b"r" * 32
BLOB_KEY = Seeded("blob")(32)


@cache
def engine() -> Engine:
    """A small document, its changes by two devices."""
    made = Engine.new()
    ids = [f"01J{n:023d}" for n in range(3)]
    for number, actor in enumerate((W.laptop_chain.id, W.phone_chain.id) * 3):
        entry = ids[number % 3]
        made.commit(
            actor,
            [
                Edit("entries", entry, "title", f"Title {number}"),
                Edit("entries", entry, "tags/a", True),
                Edit("settings", "", "n", number),
                Edit("entries", entry, "n", number / 2),
            ],
        )
    return made


@cache
def chunks() -> list[bytes]:
    return [chunk for chunk in engine().changes() if codec.decode(chunk).seq and codec.decode(chunk).deps]


def framed(contents: bytes) -> bytes:
    """A chunk whose frame and checksum are right."""
    inner = b"\1" + to_unsigned(len(contents)) + contents
    return b"\x85\x6f\x4a\x83" + sha256(inner).digest()[:4] + inner


def contents_of(chunk: bytes) -> bytes:
    at = 9
    while chunk[at] & 0x80:
        at += 1
    return chunk[at + 1 :]


@cache
def bodies() -> list[bytes]:
    packed = pack.pack([c for c in chunks() if codec.decode(c).actor == W.laptop_chain.id])
    tip = body.sign_tip(KEYS, VAULT, W.laptop_chain.id, 3, b"h" * 32)
    frontier = {W.phone_chain.id: (3, b"e" * 32)}
    digest = body.frontier_digest(frontier)
    full = body.Body(W.roster.head, 0, frontier, digest, 3, packed, tip, NOW, body.Group(b"g" * 16, 0, 2))
    return [body.encode(full), body.encode(body.Body(W.roster.head, 0, {}, digest, 0, b"", None, NOW))]


@cache
def account_key() -> account.AccountKey:
    return account.AccountKey(CODE, "correct horse", version=account.TEST_VERSION, allow_weak=True)


def account_slots() -> list[bytes]:
    contents = account.AccountContents(W.recovery, VAULT, b"k" * 32, W.roster.head)
    return [account_key().seal(contents, number=1, entropy=Seeded("account"))]


# ---- sealed objects -----------------------------------------------------------------------------------------------
@target(lambda: [envelope.seal(HEADER, b, KEYS, W.epoch, Seeded("e")).data for b in bodies()])
def envelope_of_a_remote(data: bytes) -> None:
    header, _ = envelope.peek(data)
    envelope.open_envelope(data, sign_public=KEYS.public.sign, epoch=W.epoch, vault_id=header.vault_id)


@target(lambda: [envelope.seal(HEADER, b, KEYS, W.epoch, Seeded("e")).data[:-64] for b in bodies()])
def envelope_signed_by_an_insider(data: bytes) -> None:
    whole = data + KEYS.sign("env-sig", p.sha256("env-id", data))
    envelope.open_envelope(whole, sign_public=KEYS.public.sign, epoch=W.epoch, vault_id=VAULT)


@target(bodies)
def envelope_body(data: bytes) -> None:
    same(body.encode(body.decode(data)), data)


@target(lambda: [checkpoint.encode(certified(HISTORY[:9]))])
def checkpoint_body(data: bytes) -> None:
    same(checkpoint.encode(checkpoint.decode(data)), data)


@target(lambda: [blob.seal_blob(b"contents" * n, vault_id=VAULT, entropy=Seeded("blob"))[0] for n in (0, 1, 99)])
def attachment(data: bytes) -> None:
    blob.open_blob(data, BLOB_KEY, vault_id=VAULT)


@target(
    lambda: [packing.pack(value) for value in (None, (1, b"x", "y", (True, {"a": 1, "b": ()})), ("é" * 40, -(2**63)))]
)
def packed(data: bytes) -> None:
    same(packing.pack(packing.unpack(data, max_bytes=1 << 20)), data)


@target(lambda: [packing.pad(b"x" * n) for n in (0, 7, 300)])
def padded(data: bytes) -> None:
    same(packing.pad(packing.unpad(data)), data)


# ---- the roster ---------------------------------------------------------------------------------------------------
@target(lambda: list(W.entries))
def roster_entry_of_anybody(data: bytes) -> None:
    same(roster_entry.decode(data).data, data)
    Roster(VAULT).merge([*W.entries, data])


@target(lambda: [entry[:-64] for entry in W.entries])
def roster_entry_signed_by_a_member(data: bytes) -> None:
    roster = W.roster.merge([data + KEYS.sign("roster-sig", data)])
    if not W.roster.members.keys() <= roster.members.keys():
        raise Different("a member without the recovery identity's rights removed another")


@target(lambda: [packing.pad(entry) for entry in W.entries])
def roster_entry_sealed(data: bytes) -> None:
    """Whoever has the roster's key may seal what it likes."""
    head = b"VSB1" + b"s" * 32
    context = head + VAULT + W.roster.head
    sealed = p.seal_committed(b"k" * 32, salt=head[4:], use="roster-seal", context=context, plaintext=data)
    roster_entry.open_entry(head + sealed, vault_id=VAULT, roster_key=b"k" * 32, hash=W.roster.head)


@target(lambda: [keys.public.to_bytes() for keys in (W.laptop, W.phone, device("third"))])
def public_keys(data: bytes) -> None:
    same(DevicePublic.from_bytes(data).to_bytes(), data)


MEMBERS = {keys.public.id: keys.public.sign for keys in (W.laptop, W.phone)}


def _member(device_id: bytes) -> bytes:
    if device_id not in MEMBERS:
        raise UnknownChain("no member")
    return MEMBERS[device_id]


def _notice() -> moving.Notice:
    return moving.write_notice(KEYS, VAULT, n=1, url="https://relay.example/", now_ms=NOW)


@target(lambda: [moving.seal_notice(_notice(), vault_id=VAULT, epoch=W.epoch)])
def notice_of_a_move(data: bytes) -> None:
    epochs = {W.epoch.id: W.epoch}
    moving.open_notice(data, vault_id=VAULT, epochs=epochs, hash=_notice().hash, sign_public=_member)


@target(lambda: [packing.pad(_notice().data)])
def notice_of_a_move_by_an_insider(data: bytes) -> None:
    """Whoever has the epoch's key may seal what it likes."""
    plain = data[4 : 4 + int.from_bytes(data[:4], "big")]
    name = p.sha256("move", plain)
    head = b"VSN1" + W.epoch.id + b"s" * 32
    sealed = p.seal_committed(W.epoch.key, salt=head[12:], use="move-seal", context=head + VAULT + name, plaintext=data)
    moving.open_notice(head + sealed, vault_id=VAULT, epochs={W.epoch.id: W.epoch}, hash=name, sign_public=_member)


# ---- slots, codes, pairing ----------------------------------------------------------------------------------------
@target(account_slots, Refused, UpdateRequired, WrongPassword)
def account_slot(data: bytes) -> None:
    account.slot_number(data), account.slot_version(data)
    account_key().open(data)


@target(
    lambda: [slots.make_slot(LOCAL, entropy=Seeded("slot"), raw_key=RAW_KEY)],
    WrongPassword,
    DamagedStore,
    UpdateRequired,
)
def key_slot(data: bytes) -> None:
    slots.slot_params(data)
    slots.open_slot(data, entropy=Seeded("slot"), raw_key=RAW_KEY)


@target(lambda: [LOCAL.seal("journal", "1", b"change")], Refused)
def sealed_row(data: bytes) -> None:
    LOCAL.open("journal", "1", data)


@target(lambda: [str(CODE).encode(), str(CODE).lower().encode()], WrongCode, UpdateRequired)
def recovery_code(data: bytes) -> None:
    RecoveryCode.parse(text(data))


@target(lambda: [str(invitation()).encode(), str(invitation(bound=False)).encode()], WrongInvitation, UpdateRequired)
def invitation_text(data: bytes) -> None:
    read = Invitation.parse(text(data))
    if Invitation.parse(str(read)) != read:
        raise Different("an invitation is read back as another")


@target(lambda: [invitation().to_bytes()], WrongInvitation, UpdateRequired)
def invitation_with_a_right_checksum(data: bytes) -> None:
    Invitation.parse("VSI" + crockford.encode(data + p.sha256("invitation", data)[:4]))


@cache
def _bodies_of_letters(numbers: tuple[int, ...]) -> list[bytes]:
    sponsor, newcomer = inviter(), joiner()
    until_code(sponsor, newcomer)
    sponsor.approve(welcome(sponsor), now_ms=NOW)
    newcomer.confirm()
    newcomer.receive(letters(sponsor, 4))
    every = {**sponsor._bodies, **newcomer._bodies}
    return [bytes((number,)) + every[number] for number in numbers]


def _letter(data: bytes) -> bytes:
    """``data`` as the contents of the letter whose number is its first byte, sealed under the invitation."""
    head = b"VSP1" + bytes((data[0] % 6 if data else 1,)) + b"s" * 32
    invited = _half_paired()[0].invitation
    return head + p.seal_committed(
        invited.key, salt=head[5:], use="pair", context=head + invited.mailbox, plaintext=packing.pad(data[1:])
    )


@cache
def _half_paired() -> tuple[Inviter, Joiner]:
    """The offer is made and taken; the opening and the answer are still to come."""
    sponsor, newcomer = inviter(), joiner()
    sponsor.receive(letters(newcomer, 1), now_ms=NOW)
    newcomer.receive(letters(sponsor, 2))
    return sponsor, newcomer


P = TypeVar("P", Inviter, Joiner)


def resumed(machine: P) -> P:
    """A side of a pairing as it stands, to go on from many times; making it anew costs more than what is tried."""
    made = copy.copy(machine)
    made._bodies, made._outbox = dict(machine._bodies), dict(machine._outbox)
    return made


@target(lambda: _bodies_of_letters((1, 3, 5)))
def letter_to_the_sponsor(data: bytes) -> None:
    """By somebody who has the invitation."""
    sponsor, _ = _half_paired()
    resumed(sponsor).receive(_letter(data), now_ms=NOW)


@target(lambda: _bodies_of_letters((2, 4)))
def letter_to_the_newcomer(data: bytes) -> None:
    _, newcomer = _half_paired()
    resumed(newcomer).receive(_letter(data))


@target(lambda: [letters(joiner(), 1)])
def letter_in_a_mailbox(data: bytes) -> None:
    letter_number(data)
    inviter().receive(data, now_ms=NOW)


# ---- the document -------------------------------------------------------------------------------------------------
@target(lambda: list(chunks()))
def change(data: bytes) -> None:
    _reencoded(codec.decode(data), data)


@target(lambda: [contents_of(chunk) for chunk in chunks()], Refused, MissingDependencies)
def change_with_a_right_checksum(data: bytes) -> None:
    """Through the gate into a document, which must save and load afterwards."""
    whole = framed(data)
    read = codec.decode(whole)
    _reencoded(read, whole)
    world_ = Engine.load(engine().save())
    world_.apply([whole], actor=read.actor)
    Engine.load(world_.save()).close()
    world_.close()


def _reencoded(read: Change, data: bytes) -> None:
    same(codec.encode(read.actor, read.seq, read.start_op, read.deps, read.ops), data)


@target(lambda: [engine().save()])
def saved_document_of_a_checkpoint(data: bytes) -> None:
    """As far as this process looks at it: everything behind the frame is for a process of its own."""
    inspector._check_frame(data)


@target(lambda: [*rows.pack_rows(engine().read_all())])
def rows_of_a_document(data: bytes) -> None:
    """What the process that looks at a checkpoint hands over, should it have been taken over by what it looks at."""
    for entry_id, raw in rows.RowReader().read(data):
        evaluate(entry_id, raw, SCHEMA, Context())


@target(
    lambda: [pack.pack(chunks()[:1]), pack.pack([c for c in chunks() if codec.decode(c).actor == W.phone_chain.id])]
)
def packed_changes(data: bytes) -> None:
    for chunk in pack.unpack(data, max_bytes=1 << 20):
        codec.decode(chunk)


# ---- what stands in the document ----------------------------------------------------------------------------------
SCHEMA = passwords()
SEEN_AT = tuple(SCHEMA.at(version) for version in (1, SCHEMA.version))


@target(lambda: [declared.encode() for declared in list(published.declarations(SCHEMA).values())[:3]])
def published_declaration(data: bytes) -> None:
    published.parse(text(data))


@target(lambda: [b'["00112233445566778899aabbccddeeff",false,["emails"],{"a":1}]'])
def mark(data: bytes) -> None:
    Mark.parse(text(data))


@target(lambda: [b'{"app":"x","name":"Laptop","platform":"linux","release":"1.0","version":2}'])
def census_row(data: bytes) -> None:
    Device.parse("00" * 16, text(data))


@target(
    lambda: [
        b"$type\0slogin\0title\0sGitHub\0$schema/login/1\0t\0tags/a\0t\0urls/x\0sy\0urls@x\0sU\0$edited/ab\0n5\0",
        b"$type\0snote\0$deleted/ab\0s{}\0$lens/urls\0s[]\0text\0sline\0text/a\0sother\0$created\0n5\0",
    ]
)
def stored_entry(data: bytes) -> None:
    """An entry of any keys and values: the view never raises, whatever stands there."""
    parts = text(data).split("\0")
    values = {"t": True, "f": False, "0": None}
    raw = {
        key: values.get(value, float(len(value)) if value[:1] == "d" else value[1:])
        if not (value[:1] == "n" and value[1:].lstrip("-").isascii() and value[1:].lstrip("-").isdigit())
        else int(value[1:][:18])
        for key, value in zip(parts[::2], parts[1::2], strict=False)
    }
    for schema in SEEN_AT:
        entry = evaluate("0" * 26, raw, schema, Context())
        str(entry), repr(entry), entry.fields, entry.missing, entry.retired, entry.unknown, entry.modified


@cache
def membership() -> Membership:
    owner = W.recovery
    made = Membership.edit(owner.sign, owner.public.sign, 1, [W.laptop.public.sign])
    return made.granting(W.laptop.sign, W.laptop.public.sign, W.phone.public.sign)


# ---- files and answers --------------------------------------------------------------------------------------------
@cache
def _samples() -> list[bytes]:
    return [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "samples").iterdir())]


@target(_samples, ImportFailed)
def import_of_any_format(data: bytes) -> None:
    list(parse(data).records)


@target(_samples, ImportFailed)
def import_as_said(data: bytes) -> None:
    every = sorted(FORMATS)
    list(parse(data[1:], format=every[data[0] % len(every)] if data else every[0]).records)


@target(
    lambda: [
        b'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>/a/</D:href><D:propstat><D:prop>'
        b"<D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat></D:response></D:multistatus>"
    ],
    ValueError,
)
def webdav_listing(data: bytes) -> None:
    multistatus(data)


@target(lambda: [membership().to_json()], AccessError)
def relay_access_list(data: bytes) -> None:
    Access.read(bucket_of(W.recovery.public.sign), data)


@target(lambda: [membership().to_json()], RemoteRefused)
def relay_membership(data: bytes) -> None:
    Membership.from_json(data)


@target(lambda: [b"0123456789abcdef-42"])
def relay_cursor(data: bytes) -> None:
    Cursor.parse(text(data))


@target(
    lambda: [
        names.envelope_name(VAULT, W.laptop_chain.id, 7, b"e" * 32).encode(),
        names.account_name(b"l" * 16, 1, b"d" * 16).encode(),
        names.roster_name(VAULT, 1, b"h" * 32).encode(),
    ],
    UsageError,
)
def object_name(data: bytes) -> None:
    names.parse(text(data))
