"""Names of objects on a remote: built and taken apart here, nowhere else. Pure.

::

    account/<locator>/<n:06d>-<first 16 bytes of its hash>      the account slots of one recovery code
    <vault>/roster/<n:06d>-<hash>                               roster entries
    <vault>/env/<chain>/<seq:012d>-<first 16 bytes of env_id>   envelopes
    <vault>/ckpt/<covered:012d>-<chain>-<first 16 bytes of env_id>/<part:04d>-<parts:04d>-<size:012d>-<hash>
                                                                checkpoints, in parts of a few megabytes
    <vault>/blob/<id>                                           attachments
    <vault>/moved/<n:06d>-<hash>                                notices that the vault lives elsewhere now
    mailbox/<id>/<number>-<first 16 bytes of its hash>          letters of a pairing; number 0: it is over

All ids are lowercase hex. Numbers are padded, so that names sort as numbers do. A name only *claims* what it says:
whoever reads the object verifies that its bytes fit. A
checkpoint's name claims how many envelopes it covers and how large it is: one listing tells which to fetch.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from vaultsync.errors import UsageError
from vaultsync.limits import MAX_CHECKPOINT_BYTES, MAX_CHECKPOINT_PARTS

__all__ = [
    "MAX_SEQ",
    "AccountName",
    "BlobName",
    "CheckpointName",
    "EnvelopeName",
    "LetterName",
    "MovedName",
    "RosterName",
    "account_name",
    "account_prefix",
    "blob_name",
    "blob_prefix",
    "chain_of_prefix",
    "chain_prefix",
    "checkpoint_name",
    "checkpoints_prefix",
    "envelope_name",
    "envelopes_prefix",
    "letter_name",
    "mailbox_prefix",
    "moved_name",
    "moved_prefix",
    "parse",
    "parse_account",
    "parse_blob",
    "parse_checkpoint",
    "parse_envelope",
    "parse_letter",
    "parse_moved",
    "parse_roster",
    "roster_name",
    "roster_prefix",
    "vault_prefix",
]

MAX_SEQ: Final = 10**12 - 1
_MAX_N: Final = 10**6 - 1

_ACCOUNT: Final = re.compile(r"account/([0-9a-f]{32})/([0-9]{6})-([0-9a-f]{32})")
_ROSTER: Final = re.compile(r"([0-9a-f]{32})/roster/([0-9]{6})-([0-9a-f]{64})")
_ENVELOPE: Final = re.compile(r"([0-9a-f]{32})/env/([0-9a-f]{32})/([0-9]{12})-([0-9a-f]{32})")
_CHECKPOINT: Final = re.compile(
    r"([0-9a-f]{32})/ckpt/([0-9]{12})-([0-9a-f]{32})-([0-9a-f]{32})/([0-9]{4})-([0-9]{4})-([0-9]{12})-([0-9a-f]{32})"
)
_BLOB: Final = re.compile(r"([0-9a-f]{32})/blob/([0-9a-f]{32,64})")
_MOVED: Final = re.compile(r"([0-9a-f]{32})/moved/([0-9]{6})-([0-9a-f]{64})")
_LETTER: Final = re.compile(r"mailbox/([0-9a-f]{32})/([0-9])-([0-9a-f]{32})")
_CHAIN: Final = re.compile(r"([0-9a-f]{32})/env/([0-9a-f]{32})/?")


class AccountName(NamedTuple):
    """``account/<locator>/<n>-<digest>``; ``locator`` and ``digest`` are 16 bytes."""

    locator: bytes
    n: int
    digest: bytes


class RosterName(NamedTuple):
    """``<vault>/roster/<n>-<digest>``; ``vault`` is 16 bytes, ``digest`` 32."""

    vault: bytes
    n: int
    digest: bytes


class EnvelopeName(NamedTuple):
    """``<vault>/env/<chain>/<seq>-<short>``; ids are 16 bytes, ``short`` begins the envelope's id, ``seq`` >= 1."""

    vault: bytes
    chain: bytes
    seq: int
    short: bytes


class BlobName(NamedTuple):
    """``<vault>/blob/<id>``; ``vault`` is 16 bytes, ``id`` 16 to 32."""

    vault: bytes
    id: bytes


