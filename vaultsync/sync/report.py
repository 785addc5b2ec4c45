"""What syncing has to tell a person: plain values whose ``str`` is a sentence. No keys, no contents, nothing secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["Finding", "FindingKind", "SyncReport", "Waiting", "WaitsFor"]


class WaitsFor(Enum):
    """What keeps an envelope from being applied. None is an attack; most end by themselves."""

    ENVELOPE = "an earlier envelope that has not arrived"
    COMPLETION = "a file that is not complete yet"
    CHANGES = "changes of another device that have not arrived"
    GROUP = "the rest of one large batch"
    ROSTER = "news of the device that wrote it"
    UPDATE = "a newer version of this application"
    REFUSED = "an earlier envelope that was refused"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One chain that cannot go on just now, and why.

    ``seq`` is the first envelope that is held up, ``name`` its object if it is listed, ``behind`` how many listed
    envelopes of the chain (itself included) are not applied, ``missing`` the change hashes waited for (``CHANGES``).
    """

    reason: WaitsFor
    chain: bytes
    seq: int
    name: str | None = None
    behind: int = 0
    missing: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        count = f"{self.behind} envelope{'s' if self.behind != 1 else ''}"
        return f"{count} of chain {self.chain.hex()[:8]} from {self.seq} on: waiting for {self.reason.value}"


class FindingKind(Enum):
    """What a person, or an audit, should hear about. Local data is complete whatever was found."""

    EQUIVOCATION = "two different envelopes claim the same place"
    BROKEN_CHAIN = "an envelope does not follow the one before it"
    OTHER_BRANCH = "another device saw a different envelope in a place that is filled here"
    ROLLED_BACK = "the remote no longer holds what it held before"
    WITHHELD = "the remote does not serve an envelope that another device has seen, but later ones"
    NOT_ARRIVED = "an envelope that another device has is not on the remote yet"
    OWN_CHAIN_AHEAD = (
        "the remote holds envelopes of this device that it does not know: a restored backup or a copied file"
    )
    DEVICES_ROLLED_BACK = "the remote no longer holds a part of the list of devices that it held before"
    ACCOUNT_ROLLED_BACK = "the remote no longer holds what password and recovery code open, which it held before"
    FALSE_GRANT = "a device was given a key that is not the one everybody else has"


