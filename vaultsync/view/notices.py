"""What a person should be told about a vault on this device: structured, counted as entries change, and readable.

Theory. Each entry contributes *facts*: small keys that say what is not shown and why, free of labels, devices and
language. A view adds and subtracts facts as entries come and go (so an update costs what changed, not what there is),
and turns the sums into :class:`Notice` only when somebody looks, with the names that the context knows by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from vaultsync.schema.cells import stamps
from vaultsync.schema.types import Schema
from vaultsync.view.context import Context, Device, Need, newer_stamps
from vaultsync.view.decide import Reason, Status
from vaultsync.view.entry import Entry
from vaultsync.view.words import clean, count, listing, platforms, plural

__all__ = ["Fact", "Notice", "NoticeKind", "Part", "facts", "notices"]

_MOST_PARTS = 8  # a sentence names this many groups, the largest first


class NoticeKind(Enum):
    """What a notice is about."""

    HIDDEN = "hidden"  # entries that cannot be shown here
    FLAGGED = "flagged"  # entries that are shown in part
    ARCHIVED = "archived"  # entries of types that are retired here
    DRIFT = "drift"  # a declaration was changed after it was published (for developers)
    DOWNGRADE = "downgrade"  # this device last ran a newer version


class Fact(NamedTuple):
    """What one entry adds to the notices. With ``reason`` "" it counts the entry itself, once for its kind."""

    kind: str
    reason: str = ""  # "version", "platform", "critical", "unreadable", "lens"
    type: str = ""  # as shown, or as stored if it is not shown
    origin: str = ""  # the primary type as stored
    field: str = ""
    low: int = 0  # the stamps that are newer than this device, lowest and highest; 0: none
    high: int = 0
    lens: str = ""  # the one that fails on it
    writer: str = ""  # the incarnation that last edited the entry


@dataclass(frozen=True, slots=True)
class Part:
    """One group of a notice: so many entries of one type (and field) that need the same."""

    count: int
    type: str
    type_label: str
    reason: str
    versions: tuple[int, int] | None = None  # the version needed lies between these; None: not a matter of version
    platforms: frozenset[str] = frozenset()
    devices: tuple[str, ...] = ()  # names of the person's devices that show it
    field: str | None = None
    field_label: str | None = None
    text: str = ""
    lens: str | None = None  # the translation that fails on them, "email -> emails"
    writers: tuple[str, ...] = ()  # names of the person's devices that last edited them, where that is known of all


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell a person. ``str()`` is the sentence; the attributes are for programs."""

    kind: NoticeKind
    count: int
    parts: tuple[Part, ...] = ()
    text: str = ""

    @property
    def type_label(self) -> str | None:
        """The type it is about, when it is about one."""
        labels = {part.type_label for part in self.parts}
        return labels.pop() if len(labels) == 1 else None

    @property
    def versions(self) -> tuple[int, int] | None:
        """The lowest version that shows some of it, and the lowest that shows all, where versions matter."""
        found = [part.versions for part in self.parts if part.versions]
        return (min(low for low, _ in found), max(high for _, high in found)) if found else None

    @property
    def platforms(self) -> frozenset[str]:
        """Every platform that shows some of it, where platforms matter."""
        return frozenset().union(*(part.platforms for part in self.parts))

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the person's devices that show some of it."""
        return tuple(sorted({name for part in self.parts for name in part.devices}))

    def __str__(self) -> str:
        return self.text


def facts(entry: Entry, schema: Schema) -> list[Fact]:
    """What an entry adds to the notices of a view; nothing when it is complete or in the trash."""
    judgement = entry._judgement
    decision, origin = judgement.decision, judgement.primary
    if decision.status in (Status.COMPLETE, Status.TRASHED):
        return []
    if decision.status is Status.ARCHIVED:
        return [Fact("archived"), Fact("archived", "retired", entry.type, origin)]
    low, high = newer_stamps(entry._raw, schema)
    writer = entry.modified_by or ""
    if decision.status is Status.FLAGGED:
        found = [Fact("flagged")]
        for name in decision.missing:
            fact = Fact("flagged", "missing", entry.type, origin, name, low, high, writer=writer)
            if name in judgement.broken:
                lens = judgement.shape.made_by(name).lens.ends
                fact = fact._replace(reason="lens", low=0, high=0, lens=lens)
            elif name in judgement.shape.known:
                fact = fact._replace(reason="unreadable", low=0, high=0)
            found.append(fact)
        return found
    found = [Fact("hidden")]
    if decision.reason == Reason.CRITICAL:
        withholding = sorted(n for n in judgement.unknown if entry._raw.get(f"$critical/{n}") == "read")
        return found + [
            Fact("hidden", "critical", entry.type, origin, n, low, high, writer=writer) for n in withholding
        ]
    if decision.reason == Reason.PLATFORM:
        shown = next((t for t in sorted(judgement.readable, key=lambda t: t != origin) if schema.known(t)), origin)
        return [*found, Fact("hidden", "platform", shown, origin, writer=writer)]
    stamped = stamps(entry._raw)
    first = min((versions[0] for name in judgement.readable if (versions := stamped.get(name))), default=0)
    return [*found, Fact("hidden", "version", origin, origin, "", first, first, writer=writer)]