class CheckpointName(NamedTuple):
    """One part of a checkpoint; see the module. ``short`` begins the envelope's id, ``digest`` the part's SHA-256;
    parts count from 0, ``size`` is that of the whole."""

    vault: bytes
    covered: int
    chain: bytes
    short: bytes
    part: int
    parts: int
    size: int
    digest: bytes


class MovedName(NamedTuple):
    """``<vault>/moved/<n>-<digest>``; ``vault`` is 16 bytes, ``digest`` 32, ``n`` >= 1."""

    vault: bytes
    n: int
    digest: bytes


class LetterName(NamedTuple):
    """``mailbox/<mailbox>/<number>-<digest>``; ``mailbox`` and ``digest`` are 16 bytes."""

    mailbox: bytes
    number: int
    digest: bytes


def account_prefix(locator: bytes) -> str:
    """Below it are the account slots of one recovery code."""
    return f"account/{_hex(locator, 16)}/"


def account_name(locator: bytes, n: int, digest: bytes) -> str:
    """``digest``: the hash of the slot's bytes, of which the first 16 bytes are used."""
    return f"{account_prefix(locator)}{_number(n, 0, _MAX_N):06d}-{_head(digest)}"


def vault_prefix(vault: bytes) -> str:
    """Below it is everything of one vault but its account slots."""
    return f"{_hex(vault, 16)}/"


def roster_prefix(vault: bytes) -> str:
    """Below it are the roster entries of a vault."""
    return f"{_hex(vault, 16)}/roster/"


def roster_name(vault: bytes, n: int, digest: bytes) -> str:
    """``digest``: 32 bytes."""
    return f"{roster_prefix(vault)}{_number(n, 0, _MAX_N):06d}-{_hex(digest, 32)}"


def envelopes_prefix(vault: bytes) -> str:
    """Below it are the envelopes of all chains of a vault."""
    return f"{_hex(vault, 16)}/env/"


def chain_prefix(vault: bytes, chain: bytes) -> str:
    """Below it are the envelopes of one chain."""
    return f"{_hex(vault, 16)}/env/{_hex(chain, 16)}/"


def envelope_name(vault: bytes, chain: bytes, seq: int, env_id: bytes) -> str:
    """``env_id``: 32 bytes, or already its first 16."""
    return f"{chain_prefix(vault, chain)}{_number(seq, 1, MAX_SEQ):012d}-{_head(env_id)}"


def checkpoints_prefix(vault: bytes) -> str:
    """Below it are the checkpoints of a vault."""
    return f"{_hex(vault, 16)}/ckpt/"


def checkpoint_name(name: CheckpointName) -> str:
    """The object's name of one part."""
    return (
        f"{checkpoints_prefix(name.vault)}{_number(name.covered, 0, MAX_SEQ):012d}-{_hex(name.chain, 16)}-"
        f"{_head(name.short)}/{_number(name.part, 0, MAX_CHECKPOINT_PARTS - 1):04d}-"
        f"{_number(name.parts, 1, MAX_CHECKPOINT_PARTS):04d}-{_number(name.size, 1, MAX_CHECKPOINT_BYTES):012d}-"
        f"{_head(name.digest)}"
    )


def blob_prefix(vault: bytes) -> str:
    """Below it are the attachments of a vault."""
    return f"{_hex(vault, 16)}/blob/"


def blob_name(vault: bytes, blob: bytes) -> str:
    """``blob``: its id, 16 to 32 bytes."""
    if not 16 <= len(blob) <= 32:
        raise UsageError(f"a blob id has 16 to 32 bytes, not {len(blob)}")
    return f"{blob_prefix(vault)}{blob.hex()}"


def moved_prefix(vault: bytes) -> str:
    """Below it are the notices of a vault's moves."""
    return f"{_hex(vault, 16)}/moved/"


def moved_name(vault: bytes, n: int, digest: bytes) -> str:
    """``digest``: 32 bytes."""
    return f"{moved_prefix(vault)}{_number(n, 1, _MAX_N):06d}-{_hex(digest, 32)}"


