"""The log of what was noticed about remotes and devices: kept sealed, open while the cause lasts, never forgotten soon.

``findings``            JSON: every finding, oldest first, bounded in number
``claims/<remote>``     JSON: what frontiers named that was not applied here yet (`Core.claims`)
``shown/<remote>``      JSON: entries of the list of devices, and account slots, that the remote was seen to hold
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

from vaultsync.crypto.roster import FalseGrant
from vaultsync.limits import MAX_FINDINGS
from vaultsync.sync.chain import Claims
from vaultsync.sync.core import Core
from vaultsync.sync.report import Finding, FindingKind
from vaultsync.vault.identity import Identity
from vaultsync.vault.ledger import Ledger
from vaultsync.vault.replication.rosters import Rosters

__all__ = ["Findings", "Witness"]

FINDINGS: Final = "findings"
CLAIMS: Final = "claims/"
SHOWN: Final = "shown/"
_KEPT_NAMES: Final = 8
_ENTRIES, _ACCOUNT = "entries", "account"


class Findings:
    """Every finding of this vault. ``name_of`` tells the device that writes a chain."""

    def __init__(self, ledger: Ledger, name_of: Callable[[bytes], str | None] = lambda chain: None) -> None:
        self._ledger = ledger
        self._name_of = name_of

    def all(self) -> tuple[Finding, ...]:
        """The newest last."""
        return tuple(self.told(finding) for finding in self._stored())

    def open(self, remotes: Collection[str | None]) -> tuple[Finding, ...]:
        """Those of these remotes whose cause has not gone away."""
        return tuple(finding for finding in self.all() if finding.ended_ms is None and finding.remote in remotes)

    def told(self, finding: Finding) -> Finding:
        """With the names of devices, where they are known."""
        device = self._name_of(finding.chain) if finding.chain else None
        teller = self._name_of(finding.by) if finding.by else None
        return replace(finding, device=device or finding.device, teller=teller or finding.teller)

    def _stored(self) -> list[Finding]:
        data = self._ledger.noted(FINDINGS)
        return [_parsed(row) for row in json.loads(data)] if data else []

    def note(
        self, remote: str, found: Iterable[Finding], settled: Callable[[Finding], bool], now_ms: int
    ) -> tuple[Finding, ...]:
        """At the end of a pass: what is new, and what of the open ones of that remote ended. Returns what is new."""
        stored = self._stored()
        kept = [
            replace(one, ended_ms=now_ms) if one.ended_ms is None and one.remote == remote and settled(one) else one
            for one in stored
        ]
        lasting = {one.place for one in kept if one.ended_ms is None and one.remote == remote}
        new: dict[object, Finding] = {}
        for one in found:
            if one.place not in lasting:
                noticed = replace(one, names=one.names[:_KEPT_NAMES], remote=remote, noticed_ms=now_ms)
                new.setdefault(one.place, self.told(noticed))
        kept += new.values()
        if kept != stored or any(a.ended_ms != b.ended_ms for a, b in zip(kept, stored, strict=False)):
            closed = [one for one in kept if one.ended_ms is not None]
            for one in closed[: max(0, len(kept) - MAX_FINDINGS)]:
                kept.remove(one)
            with self._ledger.write() as transaction:
                transaction.set_state(FINDINGS, json.dumps([_row(one) for one in kept[-MAX_FINDINGS:]]).encode())
        return tuple(new.values())


class Witness:
    """What one remote showed before, over restarts. Of one exchange; not thread-safe."""

    def __init__(self, ledger: Ledger, remote: str, findings: Findings) -> None:
        self._ledger = ledger
        self._remote = remote
        self._key = hashlib.sha256(remote.encode()).hexdigest()[:32]
        self._findings = findings
        self._same: tuple[object, ...] = (object(),)  # what was compared last, where nothing came of it

    # ---- frontiers --------------------------------------------------------------------------------------------
    def claims(self) -> dict[bytes, Claims]:
        """For a new core."""
        data = self._ledger.noted(CLAIMS + self._key)
        rows = json.loads(data) if data else {}
        return {
            bytes.fromhex(chain): Claims(
                gap, {seq: (bytes.fromhex(short), bytes.fromhex(by) if by else None) for seq, short, by in places}
            )
            for chain, (gap, places) in rows.items()
        }

    def finish(self, core: Core, found: list[Finding], now_ms: int) -> tuple[Finding, ...]:
        """At the end of a pass: keep what has to be remembered; the findings that are new."""
        rows = {
            chain.hex(): [
                claimed.gap,
                [[seq, short.hex(), by.hex() if by else ""] for seq, (short, by) in sorted(claimed.places.items())],
            ]
            for chain, claimed in core.claims().items()
        }
        self._keep(CLAIMS, dict(rows))
        about = {one.place for one in found}

        def settled(finding: Finding) -> bool:
            if finding.chain and finding.kind is not FindingKind.FALSE_GRANT:
                return core.settled(finding)
            return finding.place not in about

        return self._findings.note(self._remote, found, settled, now_ms)

    # ---- devices and account ----------------------------------------------------------------------------------
    def compare(self, rosters: Rosters) -> list[Finding]:
        """What the remote lacked of the list of devices and the account, and had before (by now all is there again);
        and who gave this device false keys, while it lacks the true ones."""
        data = self._ledger.noted(SHOWN + self._key)
        looked = (data, rosters.identity, rosters.listed, rosters.account_listed)
        if all(one is before for one, before in zip(looked, self._same, strict=False)):
            return []
        shown = json.loads(data) if data else {_ENTRIES: [], _ACCOUNT: ""}
        account = rosters.account_name
        entries = sorted(entry.hash.hex() for entry in rosters.identity.roster.log)
        found = []
        gone = sorted(set(shown[_ENTRIES]) - {one.hex() for one in rosters.listed})
        if gone:
            found.append(Finding(FindingKind.DEVICES_ROLLED_BACK, b"", 0, tuple(gone)))
        if account and shown[_ACCOUNT] == account and not rosters.account_listed:
            found.append(Finding(FindingKind.ACCOUNT_ROLLED_BACK, b"", 0, (account,)))
        found += [_false(one, rosters.identity) for one in rosters.identity.false_grants]
        kept = self._keep(SHOWN, {_ENTRIES: entries, _ACCOUNT: account})
        self._same = looked if kept and not found else (object(),)
        return found

    def _keep(self, prefix: str, rows: dict[str, object]) -> bool:
        """Whether it was kept so before."""
        data = json.dumps(rows).encode()
        name = prefix + self._key
        before = self._ledger.noted(name)
        same = before == data or (before is None and not rows)
        if not same:
            with self._ledger.write() as transaction:
                transaction.set_state(name, data)
        return same


def _false(one: FalseGrant, identity: Identity) -> Finding:
    """``chain``: the first of the device that gave it; none for the recovery identity."""
    roster = identity.roster
    giver = roster.members.get(one.author) or roster.former.get(one.author)
    return Finding(FindingKind.FALSE_GRANT, giver.chains[0] if giver and giver.chains else b"", one.n)


def _row(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind.name,
        "chain": finding.chain.hex(),
        "seq": finding.seq,
        "names": finding.names,
        "by": finding.by.hex() if finding.by else None,
        "device": finding.device,
        "teller": finding.teller,
        "remote": finding.remote,
        "noticed": finding.noticed_ms,
        "ended": finding.ended_ms,
    }


def _parsed(row: dict[str, object]) -> Finding:
    by = row["by"]
    return Finding(
        FindingKind[str(row["kind"])],
        bytes.fromhex(str(row["chain"])),
        int(str(row["seq"])),
        tuple(row["names"]),  # type: ignore[arg-type]
        bytes.fromhex(str(by)) if by else None,
        row["device"],  # type: ignore[arg-type]
        row["teller"],  # type: ignore[arg-type]
        row["remote"],  # type: ignore[arg-type]
        row["noticed"],  # type: ignore[arg-type]
        row["ended"],  # type: ignore[arg-type]
    )
