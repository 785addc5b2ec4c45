"""An insider: a device of the vault that seals and signs whatever it likes. What it sends is refused or set aside
with a reason, blocks nobody else, and the vault goes on loading and saving.

Mutated changes by the thousand: ``VAULTSYNC_EXAMPLES=10000 python -m pytest tests/vault/test_insider.py -q -s``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from tests.document.test_mutations import mutate_bytes, mutate_meaning
from vaultsync.crypto import body as bodies
from vaultsync.crypto import envelope
from vaultsync.document.changes import Change, decode, pack
from vaultsync.document.columns import to_unsigned
from vaultsync.document.engine import Edit, Engine
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.sync import names
from vaultsync.sync.events import NO_ENVELOPE
from vaultsync.testing import MemoryRemote, memory_vault
from vaultsync.testing.vaults import PASSWORD
from vaultsync.vault.identity import Identity
from vaultsync.vault.vault import Vault

NUMBER = int(os.environ.get("VAULTSYNC_EXAMPLES", "60"))
FIELDS = [Field("title", text), Field("password", secret)]
SCHEMA = Schema("notes", version=1, platform="linux", types=[EntryType("note", fields=FIELDS)])


class Insider:
    """A laptop, a phone whose keys the attacker has, and a tablet, on one remote."""

    def __init__(self, seed: str) -> None:
        self.begin(seed)

    def begin(self, seed: str) -> None:
        self.remote = MemoryRemote()
        self.laptop = memory_vault(SCHEMA, seed=f"{seed}/laptop", remote=self.remote, device="Laptop")
        self.entry = self.laptop.add("note", title="Bank", password="p")
        self.laptop.sync()
        self.phone = memory_vault(SCHEMA, seed=f"{seed}/phone", joins=self.laptop, device="Phone")
        self.tablet = memory_vault(SCHEMA, seed=f"{seed}/tablet", joins=self.laptop, device="Tablet")
        for vault in (self.phone, self.laptop, self.tablet, self.phone, self.laptop):
            vault.sync()
        self.identity = self.phone._works.identity
        self.chain = self.identity.chain.id

    def close(self) -> None:
        for vault in (self.laptop, self.phone, self.tablet):
            vault.close()

    def own(self, count: int = 1) -> list[Change]:
        """Changes that the phone makes and does not send."""
        before = self.phone._ledger.engine.last_seq(self.chain)
        for number in range(count):
            self.phone.update(self.entry.id, title=f"by the phone {number}")
        return [decode(chunk) for chunk in self.phone._ledger.engine.own_changes(self.chain, before)]

    def send(
        self,
        chunks: Sequence[bytes],
        *,
        tip: Change | None = None,
        count: int | None = None,
        name_of: bytes | None = None,
        identity: Identity | None = None,
    ) -> str:
        """Seals and puts an envelope as the next of the phone's chain; signs for ``tip``. ``identity``: what it claims
        to know of the vault's devices and keys."""
        identity = identity or self.identity
        with self.phone._ledger.store.read() as reading:
            last = reading.last_envelope(self.chain, envelope.Kind.CHANGES)
        seq, prev = (last.seq, last.env_id) if last else (0, NO_ENVELOPE)
        keys, vault_id = identity.keys, identity.vault_id
        body = bodies.Body(
            roster_head=identity.roster.head,
            generation=0,
            frontier={},
            frontier_digest=bodies.frontier_digest({}),
            count=len(chunks) if count is None else count,
            changes=pack(list(chunks)) if all(map(readable, chunks)) else plain(chunks),
            tip=bodies.sign_tip(keys, vault_id, self.chain, tip.seq, tip.hash) if tip else None,
            wall_ms=0,
        )
        epoch = identity.epoch_keys()[identity.roster.epoch]
        header = envelope.Header(envelope.Kind.CHANGES, vault_id, self.chain, epoch.id, seq + 1, prev)
        made = envelope.seal(header, bodies.encode(body), keys, epoch, os.urandom)
        name = names.envelope_name(vault_id, self.chain, seq + 1, name_of or made.env_id)
        self.remote.put(name, made.data)
        return name

    def unharmed(self, *, heads: tuple[bytes, ...]) -> None:
        """The laptop took nothing of it, and everybody else goes on."""
        assert self.laptop._ledger.engine.heads == heads
        self.tablet.update(self.entry.id, password="by the tablet")
        self.tablet.sync()
        self.laptop.sync()
        assert self.laptop.view()[self.entry.id]["password"] == "by the tablet"
        self.laptop.update(self.entry.id, title="by the laptop")
        Engine.load(self.laptop._ledger.engine.save()).close()


def readable(chunk: bytes) -> bool:
    try:
        decode(chunk)
    except Exception:
        return False
    return True


