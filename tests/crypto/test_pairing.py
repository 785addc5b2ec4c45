"""Pairing: invitations as text, two state machines over a mailbox that anybody may read and write, and attacks."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto.given import EXAMPLES, Seeded, cuts, device, flips, world
from vaultsync.crypto import crockford, packing, pairing, primitives
from vaultsync.crypto.invitation import Invitation
from vaultsync.crypto.keys import Chain, DeviceKeys
from vaultsync.crypto.pairing import Inviter, Joiner, Stage, Welcome, lacking, letter_number
from vaultsync.crypto.roster import Roster
from vaultsync.errors import (
    BadSeal,
    BadSignature,
    MalformedEnvelope,
    PairingFailed,
    Refused,
    UpdateRequired,
    UsageError,
    WrongInvitation,
)

W = world()
NOW, LATER = 1_790_000_000_000, 1_790_000_600_000
FRONTIER = {W.laptop_chain.id: (7, b"7" * 32), W.phone_chain.id: (3, b"3" * 32)}
NEW = device("new device")
NEW_CHAIN = Chain.new(NEW.public.id, Seeded("new chain"))


def invitation(*, bound: bool = True) -> Invitation:
    vault_id = W.roster.vault_id if bound else None
    return Invitation.make("https://relay.example/", expires_ms=LATER, entropy=Seeded("invite"), vault_id=vault_id)


def inviter(invited: Invitation | None = None, seed: str = "sponsor") -> Inviter:
    return Inviter(invited or invitation(), W.laptop, W.roster, entropy=Seeded(seed))


def joiner(
    invited: Invitation | None = None, keys: DeviceKeys = NEW, seed: str = "joiner", name: str = "Phone"
) -> Joiner:
    chain = NEW_CHAIN if keys is NEW else Chain.new(keys.public.id, Seeded("another chain"))
    return Joiner(Invitation.parse(str(invited or invitation())), keys, chain, name, entropy=Seeded(seed))


def welcome(sponsor: Inviter, roster: Roster = W.roster, by: DeviceKeys = W.laptop) -> Welcome:
    assert sponsor.claim is not None
    added, _ = roster.add_device(by, sponsor.claim)
    return Welcome(
        added.vault_id,
        b"k" * 32,
        tuple(entry.data for entry in added.log),
        locator=b"l" * 16,
        number=2,
        account=b"a" * 345,
        frontier=FRONTIER,
    )


def letters(machine: Inviter | Joiner, number: int) -> bytes:
    return dict(machine.outbox)[number]


def until_code(sponsor: Inviter, newcomer: Joiner) -> None:
    assert sponsor.receive(letters(newcomer, 1), now_ms=NOW)
    assert newcomer.receive(letters(sponsor, 2))
    assert sponsor.receive(letters(newcomer, 3), now_ms=NOW)


def paired() -> tuple[Inviter, Joiner]:
    sponsor, newcomer = inviter(), joiner()
    until_code(sponsor, newcomer)
    sponsor.approve(welcome(sponsor), now_ms=NOW)
    newcomer.confirm()
    newcomer.receive(letters(sponsor, 4))
    sponsor.receive(letters(newcomer, 5), now_ms=NOW)
    return sponsor, newcomer


# ---- the text -----------------------------------------------------------------------------------------------------


def test_an_invitation_is_read_as_people_and_messengers_mangle_it() -> None:
    invited = invitation()
    text = str(invited)
    assert text.isalnum()
    assert text == text.upper()
    assert len(text) < 230
    for mangled in (text.lower(), " ".join(text), "\n".join(text), text.replace("1", "l"), text.replace("0", "o")):
        assert Invitation.parse(mangled) == invited
    assert Invitation.parse(str(invitation(bound=False))) == invitation(bound=False) != invited
    assert (invited.remote, invited.expires_ms) == ("https://relay.example/", LATER)
    assert invited.key.hex() not in repr(invited)
    assert text[10:40] not in repr(inviter()) + repr(joiner())


def test_every_wrong_character_of_an_invitation_is_noticed() -> None:
    text = str(invitation())
    for at in range(3, len(text)):
        wrong = "2" if text[at] != "2" else "3"
        with pytest.raises((WrongInvitation, UpdateRequired)):
            Invitation.parse(text[:at] + wrong + text[at + 1 :])
        with pytest.raises(WrongInvitation):
            Invitation.parse(text[:at])


@settings(max_examples=EXAMPLES * 3)
@given(st.text(max_size=60) | st.text(crockford.ALPHABET, max_size=200).map(lambda tail: "VSI" + tail))
def test_arbitrary_text_is_no_invitation(text: str) -> None:
    with pytest.raises(WrongInvitation):
        Invitation.parse(text)


def test_invitations_of_later_versions_hostile_contents_and_lengths() -> None:
    def text(value: object) -> str:
        data = packing.pack(value)
        return "VSI" + crockford.encode(data + primitives.sha256("invitation", data)[:4])

    with pytest.raises(UpdateRequired):
        Invitation.parse(text((2, "anything")))
    fields = (1, "file:///x", bytes(16), bytes(32), 1, None)
    assert Invitation.parse(text(fields)).remote == "file:///x"
    for at, wrong in ((1, ""), (1, "a\x1b[2J"), (1, "x" * 513), (2, b""), (3, bytes(31)), (4, -1), (5, b"")):
        with pytest.raises(WrongInvitation):
            Invitation.parse(text((*fields[:at], wrong, *fields[at + 1 :])))
    for value in ((), 5, b"", fields[:5], (True, *fields[1:])):
        with pytest.raises(WrongInvitation):
            Invitation.parse(text(value))
    with pytest.raises(WrongInvitation):
        Invitation.parse("VSI" + "0" * 3000)
    with pytest.raises(UsageError):
        Invitation.make("x" * 600, expires_ms=LATER, entropy=Seeded("x"))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=80))
def test_base32_there_and_back(data: bytes) -> None:
    assert crockford.decode(crockford.encode(data)) == data


def test_base32_of_other_lengths_and_with_spare_bits_is_refused() -> None:
    for wrong in ("0", "000", "01", "U0", "!!"):
        assert crockford.decode(wrong) is None


# ---- the usual way ------------------------------------------------------------------------------------------------


def test_a_device_is_let_in_and_both_show_the_same_six_digits() -> None:
    sponsor, newcomer = inviter(), joiner()
    assert (sponsor.code, newcomer.code) == (None, None)
    until_code(sponsor, newcomer)
    assert sponsor.code == newcomer.code
    assert len(str(sponsor.code)) == 6
    assert sponsor.name == "Phone"
    assert sponsor.claim is not None
    assert sponsor.claim.public == NEW.public
    sponsor.approve(welcome(sponsor), now_ms=NOW)
    newcomer.receive(letters(sponsor, 4))
    assert newcomer.joined is None  # the person has not said so here yet
    newcomer.confirm()
    assert newcomer.joined is not None
    roster, handed = newcomer.joined
    assert NEW.public.id in roster.members
    assert (handed.roster_key, handed.locator, handed.number, handed.account) == (b"k" * 32, b"l" * 16, 2, b"a" * 345)
    assert handed.frontier == FRONTIER
    sponsor.receive(letters(newcomer, 5), now_ms=NOW)
    assert (sponsor.stage, newcomer.stage) == (Stage.DONE, Stage.DONE)


def test_codes_differ_from_one_pairing_to_the_next() -> None:
    codes = set()
    for seed in range(20):
        sponsor, newcomer = inviter(seed=f"s{seed}"), joiner(seed=f"j{seed}")
        until_code(sponsor, newcomer)
        codes.add(sponsor.code)
    assert len(codes) == 20


def test_a_newcomer_is_up_to_date_only_at_its_sponsors_frontier() -> None:
    laptop, phone = W.laptop_chain.id, W.phone_chain.id
    assert lacking(FRONTIER, {}) == {laptop: 7, phone: 3}
    assert lacking(FRONTIER, {laptop: (7, b"7" * 32), phone: (2, b"")}) == {phone: 3}
    assert lacking(FRONTIER, {laptop: (9, b""), phone: (3, b"")}) == {}


@pytest.mark.parametrize("seed", range(30))
def test_dropped_repeated_and_reordered_letters_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    sponsor, newcomer = inviter(), joiner()
    mailbox: list[bytes] = []
    for _ in range(400):
        mailbox += [data for machine in (sponsor, newcomer) for _, data in machine.outbox if rng.random() < 0.5]
        for data in rng.sample(mailbox, min(len(mailbox), 3)):
            for take in (lambda data: sponsor.receive(data, now_ms=NOW), newcomer.receive):
                if rng.random() < 0.7:
                    try:
                        take(data)
                    except BadSeal:  # one's own letter, or an answer before its question
                        continue
        if sponsor.stage is Stage.COMPARING and newcomer.code == sponsor.code:
            sponsor.approve(welcome(sponsor), now_ms=NOW)
            newcomer.confirm()
        if sponsor.stage is Stage.DONE:
            break
    assert (sponsor.stage, newcomer.stage) == (Stage.DONE, Stage.DONE)
    assert sponsor.outbox == sponsor.outbox


# ---- attacks ------------------------------------------------------------------------------------------------------


def test_remote_that_does_not_know_the_invitation_can_make_no_letter() -> None:
    stranger = Invitation("https://relay.example/", invitation().mailbox, bytes(32), LATER, None)
    for data in (letters(joiner(stranger), 1), bytes(400), b"VSP1" + bytes(400), b""):
        with pytest.raises((BadSeal, MalformedEnvelope)):
            inviter().receive(data, now_ms=NOW)


def test_letter_from_another_mailbox_another_direction_or_renumbered() -> None:
    sponsor, newcomer = paired()
    other = Invitation("https://relay.example/", bytes(16), invitation().key, LATER, W.roster.vault_id)
    with pytest.raises(BadSeal):
        inviter(other).receive(letters(joiner(), 1), now_ms=NOW)
    for machine in (sponsor, newcomer):
        for number, data in machine.outbox:
            for renumbered in range(1, 6):
                if renumbered != number:
                    for fresh in (inviter(), joiner()):
                        with pytest.raises(BadSeal):
                            _feed(fresh, data[:4] + bytes((renumbered,)) + data[5:])
    with pytest.raises(BadSeal):
        sponsor.receive(letters(sponsor, 2), now_ms=NOW)  # reflected
    with pytest.raises(BadSeal):
        newcomer.receive(letters(newcomer, 1))


def _feed(machine: Inviter | Joiner, data: bytes) -> bool:
    return machine.receive(data, now_ms=NOW) if isinstance(machine, Inviter) else machine.receive(data)


def _ready(number: int) -> tuple[Callable[[], Inviter | Joiner], bytes]:
    """A machine that waits for that letter, made anew each time, and the letter."""

    def fresh() -> Inviter | Joiner:
        sponsor, newcomer = inviter(), joiner()
        if number > 1:
            sponsor.receive(letters(newcomer, 1), now_ms=NOW)
        if number > 2:
            newcomer.receive(letters(sponsor, 2))
        return sponsor if number in (1, 3) else newcomer

    sponsor, newcomer = paired()
    return fresh, letters(newcomer if number % 2 else sponsor, number)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_flipped_bit_and_every_cut_of_a_letter_is_passed_over(number: int) -> None:
    fresh, letter = _ready(number)
    machine = fresh()
    before = (machine.stage, machine.code, machine.outbox)
    broken = [*flips(letter, every_bit=number == 1), *(cuts(letter) if number == 1 else (letter[:-1], letter + b"\0"))]
    for data in broken[:: 1 if number < 4 else 7]:
        with pytest.raises((Refused, UpdateRequired)):
            _feed(machine, data)
    assert (machine.stage, machine.code, machine.outbox) == before
    if number < 4:
        assert _feed(machine, letter)


def test_middleman_who_knows_the_invitation_gets_two_different_codes() -> None:
    middle = device("middle")
    for seed in range(10):
        sponsor, newcomer = inviter(seed=f"s{seed}"), joiner(seed=f"j{seed}")
        to_newcomer = Inviter(invitation(), middle, _their_own(middle), entropy=Seeded(f"m{seed}"))
        to_sponsor = joiner(keys=middle, seed=f"n{seed}")
        to_newcomer.receive(letters(newcomer, 1), now_ms=NOW)
        newcomer.receive(letters(to_newcomer, 2))
        until_code(sponsor, to_sponsor)
        assert sponsor.code != newcomer.code
        newcomer.refuse()
        sponsor.refuse()
        with pytest.raises(UsageError):
            sponsor.approve(welcome(sponsor), now_ms=NOW)
        assert (newcomer.code, newcomer.joined) == (None, None)


def _their_own(keys: DeviceKeys) -> Roster:
    """A roster that says to be the vault, with the middleman in it."""
    chain = Chain.new(keys.public.id, Seeded("middle chain"))
    return W.roster.add_device(W.phone, pairing.Claim.make(keys, chain, W.roster.vault_id))[0]


def _grind(machine: Joiner, changes: dict[str, object]) -> bytes:
    """Letter 3 as a newcomer writes it that saw the offer first and wants another code."""
    fields = list(packing.unpack(machine._bodies[3], max_bytes=1 << 20))
    for name, value in changes.items():
        fields[{"nonce": 2, "opening": 3, "proof": 4}[name]] = value
    machine._write(3, *fields[1:])
    return letters(machine, 3)


def test_newcomer_cannot_grind_the_code_after_the_offer() -> None:
    opening = (NEW.public.to_bytes(), NEW_CHAIN.nonce, "Phone")
    for changes in (
        {"nonce": b"n" * 32},
        {"opening": (*opening[:2], "Phone 2")},
        {"opening": (opening[0], bytes(16), "Phone")},
        {"opening": (device("other").public.to_bytes(), *opening[1:])},
    ):
        sponsor, newcomer = inviter(), joiner()
        sponsor.receive(letters(newcomer, 1), now_ms=NOW)
        newcomer.receive(letters(sponsor, 2))
        with pytest.raises(PairingFailed):
            sponsor.receive(_grind(newcomer, changes), now_ms=NOW)
        assert sponsor.stage is Stage.FAILED
        assert sponsor.code is None


def test_the_proof_is_not_part_of_the_code_and_must_hold() -> None:
    sponsor, newcomer = inviter(), joiner()
    sponsor.receive(letters(newcomer, 1), now_ms=NOW)
    newcomer.receive(letters(sponsor, 2))
    with pytest.raises(PairingFailed):  # a signer is free to make many signatures: none of them may move the code
        sponsor.receive(_grind(newcomer, {"proof": bytes(64)}), now_ms=NOW)
    transcript = newcomer._transcript
    assert newcomer._settle(newcomer._nonce) == transcript


def test_sponsor_cannot_change_its_offer_after_the_code() -> None:
    sponsor, newcomer = inviter(), joiner()
    until_code(sponsor, newcomer)
    again = inviter(seed="another nonce")
    again.receive(letters(newcomer, 1), now_ms=NOW)
    with pytest.raises(PairingFailed):
        newcomer.receive(letters(again, 2))
    assert newcomer.code is None


def test_answer_by_somebody_who_knows_the_invitation_only() -> None:
    sponsor, newcomer = inviter(), joiner()
    until_code(sponsor, newcomer)
    newcomer.confirm()
    forger = inviter()
    forger.receive(letters(joiner(), 1), now_ms=NOW)
    forger.receive(letters(newcomer, 3), now_ms=NOW)
    forger._keys = device("middle")
    forger.approve(welcome(sponsor), now_ms=NOW)
    with pytest.raises(BadSignature):
        newcomer.receive(letters(forger, 4))
    assert newcomer.joined is None
    sponsor.approve(welcome(sponsor), now_ms=NOW)
    newcomer.receive(letters(sponsor, 4))  # the true one is still taken
    assert newcomer.joined is not None


def test_the_invitations_key_does_not_open_the_answer() -> None:
    sponsor, newcomer = inviter(), joiner()
    until_code(sponsor, newcomer)
    handed = welcome(sponsor)
    sponsor.approve(handed, now_ms=NOW)
    spy = joiner()  # everything but the newcomer's keys
    _, body, _ = spy._read(letters(sponsor, 4), mine=())
    assert handed.roster_key not in body
    assert handed.entries[0] not in body


def test_a_second_device_answers_the_same_invitation() -> None:
    sponsor, newcomer, second = inviter(), joiner(), joiner(keys=device("second"))
    until_code(sponsor, newcomer)
    assert not sponsor.receive(letters(second, 1), now_ms=NOW)
    assert sponsor.contested
    assert sponsor.code == newcomer.code
    with pytest.raises(PairingFailed):
        second.receive(letters(sponsor, 2))
    done, _ = paired()
    assert not done.receive(letters(second, 1), now_ms=NOW)  # works once
    assert done.stage is Stage.DONE


def test_an_invitation_expires_by_the_sponsors_clock() -> None:
    late = inviter()
    with pytest.raises(WrongInvitation):
        late.receive(letters(joiner(), 1), now_ms=LATER)
    assert late.stage is Stage.FAILED
    assert not late.receive(letters(joiner(), 1), now_ms=NOW)
    sponsor, newcomer = inviter(), joiner()
    sponsor.receive(letters(newcomer, 1), now_ms=NOW)
    newcomer.receive(letters(sponsor, 2))
    with pytest.raises(WrongInvitation):
        sponsor.receive(letters(newcomer, 3), now_ms=LATER)
    sponsor, newcomer = inviter(), joiner()
    until_code(sponsor, newcomer)
    with pytest.raises(WrongInvitation):
        sponsor.approve(welcome(sponsor), now_ms=LATER)


def test_invitation_into_another_vault() -> None:
    elsewhere, _ = Roster.found(device("r2"), W.laptop, W.laptop_chain, entropy=Seeded("other vault"))
    sponsor = Inviter(invitation(bound=False), W.laptop, elsewhere, entropy=Seeded("s"))
    sponsor._keys, newcomer = W.laptop, joiner()
    lying = Inviter.__new__(Inviter)
    lying.__dict__.update(sponsor.__dict__ | {"invitation": invitation()})
    lying.receive(letters(newcomer, 1), now_ms=NOW)
    with pytest.raises(PairingFailed):
        newcomer.receive(letters(lying, 2))
    with pytest.raises(UsageError):
        Inviter(invitation(), W.laptop, elsewhere, entropy=Seeded("s"))
    with pytest.raises(UsageError):
        Inviter(invitation(), NEW, W.roster, entropy=Seeded("s"))


def test_sponsor_hands_over_another_roster_than_it_promised() -> None:
    older = W.first  # lacks the head that was offered, and the phone
    elsewhere, _ = Roster.found(device("r2"), W.laptop, W.laptop_chain, entropy=Seeded("other vault"))
    for roster in (older, elsewhere):
        sponsor, newcomer = inviter(), joiner()
        until_code(sponsor, newcomer)
        assert sponsor.claim is not None
        claim = pairing.Claim.make(NEW, NEW_CHAIN, roster.vault_id)
        sponsor.claim = claim
        sponsor.approve(welcome(sponsor, roster), now_ms=NOW)
        newcomer.confirm()
        with pytest.raises(PairingFailed):
            newcomer.receive(letters(sponsor, 4))
        assert newcomer.joined is None
    sponsor, newcomer = inviter(), joiner()
    until_code(sponsor, newcomer)
    not_added = welcome(sponsor)
    not_added.entries = W.entries
    with pytest.raises(UsageError):
        sponsor.approve(not_added, now_ms=NOW)


def test_nothing_is_confirmed_or_approved_before_there_is_a_code() -> None:
    sponsor, newcomer = inviter(), joiner()
    with pytest.raises(UsageError):
        newcomer.confirm()
    sponsor.receive(letters(newcomer, 1), now_ms=NOW)
    with pytest.raises(UsageError):
        sponsor.approve(Welcome(bytes(16), bytes(32), (), locator=b"", number=1, account=b"", frontier={}), now_ms=NOW)
    with pytest.raises(UsageError):
        joiner(name="x" * 65)
    with pytest.raises(UsageError):
        joiner(name="a\nb")


def test_hostile_contents_under_the_right_key_are_passed_over() -> None:
    for fields in ((), (1,), (b"x" * 32, 1), ("x",), ({"a": 1},), (b"c" * 31,)):
        hostile, sponsor = joiner(), inviter()
        hostile._write(1, *fields)
        with pytest.raises(MalformedEnvelope):
            sponsor.receive(letters(hostile, 1), now_ms=NOW)
        assert sponsor.stage is Stage.WAITING
    weak = inviter()
    newcomer = joiner()
    weak.receive(letters(newcomer, 1), now_ms=NOW)
    body = list(packing.unpack(weak._bodies[2], max_bytes=1 << 20))
    weak._write(2, *body[1:4], b"\1" + bytes(31) + body[4][32:], body[5])
    with pytest.raises(PairingFailed):
        newcomer.receive(letters(weak, 2))


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=400).map(lambda tail: b"VSP1" + tail) | st.binary(max_size=60))
def test_arbitrary_bytes_are_a_typed_refusal(data: bytes) -> None:
    for machine in (inviter(), joiner()):
        with pytest.raises((Refused, UpdateRequired)):
            _feed(machine, data)
        assert machine.stage is Stage.WAITING


def test_letters_of_a_later_format_ask_for_an_update() -> None:
    with pytest.raises(UpdateRequired):
        letter_number(b"VSP2" + bytes(100))
    assert letter_number(letters(joiner(), 1)) == 1
    for data in (b"VSP1\0" + bytes(100), b"VSP1\6" + bytes(100), b"VSP1", b"ABCD" + bytes(100)):
        with pytest.raises(MalformedEnvelope):
            letter_number(data)
