from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultsync.errors import UsageError
from vaultsync.limits import MAX_OBJECT_NAME_CHARS
from vaultsync.remote import is_name
from vaultsync.sync import names

ids = st.binary(min_size=16, max_size=16)
hashes = st.binary(min_size=32, max_size=32)


@given(ids, ids, st.integers(1, names.MAX_SEQ), hashes)
def test_envelopes(vault: bytes, chain: bytes, seq: int, env_id: bytes) -> None:
    name = names.envelope_name(vault, chain, seq, env_id)
    assert names.parse(name) == names.parse_envelope(name) == names.EnvelopeName(vault, chain, seq, env_id[:16])
    assert name.startswith(names.chain_prefix(vault, chain))
    assert name.startswith(names.envelopes_prefix(vault))
    assert names.chain_of_prefix(vault, names.chain_prefix(vault, chain)) == chain
    assert names.chain_of_prefix(vault, names.envelopes_prefix(vault)) is None
    assert is_name(name)


@given(ids, ids, st.integers(0, 999_999), hashes)
def test_the_others(vault: bytes, locator: bytes, n: int, digest: bytes) -> None:
    account = names.account_name(locator, n, digest)
    roster = names.roster_name(vault, n, digest)
    blobs = [names.blob_name(vault, digest), names.blob_name(vault, digest[:16])]
    assert names.parse(account) == names.AccountName(locator, n, digest[:16])
    assert names.parse(roster) == names.RosterName(vault, n, digest)
    assert [names.parse(blob) for blob in blobs] == [
        names.BlobName(vault, digest),
        names.BlobName(vault, digest[:16]),
    ]
    assert account.startswith(names.account_prefix(locator))
    assert roster.startswith(names.roster_prefix(vault))
    assert all(is_name(name) and len(name) <= MAX_OBJECT_NAME_CHARS for name in (account, roster, *blobs))
    assert all(name.startswith(names.vault_prefix(vault)) for name in (roster, *blobs))


@given(ids, st.integers(1, 999_999), hashes)
def test_notices_of_moves(vault: bytes, n: int, digest: bytes) -> None:
    name = names.moved_name(vault, n, digest)
    assert names.parse(name) == names.parse_moved(name) == names.MovedName(vault, n, digest)
    assert name.startswith(names.moved_prefix(vault))
    assert name.startswith(names.vault_prefix(vault))
    assert is_name(name)
    for wrong in (name[:-1], name + "0", name.upper(), name.replace("/moved/", "/roster/"), name + "\n"):
        assert names.parse_moved(wrong) is None
    assert names.parse_moved(name.replace(f"{n:06d}", "000000")) is None


@given(ids, st.lists(st.integers(1, names.MAX_SEQ)), hashes)
def test_names_sort_as_their_numbers(chain: bytes, seqs: list[int], env_id: bytes) -> None:
    listed = sorted(names.envelope_name(bytes(16), chain, seq, env_id) for seq in seqs)
    assert [names.parse_envelope(name).seq for name in listed] == sorted(seqs)


@given(ids, st.integers(0, 9), hashes)
def test_letters(mailbox: bytes, number: int, digest: bytes) -> None:
    name = names.letter_name(mailbox, number, digest)
    assert names.parse(name) == names.parse_letter(name) == names.LetterName(mailbox, number, digest[:16])
    assert name.startswith(names.mailbox_prefix(mailbox))
    assert is_name(name)
    for wrong in (name[:-1], name + "0", name.upper(), "x" + name, name.replace("mailbox", "mailboxes"), name + "\n"):
        assert names.parse_letter(wrong) is None


GOOD = names.envelope_name(bytes(16), b"\xab" * 16, 7, b"\xcd" * 32)


@pytest.mark.parametrize(
    "bad",
    ["", "/", GOOD + "0", GOOD[:-1], GOOD.upper(), GOOD + "\n", " " + GOOD, GOOD.replace("env", "envs"), GOOD + "/x"]
    + [GOOD.replace("000000000007", seq) for seq in ("0" * 12, "7", "0000000000071", "00000000000٧", "-00000000007")],
)  # fmt: skip
def test_what_is_no_name(bad: str) -> None:
    assert names.parse(bad) is None


@given(st.text(max_size=150))
def test_any_text_parses_to_what_builds_it_again_or_none(text: str) -> None:
    parsed = names.parse_envelope(text)
    if parsed is not None:
        assert names.envelope_name(*parsed) == text


def test_wrong_sizes_are_refused() -> None:
    for call in (
        lambda: names.envelope_name(bytes(15), bytes(16), 1, bytes(32)),
        lambda: names.envelope_name(bytes(16), bytes(32), 1, bytes(32)),
        lambda: names.envelope_name(bytes(16), bytes(16), 0, bytes(32)),
        lambda: names.envelope_name(bytes(16), bytes(16), names.MAX_SEQ + 1, bytes(32)),
        lambda: names.envelope_name(bytes(16), bytes(16), 1, bytes(8)),
        lambda: names.roster_name(bytes(16), 10**6, bytes(32)),
        lambda: names.roster_name(bytes(16), 1, bytes(16)),
        lambda: names.blob_name(bytes(16), bytes(15)),
        lambda: names.letter_name(bytes(15), 1, bytes(32)),
        lambda: names.letter_name(bytes(16), 10, bytes(32)),
        lambda: names.letter_name(bytes(16), 1, bytes(8)),
    ):
        with pytest.raises(UsageError):
            call()
