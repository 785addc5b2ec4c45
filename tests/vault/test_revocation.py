"""Removing a device: what it stops, what it leaves alone, and what the person is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vaultsync.crypto.keys import EpochKey
from vaultsync.crypto.primitives import hpke_seal, label
from vaultsync.crypto.roster import Roster
from vaultsync.crypto.roster_entry import Op, build, context_of, entry_hash, open_entry, seal_entry
from vaultsync.errors import DeviceRemoved, RemoteUnavailable, UsageError, WrongCode, WrongPassword
from vaultsync.schema.kinds import secret, tags, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.store import Reading
from vaultsync.sync.events import Tip
from vaultsync.sync.names import parse_roster, roster_name, roster_prefix
from vaultsync.sync.report import FindingKind, WaitsFor
from vaultsync.testing import FaultyRemote, MemoryRemote, MemoryVault, environment, memory_vault
from vaultsync.testing.remotes import Faults
from vaultsync.testing.vaults import KEY, PASSWORD
from vaultsync.vault.identity import Identity
from vaultsync.vault.membership.revocations import Revocation
from vaultsync.vault.replication import parcels
from vaultsync.vault.replication.syncing import State
from vaultsync.vault.vault import Vault

LOGIN = EntryType(
    "login", fields=[Field("title", text), Field("password", secret), Field("pin", secret), Field("labels", tags)]
)
SCHEMA = Schema("logins", version=1, platform="linux", types=[LOGIN])


class Home:
    """A person's devices around one remote."""

    def __init__(self) -> None:
        self.remote = MemoryRemote()
        self.laptop = memory_vault(SCHEMA, remote=self.remote, device="Laptop")
        self.vaults = [self.laptop]
        self.code = self.laptop.recovery_code or ""

    def device(self, name: str) -> MemoryVault:
        made = memory_vault(SCHEMA, joins=self.laptop, device=name)
        self.vaults.append(made)
        return made

    def revoke(self, by: Vault, gone: Vault) -> Revocation:
        return by.revoke(gone.devices[0], password=PASSWORD, code=self.code)

    def close(self) -> None:
        for vault in self.vaults:
            vault.close()


@pytest.fixture
def home() -> Iterator[Home]:
    made = Home()
    yield made
    made.close()


def sync(*vaults: Vault) -> None:
    for vault in (*vaults, *vaults):
        vault.sync()


def titles(vault: Vault) -> list[str]:
    return sorted(entry["title"] for entry in vault.view())


def state(vault: Vault) -> State:
    return vault.status.state


def names(vault: Vault) -> set[str]:
    return {device.name for device in vault.devices}


# ---- what it stops ------------------------------------------------------------------------------------------------
def test_a_removed_device_is_told_and_keeps_what_it_has(home: Home) -> None:
    phone = home.device("Phone")
    kept = phone.add("login", title="mine", password="p")
    sync(phone, home.laptop)
    home.revoke(home.laptop, phone)
    assert names(home.laptop) == {"Laptop"}
    phone.add("login", title="written after")
    before = dict(home.remote.objects)
    with pytest.raises(DeviceRemoved, match="removed from the vault"):
        phone.sync()
    assert phone.status.state is State.REMOVED
    assert home.remote.objects == before, "it pushes nothing any more"
    assert phone.view()[kept.id]["password"] == "p"
    with pytest.raises(DeviceRemoved):
        phone.sync()
    home.laptop.sync()
    assert titles(home.laptop) == ["mine"]


def test_a_removed_device_knows_it_after_reopening_and_without_the_remote(home: Home) -> None:
    phone = home.device("Phone")
    home.revoke(home.laptop, phone)
    with pytest.raises(DeviceRemoved):
        phone.sync()
    opened = Vault.open(phone.path, schema=SCHEMA, key=KEY, environment=environment("again"), background=False)
    with opened:
        assert opened.status.state is State.REMOVED


def test_later_envelopes_are_sealed_under_a_key_that_the_removed_device_lacks(home: Home) -> None:
    phone = home.device("Phone")
    home.revoke(home.laptop, phone)
    home.laptop.add("login", title="later")
    home.laptop.sync()
    keys = phone._works.identity.with_roster([e.data for e in home.laptop._works.identity.roster.log]).epoch_keys()
    assert home.laptop._works.identity.roster.epoch not in keys