class _Group(NamedTuple):
    """Facts that come to the same for a person."""

    reason: str
    type: str
    label: str
    need: Need
    field: str = ""
    field_label: str = ""
    lens: str = ""


def notices(sums: Iterable[tuple[Fact, int]], schema: Schema, context: Context) -> tuple[Notice, ...]:
    """The notices for these sums, the most urgent first."""
    totals: dict[str, int] = {}
    groups: dict[str, dict[_Group, int]] = {}
    writers: dict[tuple[str, _Group], set[str]] = {}
    for fact, number in sums:
        if not fact.reason:
            totals[fact.kind] = number
            continue
        group, found = _group(fact, schema, context), groups.setdefault(fact.kind, {})
        found[group] = found.get(group, 0) + number
        writers.setdefault((fact.kind, group), set()).add(fact.writer)
    made = [_downgrade(schema, context)]
    for kind, say in _SAID.items():
        if (total := totals.get(kind.value)) is None:
            continue
        clauses = [
            _clause(group, number, writers[kind.value, group], schema, context)
            for group, number in groups.get(kind.value, {}).items()
        ]
        clauses.sort(key=lambda each: (-each.part.count, each.part.text))
        parts = tuple(each.part for each in clauses)
        made.append(Notice(kind, total, parts, say(total, _texts(clauses, schema, context))))
    return (*(notice for notice in made if notice), *_drift(schema, context))


def _group(fact: Fact, schema: Schema, context: Context) -> _Group:
    types = (fact.origin, fact.type)
    label = context.type_label(fact.type, schema)
    if not fact.field:
        return _Group(fact.reason, fact.type, label, context.need_type(fact.type, fact.low, schema))
    need = Need()
    if fact.reason not in ("unreadable", "lens"):
        need = context.need_field(fact.field, types, (fact.low, fact.high), schema)
    name = context.field_label(fact.field, types, schema)
    return _Group(fact.reason, fact.type, label, need, fact.field, name, fact.lens)


class _Clause(NamedTuple):
    """A part with what its words are made of: clauses of the same ``ending`` and authors are said together."""

    part: Part
    group: _Group
    authors: tuple[Device, ...]
    subject: str = ""  # Emails of 3 Logins
    ending: str = ""  # need 12.0 or later (Laptop can show them); "": it is said alone


def _clause(group: _Group, number: int, writers: set[str], schema: Schema, context: Context) -> _Clause:
    need, some, many = group.need, count(number, group.label), number != 1
    able, them = context.able(need), "them" if many else "it"
    subject = ending = ""
    if group.reason == "retired":
        words, able = some + (f" (retired in {context.release(need.until, schema)})" if need.until else ""), ()
    elif group.reason == "unreadable":
        words, able = f"{group.field_label} of {some} can't be read", ()
    elif group.reason == "lens":
        words = f"{group.field_label} of {some} can't be read: the translation {group.lens} fails on {them}"
        words, able = f"{words}, and what it is made from is shown instead", ()
    elif group.reason == "critical":
        words = f"{some} {'hold' if many else 'holds'} {group.field_label}, which {_needs(need, schema, context)}"
        words += _able(able, f"open {them}")
    elif group.field:
        subject = f"{group.field_label} of {some}"
        words = f"{subject} {_needs(need, schema, context)}{_able(able, 'show it')}"
        ending = f"{_needs(need, schema, context, many=True)}{_able(able, 'show them')}"
    else:
        words = f"{some} {_needs(need, schema, context, many=many)}{_able(able, f'open {them}')}"
    authors = _authors(writers, context) if group.reason != "retired" else ()
    reason = group.reason
    if reason == "missing":
        reason = Reason.PLATFORM if need.elsewhere(schema) and not need.versions(schema) else Reason.VERSION
    part = Part(
        number,
        group.type,
        group.label,
        reason,
        need.versions(schema),
        need.elsewhere(schema),
        able,
        group.field or None,
        group.field_label or None,
        words + _edited(authors, [group], schema, context),
        group.lens or None,
        tuple(each.name for each in authors),
    )
    return _Clause(part, group, authors, subject, ending)


def _able(devices: tuple[str, ...], what: str) -> str:
    return f" ({listing(devices)} can {what})" if devices else ""