_ABOUT_THE_REMOTE: Final = frozenset({FindingKind.DEVICES_ROLLED_BACK, FindingKind.ACCOUNT_ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something noticed about a remote or a device, never a loss: local data is complete whatever was found.

    ``chain`` and ``seq``: the first place concerned (empty and 0 where it is none); ``names``: objects known. ``by``:
    the chain whose frontier tells. What follows is for people, and not compared: ``device`` writes the chain,
    ``teller`` is the device behind ``by``; ``remote`` is the address, ``noticed_ms`` and ``ended_ms`` are times of this
    device, the latter ``None`` while the cause has not gone away.
    """

    kind: FindingKind
    chain: bytes
    seq: int
    names: tuple[str, ...] = ()
    by: bytes | None = field(default=None, compare=False)
    device: str | None = field(default=None, compare=False)
    teller: str | None = field(default=None, compare=False)
    remote: str | None = field(default=None, compare=False)
    noticed_ms: int | None = field(default=None, compare=False)
    ended_ms: int | None = field(default=None, compare=False)

    @property
    def place(self) -> tuple[FindingKind, bytes, int]:
        """What makes two findings one."""
        return self.kind, self.chain, self.seq

    def __str__(self) -> str:
        if self.kind in _ABOUT_THE_REMOTE:
            return f"{self.kind.value[0].upper()}{self.kind.value[1:]}; it is put back from here."
        whose = f"{self.device}'s" if self.device else f"the unknown device {self.chain.hex()[:8]}'s"
        whose = whose if self.chain else "the vault's owner's"
        told = self.teller or "another device"
        return _SENTENCES[self.kind].format(
            Whose=whose[0].upper() + whose[1:], whose=whose, seq=self.seq, told=told, more=_more(len(self.names))
        )


_SENTENCES: Final = {
    FindingKind.EQUIVOCATION: "{Whose} edit {seq} is there twice, and different: its vault was copied or restored "
    "from a backup, and both copies went on. Both are kept.",
    FindingKind.BROKEN_CHAIN: "{Whose} edit {seq} follows one that was never seen here.",
    FindingKind.OTHER_BRANCH: "{Whose} edit {seq} is not the one that {told} saw under that number.",
    FindingKind.ROLLED_BACK: "{Whose} edit {seq}{more} went missing from the remote, which held it before; what is "
    "here is put back.",
    FindingKind.WITHHELD: "{Whose} edit {seq} was seen by {told}, and the remote does not give it out.",
    FindingKind.NOT_ARRIVED: "{Whose} edit {seq} is known to {told}, and has not arrived on the remote yet.",
    FindingKind.OWN_CHAIN_AHEAD: "{Whose} edit {seq} was sent before and is not known here any more: this "
    "vault was copied or restored from a backup. It goes on as a new copy.",
    FindingKind.FALSE_GRANT: "{Whose} entry {seq} in the list of devices gave this device a false key: do not trust "
    "it. Another device hands over the right one when it syncs.",
}


def _more(count: int) -> str:
    return f" (and {count - 1:,} more)" if count > 1 else ""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one sync did. Reports add up with ``+``.

    ``sent`` and ``received`` count envelopes, ``entries`` the entries touched; bytes are sealed bytes, ``seconds`` wall
    time. ``waiting`` and ``findings`` are as of the end, ``quarantined`` are names of objects set aside for good.
    """

    sent: int = 0
    received: int = 0
    entries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    seconds: float = 0.0
    waiting: tuple[Waiting, ...] = field(default=())
    quarantined: tuple[str, ...] = field(default=())
    findings: tuple[Finding, ...] = field(default=())
    checkpoints: int = 0
    """Checkpoints that were merged in instead of the envelopes that they hold."""
    collected: int = 0
    """Objects deleted from the remote because two verified checkpoints hold them, or nobody needs them any more."""

    @property
    def complete(self) -> bool:
        """Whether everything that the remote offers is applied here, and nothing was found."""
        return not (self.waiting or self.quarantined or self.findings)

    def __add__(self, later: SyncReport) -> SyncReport:
        known = set(self.findings)
        return SyncReport(
            self.sent + later.sent,
            self.received + later.received,
            self.entries + later.entries,
            self.bytes_sent + later.bytes_sent,
            self.bytes_received + later.bytes_received,
            self.seconds + later.seconds,
            later.waiting,
            tuple(dict.fromkeys(self.quarantined + later.quarantined)),
            self.findings + tuple(finding for finding in later.findings if finding not in known),
            self.checkpoints + later.checkpoints,
            self.collected + later.collected,
        )

    def __str__(self) -> str:
        if self.sent or self.received or self.checkpoints:
            parts = [
                f"sent {_envelopes(self.sent, self.bytes_sent)}, "
                f"received {_envelopes(self.received, self.bytes_received)}, "
                f"{_counted(self.entries, 'entry', 'entries')} touched, {self.seconds:.1f} s"
            ]
        else:
            parts = [f"nothing new, {self.seconds:.1f} s"]
        if self.checkpoints:
            parts.append(f"caught up from {_counted(self.checkpoints, 'checkpoint')}")
        if self.collected:
            parts.append(f"tidied up: {_counted(self.collected, 'object')} that nobody needs any more")
        parts += [f"waiting: {waiting}" for waiting in self.waiting]
        if self.quarantined:
            parts.append(f"set aside: {_counted(len(self.quarantined), 'object')}")
        parts += [f"found: {finding}" for finding in self.findings]
        return "\n".join(parts)


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _envelopes(count: int, size: int) -> str:
    return f"{_counted(count, 'envelope')} ({_size(size)})" if count else "nothing"


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count:,} B"
    return f"{count / 1000:,.0f} kB" if count < 10_000_000 else f"{count / 1_000_000:,.0f} MB"