def mailbox_prefix(mailbox: bytes) -> str:
    """Below it are the letters of one pairing. Only who knows ``mailbox`` (16 random bytes) finds it, or lists all."""
    return f"mailbox/{_hex(mailbox, 16)}/"


def letter_name(mailbox: bytes, number: int, digest: bytes) -> str:
    """``digest``: the hash of the letter's bytes, of which the first 16 bytes are used: two who answer one invitation
    do not stand in each other's way."""
    return f"{mailbox_prefix(mailbox)}{_number(number, 0, 9)}-{_head(digest)}"


def parse_account(name: str) -> AccountName | None:
    """None when ``name`` is no account slot's."""
    found = _ACCOUNT.fullmatch(name)
    return found and AccountName(bytes.fromhex(found[1]), int(found[2]), bytes.fromhex(found[3]))


def parse_roster(name: str) -> RosterName | None:
    """None when ``name`` is no roster entry's."""
    found = _ROSTER.fullmatch(name)
    return found and RosterName(bytes.fromhex(found[1]), int(found[2]), bytes.fromhex(found[3]))


@lru_cache(maxsize=8_192)  # every listing names what the one before did
def parse_envelope(name: str) -> EnvelopeName | None:
    """None when ``name`` is no envelope's."""
    found = _ENVELOPE.fullmatch(name)
    if found is None or (seq := int(found[3])) == 0:
        return None
    return EnvelopeName(bytes.fromhex(found[1]), bytes.fromhex(found[2]), seq, bytes.fromhex(found[4]))


def parse_blob(name: str) -> BlobName | None:
    """None when ``name`` is no attachment's."""
    found = _BLOB.fullmatch(name)
    if found is None or len(found[2]) % 2:
        return None
    return BlobName(bytes.fromhex(found[1]), bytes.fromhex(found[2]))


def parse_checkpoint(name: str) -> CheckpointName | None:
    """None when ``name`` is no part of a checkpoint, or says what none can be."""
    found = _CHECKPOINT.fullmatch(name)
    if found is None:
        return None
    vault, covered, chain, short, part, parts, size, digest = found.groups()
    numbers = int(part), int(parts), int(size)
    if not (numbers[0] < numbers[1] <= MAX_CHECKPOINT_PARTS and 0 < numbers[2] <= MAX_CHECKPOINT_BYTES):
        return None
    ids = [bytes.fromhex(value) for value in (vault, chain, short, digest)]
    return CheckpointName(ids[0], int(covered), ids[1], ids[2], *numbers, ids[3])


def parse_moved(name: str) -> MovedName | None:
    """None when ``name`` is no notice's."""
    found = _MOVED.fullmatch(name)
    if found is None or (n := int(found[2])) == 0:
        return None
    return MovedName(bytes.fromhex(found[1]), n, bytes.fromhex(found[3]))


def parse_letter(name: str) -> LetterName | None:
    """None when ``name`` is no letter's."""
    found = _LETTER.fullmatch(name)
    return found and LetterName(bytes.fromhex(found[1]), int(found[2]), bytes.fromhex(found[3]))


def parse(
    name: str,
) -> AccountName | RosterName | EnvelopeName | CheckpointName | BlobName | MovedName | LetterName | None:
    """Whatever kind of name it is; None for a name of none of them."""
    found = parse_envelope(name) or parse_roster(name) or parse_account(name) or parse_checkpoint(name)
    return found or parse_blob(name) or parse_moved(name) or parse_letter(name)


def chain_of_prefix(vault: bytes, prefix: str) -> bytes | None:
    """The chain whose envelopes lie below ``prefix``; None when it is not one chain's prefix in this vault."""
    found = _CHAIN.fullmatch(prefix)
    return bytes.fromhex(found[2]) if found is not None and found[1] == vault.hex() else None


def _hex(value: bytes, size: int) -> str:
    if len(value) != size:
        raise UsageError(f"an id of {size} bytes is needed here, not of {len(value)}")
    return value.hex()


def _head(value: bytes) -> str:
    if len(value) not in (16, 32):
        raise UsageError(f"a hash of 32 bytes, or its first 16, is needed here, not {len(value)} bytes")
    return value[:16].hex()


def _number(value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise UsageError(f"a number from {low} to {high} is needed here, not {value}")
    return value