def test_the_removed_device_writes_on_and_nobody_listens(home: Home) -> None:
    """It ignores the removal: old roster, old key, straight onto the remote. Set aside, and listed."""
    phone = home.device("Phone")
    other = home.device("Tablet")
    sync(home.laptop, phone, other)
    home.revoke(home.laptop, phone)
    hidden = {name: home.remote.objects.pop(name) for name in list(home.remote.objects) if "/roster/" in name}
    for number in range(3):
        phone.add("login", title=f"past the end {number}")
        phone.sync()  # does not hear of it
    home.remote.objects |= hidden
    for vault in (home.laptop, other):
        report = vault.sync()
        assert titles(vault) == []
        assert vault.status.quarantined >= 1
        assert not report.waiting
        assert all(reason.startswith("Revoked") for reason in reasons(vault))


@pytest.mark.parametrize("who", ["itself", "an ally", "an ally that stays"])
def test_a_device_that_names_early_what_it_means_to_write_late_gets_nothing_in(
    home: Home, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is a member, it or a device that it added claims to have a million envelopes of it. Named is what has an
    id; and nothing that is written later has it."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    ally = phone
    if who != "itself":
        ally = memory_vault(SCHEMA, joins=phone, device="Ally")
        home.vaults.append(ally)
    honest, liar = parcels.tips, ally._works.identity.chain.id

    def tips(reading: Reading, identity: Identity) -> dict[bytes, Tip]:
        found = honest(reading, identity)
        return found | {phone._works.identity.chain.id: Tip(10**6, b"?" * 32)} if identity.chain.id == liar else found

    monkeypatch.setattr(parcels, "tips", tips)
    ally.add("login", title="harmless")
    ally.sync()
    monkeypatch.undo()
    sync(home.laptop, tablet)
    if who == "an ally":
        home.revoke(home.laptop, ally)
    home.revoke(home.laptop, phone)
    hidden = {name: home.remote.objects.pop(name) for name in list(home.remote.objects) if "/roster/" in name}
    for number in range(3):
        phone.add("login", title=f"late {number}")
        phone.sync()
    home.remote.objects |= hidden
    sync(home.laptop, tablet)
    assert titles(home.laptop) == titles(tablet) == ["harmless"]


def test_an_older_key_or_an_older_list_is_not_gone_back_to(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backdated: a member that has heard of the removal seals under the key that the removed device has, too."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    old = tablet._works.identity.roster.epoch
    home.revoke(home.laptop, phone)
    tablet.add("login", title="aware")
    sync(tablet, home.laptop)
    monkeypatch.setattr(Roster, "epoch", property(lambda self: old))
    tablet.add("login", title="backdated")
    tablet.sync()
    monkeypatch.undo()
    home.laptop.sync()
    assert titles(home.laptop) == ["aware"]
    assert [reason.split(":")[0] for reason in reasons(home.laptop)] == ["StaleEpoch"]


def reasons(vault: Vault) -> list[str]:
    with vault._ledger.store.read() as reading:
        return [one.reason for one in reading.quarantined()]


# ---- what it leaves alone -----------------------------------------------------------------------------------------
def test_what_another_device_had_of_it_becomes_everybodys(home: Home) -> None:
    """Past the pin, acknowledged: applied by a tablet that had not heard of the removal, and built on."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    entry = phone.add("login", title="by the phone")
    phone.sync()
    tablet.sync()  # the laptop does not
    home.revoke(home.laptop, phone)
    assert titles(home.laptop) == []
    tablet.update(entry.id, password="by the tablet")
    tablet.sync()  # hears, and says what it had
    home.laptop.sync()
    tablet.sync()
    assert home.laptop.view()[entry.id]["password"] == tablet.view()[entry.id]["password"] == "by the tablet"
    assert titles(home.laptop) == ["by the phone"]


def test_set_aside_and_released_when_an_ack_arrives_later(home: Home) -> None:
    """The laptop refuses it first, and learns only then that the tablet had it."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    phone.add("login", title="late")
    phone.sync()
    tablet.sync()
    home.revoke(home.laptop, phone)
    home.laptop.sync()
    assert (titles(home.laptop), len(reasons(home.laptop))) == ([], 1)
    tablet.sync()
    home.laptop.sync()
    assert (titles(home.laptop), reasons(home.laptop)) == (["late"], [])


def test_a_device_that_is_lost_before_it_hears_has_said_so_in_its_envelopes(home: Home) -> None:
    """No ack ever comes from the tablet; its envelope names what it had of the phone."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    entry = phone.add("login", title="by the phone")
    phone.sync()
    tablet.sync()
    tablet.update(entry.id, password="built on it")
    tablet.sync()
    home.revoke(home.laptop, phone)
    home.laptop.sync()
    assert home.laptop.view()[entry.id]["password"] == "built on it"


def test_a_device_that_is_not_the_founder_removes_the_founder(home: Home) -> None:
    phone = home.device("Phone")
    sync(home.laptop, phone)
    home.revoke(phone, home.laptop)
    assert names(phone) == {"Phone"}
    with pytest.raises(DeviceRemoved):
        home.laptop.sync()


def test_the_removed_device_may_come_back_as_another(home: Home, tmp_path: Path) -> None:
    phone = home.device("Phone")
    home.laptop.add("login", title="one")
    sync(home.laptop, phone)
    home.revoke(home.laptop, phone)
    again = home.device("Phone again")
    again.add("login", title="two")
    sync(again, home.laptop)
    assert titles(again) == titles(home.laptop) == ["one", "two"]
    assert names(home.laptop) == {"Laptop", "Phone again"}


def test_history_still_names_the_removed_device(home: Home) -> None:
    phone = home.device("Phone")
    entry = phone.add("login", title="mine")
    sync(phone, home.laptop)
    home.revoke(home.laptop, phone)
    assert [one.device for one in home.laptop.history(entry.id)] == ["Phone"]
    assert "Phone" not in {device.name for device in home.laptop.view().context.census}


def test_removed_at_two_places_at_once_asks_for_a_rotation(home: Home) -> None:
    phone, tablet, watch = home.device("Phone"), home.device("Tablet"), home.device("Watch")
    sync(home.laptop, phone, tablet, watch)
    objects = dict(home.remote.objects)
    home.revoke(home.laptop, phone)
    one, home.remote.objects = home.remote.objects, dict(objects)
    home.revoke(tablet, watch)
    home.remote.objects |= {name: data for name, data in one.items() if name not in home.remote.objects}
    sync(home.laptop, tablet)
    assert [vault.status.needs_rotation for vault in (home.laptop, tablet)] == [True, True]
    assert home.laptop.rotate(password=PASSWORD, code=home.code)
    sync(tablet, home.laptop)
    assert [vault.status.needs_rotation for vault in (home.laptop, tablet)] == [False, False]
    tablet.add("login", title="safe")
    sync(tablet, home.laptop)
    assert titles(home.laptop) == ["safe"]


# ---- what it takes ------------------------------------------------------------------------------------------------
def test_it_takes_password_and_code_and_changes_nothing_without(home: Home) -> None:
    phone = home.device("Phone")
    sync(home.laptop, phone)
    before = dict(home.remote.objects)
    target = phone.devices[0].id
    with memory_vault(SCHEMA) as stranger:
        wrong = stranger.recovery_code or ""
    with pytest.raises(WrongPassword):
        home.laptop.revoke(target, password="wrong", code=home.code)
    with pytest.raises(WrongCode):
        home.laptop.revoke(target, password=PASSWORD, code=wrong)
    for bad in ("00" * 16, "nonsense", home.laptop.devices[0].id, home.laptop._works.identity.roster.recovery.id.hex()):
        with pytest.raises(UsageError):
            home.laptop.revoke(bad, password=PASSWORD, code=home.code)
    home.remote.present = False
    with pytest.raises(RemoteUnavailable):
        home.laptop.revoke(target, password=PASSWORD, code=home.code)
    home.remote.present = True
    assert home.remote.objects == before
    assert len(home.laptop.devices) == 2


@pytest.mark.parametrize("fault", ["unavailable", "lost_ack", "vanish"])
def test_a_remote_that_fails_at_any_call_leaves_it_removed_or_not(fault: str) -> None:
    """Raised: nothing happened. Returned: removed here, and for everybody with the next sync."""
    removed = raised = 0
    for number in range(40):
        home = Home()
        phone = home.device("Phone")
        sync(home.laptop, phone)
        faulty = FaultyRemote(home.remote, 1, Faults())
        home.laptop.connect("memory://", remote=faulty)
        begun = len(faulty.log)
        faulty.plan = {begun + number: fault}
        try:
            result = home.revoke(home.laptop, phone)
        except RemoteUnavailable:
            raised += 1
            assert names(home.laptop) == {"Laptop", "Phone"}, number
        else:
            removed += 1
            assert names(home.laptop) == {"Laptop"}, number
            struck = len(faulty.log) > begun + number
            faulty.calm()
            home.laptop.sync()
            with pytest.raises(DeviceRemoved):
                phone.sync()
            assert result.published or struck
            if not struck:
                home.close()
                break
        home.close()
    else:
        pytest.fail("it never went without the fault")
    assert removed > 3
    assert (raised > 2) == (fault != "lost_ack")


# ---- what the person is told --------------------------------------------------------------------------------------
def test_the_list_of_secrets_to_change_shrinks_as_they_are_changed(home: Home) -> None:
    phone = home.device("Phone")
    bank = home.laptop.add("login", title="Bank", password="old", pin="1234")
    mail = home.laptop.add("login", title="Mail", password="old")
    home.laptop.add("login", title="No secret")
    sync(home.laptop, phone)
    made = home.revoke(home.laptop, phone)
    assert [(one.entry["title"], one.fields) for one in made.exposed] == [
        ("Mail", ("password",)),
        ("Bank", ("password", "pin")),
    ]
    assert "3 secrets" in str(made)
    home.laptop.update(mail.id, password="new")
    home.laptop.update(bank.id, pin="9876")
    home.laptop.add("login", title="Later", password="never shared")
    (now,) = home.laptop.revocations
    assert [(one.entry["title"], one.fields) for one in now.exposed] == [("Bank", ("password",))]
    assert "old" not in repr(now)


def test_any_device_can_tell_it_later(home: Home) -> None:
    phone, tablet = home.device("Phone"), home.device("Tablet")
    home.laptop.add("login", title="Bank", password="old")
    sync(home.laptop, phone, tablet)
    shared = tablet.add("login", title="Not sent yet", password="t")
    home.revoke(home.laptop, phone)
    home.laptop.add("login", title="Later", password="never shared")
    home.laptop.sync()
    tablet.sync()
    (told,) = tablet.revocations
    assert told.name == "Phone"
    assert {one.entry["title"] for one in told.exposed} >= {"Bank"}
    assert "Later" not in {one.entry["title"] for one in told.exposed}
    home.laptop.sync()
    assert shared.id in home.laptop.view()
    new = home.device("New")
    assert {one.entry["title"] for one in new.revocations[0].exposed} == {"Bank"}


def test_what_an_unaware_device_sealed_under_the_old_key_is_told_as_exposed(home: Home) -> None:
    """It arrives after the removal was heard of, and the removed device can read it all the same."""
    phone, tablet = home.device("Phone"), home.device("Tablet")
    sync(home.laptop, phone, tablet)
    hidden = dict(home.remote.objects)
    home.revoke(home.laptop, phone)
    withheld = {name: home.remote.objects.pop(name) for name in set(home.remote.objects) - set(hidden)}
    tablet.add("login", title="Unaware", password="t")
    tablet.sync()
    home.remote.objects |= withheld
    home.laptop.sync()
    assert [one.entry["title"] for one in home.laptop.revocations[0].exposed] == ["Unaware"]


def test_late_edits_are_listed_and_taken_back_by_one_call(home: Home) -> None:
    phone, tablet = home.device("Phone"), home.device("Tablet")
    bank = home.laptop.add("login", title="Bank", password="good", labels={"a"})
    mail = home.laptop.add("login", title="Mail", password="good")
    sync(home.laptop, phone, tablet)
    phone.update(bank.id, password="evil", pin="666", labels={"a", "evil"})
    phone.delete(mail.id)
    added = phone.add("login", title="Spam")
    phone.sync()
    tablet.sync()
    home.revoke(home.laptop, phone)
    tablet.sync()
    home.laptop.sync()
    for vault in (home.laptop, tablet):
        (told,) = vault.revocations
        assert {(late.entry_id, late.revision.event) for late in told.late_edits} == {
            (bank.id, "edit"),
            (mail.id, "deleted"),
            (added.id, "added"),
        }
    assert home.laptop.undo(home.laptop.revocations[0].late_edits) == ()
    assert home.laptop.view()[bank.id]["password"] == "good"
    assert home.laptop.view()[bank.id]["pin"] is None
    assert home.laptop.view()[bank.id]["labels"] == {"a"}
    assert titles(home.laptop) == ["Bank", "Mail"]
    sync(home.laptop, tablet)
    assert tablet.view()[bank.id]["password"] == "good"


def test_what_was_changed_again_is_not_taken_back(home: Home) -> None:
    phone, tablet = home.device("Phone"), home.device("Tablet")
    bank = home.laptop.add("login", title="Bank", password="good")
    sync(home.laptop, phone, tablet)
    phone.update(bank.id, password="evil")
    phone.sync()
    tablet.sync()
    home.revoke(home.laptop, phone)
    tablet.update(bank.id, password="better")
    sync(tablet, home.laptop)
    (told,) = home.laptop.revocations
    assert home.laptop.undo(told.late_edits) == told.late_edits
    assert home.laptop.view()[bank.id]["password"] == "better"


# ---- keys that are awaited ----------------------------------------------------------------------------------------
def test_a_device_that_was_added_beside_the_rotation_awaits_a_key_and_says_so(home: Home) -> None:
    phone = home.device("Phone")
    sync(home.laptop, phone)
    before = dict(home.remote.objects)
    home.revoke(home.laptop, phone)
    after, home.remote.objects = home.remote.objects, dict(before)
    tablet = memory_vault(SCHEMA, joins=phone, device="Tablet")  # the phone has not heard of it, and syncs first
    home.vaults.append(tablet)
    home.remote.objects |= {name: data for name, data in after.items() if name not in home.remote.objects}
    tablet.add("login", title="waits")
    tablet.sync()
    assert state(tablet) is State.AWAITING_KEY
    assert tablet.status.pending > 0
    home.laptop.sync()
    tablet.sync()
    home.laptop.sync()
    assert titles(home.laptop) == ["waits"]
    assert state(tablet) in (State.UP_TO_DATE, State.MANUAL)
    assert WaitsFor.ROSTER not in {one.reason for one in tablet.status.waiting}


@pytest.mark.parametrize("lies", [1, 3])
def test_p8_a_false_grant_stops_nothing_is_named_and_mended_by_another_member(home: Home, lies: int) -> None:
    """The camera is removed while the phone adds the tablet, which then lacks the new key. The phone gives it a false
    one, as often as it likes; the laptop gives the true one."""
    camera, phone = home.device("Camera"), home.device("Phone")
    sync(home.laptop, camera, phone)
    before = dict(home.remote.objects)
    home.revoke(home.laptop, camera)
    after, home.remote.objects = home.remote.objects, dict(before)
    tablet = memory_vault(SCHEMA, joins=phone, device="Tablet")
    home.vaults.append(tablet)
    home.remote.objects |= {name: data for name, data in after.items() if name not in home.remote.objects}
    lie(home, phone, tablet, times=lies)
    home.laptop.add("login", title="under the new key")
    tablet.add("login", title="waits")
    tablet.sync()
    report = tablet.sync()
    assert report.waiting == ()
    assert state(tablet) is State.AWAITING_KEY
    assert tablet.status.pending > 0
    (found,) = {finding.device for finding in tablet.status.findings if finding.kind is FindingKind.FALSE_GRANT}
    assert found == "Phone"
    assert "Phone's entry" in tablet.status.message
    assert "false key" in tablet.status.message
    with pytest.raises(UsageError, match="current epoch key"):
        tablet._works.identity.roster.add_device(tablet._works.identity.keys, None)  # type: ignore[arg-type]
    sync(home.laptop, tablet, home.laptop)
    assert titles(tablet) == titles(home.laptop) == ["under the new key", "waits"]
    assert state(tablet) in (State.UP_TO_DATE, State.MANUAL)
    assert not tablet.status.findings
    assert FindingKind.FALSE_GRANT in {finding.kind for finding in tablet.findings}, "it stays in the log"
    sync(phone, tablet, home.laptop)
    entries = len(tablet._works.identity.roster.log)
    lie(home, phone, tablet)
    sync(home.laptop, tablet, home.laptop, phone, tablet)
    assert len(tablet._works.identity.roster.log) == entries + 1, "nobody answers what does no harm"


def lie(home: Home, giver: Vault, to: Vault, times: int = 1) -> None:
    """Put entries that give ``to`` another key than the newest epoch's."""
    for number in range(times):
        giver_identity = giver._works.identity
        roster = giver_identity.roster
        stored = [
            open_entry(
                home.remote.get(name),
                vault_id=roster.vault_id,
                roster_key=giver_identity.roster_key,
                hash=parsed.digest,
            )
            for name in home.remote.list(roster_prefix(roster.vault_id))
            if (parsed := parse_roster(name)) is not None
        ]
        roster = roster.merge(stored)
        base = roster.heads
        false = EpochKey(bytes([number + 1]) * 32)
        check = next(
            entry.epoch.check for entry in reversed(roster.log) if entry.epoch and entry.epoch.id == roster.epoch
        )
        public = to._works.identity.keys.public
        info = label("grant") + context_of(roster.vault_id, tuple(sorted(base))) + check + public.id
        sealed = hpke_seal(public.kem, false.key, info)
        n = 1 + max(entry.n for entry in roster.log)
        data = build(
            Op.GRANT,
            n=n,
            prev=tuple(sorted(base)),
            author=giver_identity.keys,
            subject=(((check, public.id, sealed),),),
        )
        assert roster.merge([data]).knows(entry_hash(data))
        made = seal_entry(data, vault_id=roster.vault_id, roster_key=giver_identity.roster_key)
        home.remote.put(roster_name(roster.vault_id, n, entry_hash(data)), made)