def plain(chunks: Sequence[bytes]) -> bytes:
    return b"\0" + b"".join(to_unsigned(len(chunk)) + chunk for chunk in chunks)


@pytest.fixture
def insider(request: pytest.FixtureRequest) -> Iterator[Insider]:
    made = Insider(request.node.name)
    yield made
    made.close()


def reason(vault: Vault) -> str:
    with vault._ledger.store.read() as reading:
        found = [row.reason for row in reading.quarantined()]
    return found[-1] if found else ""


def refused(insider: Insider, why: str) -> None:
    heads = insider.laptop._ledger.engine.heads
    report = insider.laptop.sync()
    assert report.quarantined or report.waiting
    assert why in reason(insider.laptop) + " ".join(map(str, report.waiting))
    insider.unharmed(heads=heads)


def test_changes_of_somebody_else_in_ones_own_envelope(insider: Insider) -> None:
    """The phone makes up a change of the tablet's."""
    other = insider.tablet._works.identity.chain.id
    engine = Engine.load(insider.phone._ledger.engine.save())
    [made] = engine.commit(other, [Edit("entries", insider.entry.id, "password", "forged")])
    insider.send([made.chunk], tip=made)
    refused(insider, "does not hold the changes that it says")


def test_changes_that_the_writer_did_not_sign_one_by_one(insider: Insider) -> None:
    """Else a checkpoint could not be checked against its writers' signatures."""
    first, second = insider.own(2)
    insider.send([first.chunk, second.chunk], tip=first)
    refused(insider, "BadSignature")


def test_changes_without_any_signature_for_them(insider: Insider) -> None:
    [made] = insider.own()
    insider.send([made.chunk])
    refused(insider, "not signed for")


@pytest.mark.parametrize("count", [0, 2, 1000])
def test_another_number_of_changes_than_announced(insider: Insider, count: int) -> None:
    [made] = insider.own()
    insider.send([made.chunk], tip=made, count=count)
    refused(insider, "does not hold the changes that it says")


def test_an_envelope_under_the_name_of_another(insider: Insider) -> None:
    """The remote swaps objects: what lies there is not (yet) what the name promises, so it is waited for."""
    [made] = insider.own()
    insider.send([made.chunk], tip=made, name_of=b"x" * 32)
    heads = insider.laptop._ledger.engine.heads
    report = insider.laptop.sync()
    assert "not complete yet" in " ".join(map(str, report.waiting))
    insider.unharmed(heads=heads)


def test_a_change_that_skips_one_of_its_chain(insider: Insider) -> None:
    _, second = insider.own(2)
    insider.send([second.chunk], tip=second)
    refused(insider, "")


def test_an_older_key_and_an_older_list_of_devices_than_in_the_envelope_before(insider: Insider) -> None:
    """Else a removed device could go on reading what a member seals for it on the quiet, or by mistake."""
    before = insider.identity
    insider.laptop.rotate(password=PASSWORD, code=insider.laptop.recovery_code or "")
    insider.laptop.sync()
    insider.phone.sync()
    insider.phone.update(insider.entry.id, title="under the new key")
    insider.phone.sync()
    insider.laptop.sync()
    insider.tablet.sync()
    assert insider.laptop.view()[insider.entry.id]["title"] == "under the new key"
    [made] = insider.own()
    insider.send([made.chunk], tip=made, identity=before)
    refused(insider, "StaleEpoch")


def test_mutated_changes_in_a_valid_envelope(insider: Insider) -> None:
    """Each is refused, or waits, or is what the phone could have written; the laptop's document saves and loads."""
    rng = random.Random("insider")
    outcomes: Counter[str] = Counter()
    mine = insider.own(3)
    for number in range(NUMBER):
        mutate = rng.choice([mutate_bytes, mutate_meaning])
        chunk = mutate(rng, mine[0], rng.choice(mine))
        heads = insider.laptop._ledger.engine.heads
        name = insider.send([chunk], tip=decode(chunk) if readable(chunk) else mine[0])
        try:
            report = insider.laptop.sync()
            Engine.load(insider.laptop._ledger.engine.save()).close()
        except Exception as error:
            pytest.fail(f"insider/{number}: {type(error).__name__}: {error}\n{chunk.hex()}")
        taken = insider.laptop._ledger.engine.heads != heads
        assert taken or report.quarantined or report.waiting, f"insider/{number}: gone without a word\n{chunk.hex()}"
        outcomes["accepted" if taken else "refused" if report.quarantined else "waits"] += 1
        insider.remote.delete(name)
        insider.laptop._syncing.relearn()  # what waits is forgotten
        if taken:
            insider.laptop.view()
            insider.close()
            insider.begin(f"again/{number}")
            mine = insider.own(3)
    print(dict(outcomes))
    assert set(outcomes) == {"accepted", "refused", "waits"}