def _edited(authors: tuple[Device, ...], groups: Sequence[_Group], schema: Schema, context: Context) -> str:
    found = [_author(each, groups, schema, context) for each in authors]
    return f", last edited on {listing(found)}" if found else ""


def _authors(writers: set[str], context: Context) -> tuple[Device, ...]:
    """The devices that last edited these entries; none when that is not known of all, or they are many."""
    found = [context.device_of(writer) if writer and context.device_of else None for writer in writers]
    devices = {each for each in found if each is not None}
    return (
        tuple(sorted(devices, key=lambda each: (each.name, each.id))) if None not in found and len(devices) < 4 else ()
    )


def _author(device: Device, groups: Sequence[_Group], schema: Schema, context: Context) -> str:
    """``Phone with 9.2, which does not know Emails`` (or the type). Nobody knows what a device ran when it edited that
    was put back to an older version since."""
    if device.newest is not None:
        return device.name
    unknown = []
    for group in groups:
        kind = schema.types.get(group.type)
        known = kind.field(group.field) if kind is not None and group.field else kind
        if device.version < (known.since if known is not None else group.need.low):
            unknown.append(group.field_label or plural(group.label))
    text = f"{device.name} with {device.release or context.release(device.version, schema)}"
    return f"{text}, which does not know {listing(unknown)}" if unknown else text


def _needs(need: Need, schema: Schema, context: Context, *, many: bool = False) -> str:
    """``needs 12.0 or later``, ``is available on macOS and Windows``, or both."""
    verb, be = ("need", "are") if many else ("needs", "is")
    elsewhere, versions = need.elsewhere(schema), need.versions(schema)
    where = f"{be} available on {platforms(elsewhere)}" if elsewhere else ""
    if versions is None:
        return where or f"{verb} a newer version"
    low, high = (context.release(version, schema) for version in versions)
    if need.until:
        text = f"{verb} {low} or later, before {context.release(need.until, schema)}"
    else:
        text = f"{verb} {low} or later" if low == high else f"{verb} a version between {low} and {high}, or later"
    return f"{text} and {where}" if where else text


def _texts(clauses: list[_Clause], schema: Schema, context: Context) -> list[str]:
    """What is to be said, the largest part first; parts of which the same is true are one."""
    said: dict[object, list[_Clause]] = {}
    for number, each in enumerate(clauses):
        said.setdefault((each.ending, each.authors) if each.ending else number, []).append(each)
    return [
        same[0].part.text
        if len(same) == 1
        else f"{listing([each.subject for each in same])} {same[0].ending}"
        + _edited(same[0].authors, [each.group for each in same], schema, context)
        for same in said.values()
    ]


def _sentence(head: str, texts: list[str]) -> str:
    texts, more = texts[:_MOST_PARTS], len(texts) - _MOST_PARTS
    if more > 0:
        texts.append(f"and {count(more, 'other group')}")
    return f"{head}: {'; '.join(texts)}."


def _hidden(total: int, texts: list[str]) -> str:
    return _sentence(f"{count(total, 'entry')} can't be shown here", texts)


def _flagged(total: int, texts: list[str]) -> str:
    return _sentence(f"Some data of {count(total, 'entry')} can't be shown here", texts)


def _archived(total: int, texts: list[str]) -> str:
    head = f"{count(total, 'entry')} {'is' if total == 1 else 'are'} of a type that is no longer supported"
    they = "It can" if total == 1 else "They can"
    return f"{_sentence(head, texts)} {they} be read and exported, but not edited."


_SAID: Final = {NoticeKind.HIDDEN: _hidden, NoticeKind.FLAGGED: _flagged, NoticeKind.ARCHIVED: _archived}


def _downgrade(schema: Schema, context: Context) -> Notice | None:
    if context.last_version is None or context.last_version <= schema.version:
        return None
    newer, here = context.release(context.last_version, schema), context.release(schema.version, schema)
    text = (
        f"This device last used {newer} and now runs {here}. "
        "Nothing is lost: what needs the newer version is kept and synced, but not shown."
    )
    return Notice(NoticeKind.DOWNGRADE, 1, (), text)


def _drift(schema: Schema, context: Context) -> list[Notice]:
    """One notice a declaration that was changed after it was published."""
    made = []
    for drift in context.drift:
        label, release = context.type_label(drift.type, schema), context.release(drift.version, schema)
        details = "; ".join(map(clean, drift.details))
        text = f"{label} is declared differently than it was published for {release}: {details}."
        part = Part(1, drift.type, label, "drift", (drift.version, drift.version), text=str(drift))
        made.append(Notice(NoticeKind.DRIFT, 1, (part,), text))
    return made
