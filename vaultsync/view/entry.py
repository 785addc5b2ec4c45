"""One entry as a person sees it on this device: values, what is missing and why, what may be written.

An :class:`Entry` is immutable and cheap: it keeps what is stored and decodes a value when it is asked for. No ``repr``
or ``str`` here shows a secret, or anything of what is unknown or hidden on this device.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from vaultsync.errors import UnknownField
from vaultsync.schema.cells import Raw, Scalar, edited, owner, split_key, stamps
from vaultsync.schema.kind import Element
from vaultsync.schema.types import Field, Schema
from vaultsync.view.context import Context, Masked
from vaultsync.view.decide import Decision, Judgement, Status, judge
from vaultsync.view.forms import Forms
from vaultsync.view.keeping import listed
from vaultsync.view.losers import MASK, Candidate
from vaultsync.view.words import near

__all__ = ["MASK", "NO_FIELDS", "Candidate", "Conflict", "Entry", "Fields", "Status", "evaluate", "evaluate_all"]


class Conflict(NamedTuple):
    """A value that lost against a concurrent one and is kept: pass it to ``resolve`` to choose it after all."""

    value: Any
    device: str | None
    version: int | None
    time: int | None
    key: str  # the stored key, e.g. ``emails/7``
    element: str | None = None  # the id of the item or line it belongs to
    secret: bool = False
    stored: Scalar = None  # as it stands under the key

    def __repr__(self) -> str:
        value = MASK if self.secret else repr(self.value)
        return f"<Conflict {value} device={self.device!r} version={self.version} time={self.time}>"


class Fields(dict[str, Any]):
    """Field values by name, in the order of the declaration; never changed. Values are plain; only the repr masks
    secrets."""

    __slots__ = ("_secret",)
    _secret: frozenset[str]

    @classmethod
    def of(cls, values: Mapping[str, Any] | Iterable[tuple[str, Any]], secret: frozenset[str]) -> Fields:
        """``secret``: the names whose values are masked."""
        made = cls(values)
        made._secret = secret
        return made

    @property
    def secret(self) -> frozenset[str]:
        """The names whose values are masked."""
        return getattr(self, "_secret", frozenset())

    def __repr__(self) -> str:
        secret = self.secret
        shown = (f"{k!r}: {MASK if k in secret else repr(v)}" for k, v in self.items())
        return "{" + ", ".join(shown) + "}"

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("what an entry shows is changed by vault.update, not here")

    __setitem__ = __delitem__ = __ior__ = update = pop = popitem = clear = setdefault = _refuse


NO_FIELDS = Fields({})


class Entry:
    """One entry under the local schema; see the properties.

    ``entry["title"]`` is the plain value, None (an empty collection for ``tags`` and ``items``) when the field is not
    set, and ``UnknownField`` (a ``KeyError``) when this device does not show such a field.
    """

    __slots__ = ("_context", "_folded", "_id", "_judgement", "_raw", "_retired", "_schema", "_shown")

    def __init__(
        self, entry_id: str, raw: Raw, schema: Schema, context: Context, judgement: Judgement | None = None
    ) -> None:
        """``raw`` is kept, not copied: nobody may change it from here on. ``judgement``: of it, where it was judged
        already."""
        self._id = entry_id
        self._raw = raw
        self._schema = schema
        self._context = context
        self._judgement: Judgement = judge(raw, schema) if judgement is None else judgement
        self._shown: Fields | None = None
        self._retired: Fields | None = None
        self._folded: str | None = None

    # ---- what it is -------------------------------------------------------------------------------------------
    @property
    def id(self) -> str:
        """The entry's id: a ULID, never used twice."""
        return self._id

    @property
    def decision(self) -> Decision:
        """The verdict that everything here follows from."""
        return self._judgement.decision

    @property
    def status(self) -> Status:
        """Exactly one of complete, flagged, hidden, archived, trashed."""
        return self._judgement.decision.status

    @property
    def type(self) -> str:
        """The type it is shown as; of one that cannot be shown here, the one it is stored as ("" if damaged)."""
        return self._judgement.decision.face or self._judgement.primary

    @property
    def label(self) -> str:
        """What a person calls the type."""
        return self._context.type_label(self.type, self._schema)

    @property
    def version(self) -> int:
        """The newest schema version that introduced something this entry ever held; 0 if it carries no stamp."""
        return max((versions[-1] for versions in stamps(self._raw).values()), default=0)

    @property
    def reason(self) -> str | None:
        """Why it is hidden: "version", "platform" or "critical"; None unless it is."""
        return self._judgement.decision.reason

    @property
    def counted(self) -> bool:
        """Whether it counts for the quota; the same on every platform of one version."""
        return self._judgement.decision.counted

    @property
    def created(self) -> int:
        """When it was made, in ms since the epoch by the writer's clock; 0 if that is damaged."""
        value = self._raw.get("$created")
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    @property
    def modified(self) -> int:
        """When a person last edited it, in ms since the epoch by that device's clock; ``created`` if nobody did."""
        return max(edited(self._raw).values(), default=self.created)

    @property
    def modified_by(self) -> str | None:
        """The incarnation that last edited it (lowercase hex)."""
        return max(edited(self._raw).items(), key=lambda item: (item[1], item[0]), default=(None, 0))[0]

    @property
    def source(self) -> str | None:
        """Where an imported entry came from."""
        value = self._raw.get("$source")
        return value if isinstance(value, str) else None

    # ---- values -----------------------------------------------------------------------------------------------
    @property
    def fields(self) -> Fields:
        """The fields that are set and shown, by name."""
        return self._decoded()[0]

    @property
    def retired(self) -> Fields:
        """Values that are shown and no longer written: retired fields, leftovers of a type before a conversion."""
        return self._decoded()[1]

    @property
    def title(self) -> str | None:
        """The text a person would recognise it by: its ``title`` or ``name``, else its first text; never a secret."""
        if not self._judgement.visible:
            return None
        shape = self._judgement.shape
        if self._shown is None:  # lists show titles of thousands of entries and nothing else of them
            texts = (self._raw.get(name) for name in shape.direct)
            title = next((text for text in texts if text and isinstance(text, str)), None)
            if title is not None or len(shape.direct) == len(shape.titles):
                return title
        return next((text for name in shape.titles if (text := self.fields.get(name))), None)

    def __getitem__(self, name: str) -> Any:
        if name in self.fields:
            return self.fields[name]
        if name in self.retired:
            return self.retired[name]
        if self._judgement.visible and name in self._judgement.shape.known:
            field = self._judgement.shape.known[name]
            return (frozenset() if field.kind.name == "tags" else ()) if field.kind.is_collection else None
        if not self._judgement.visible:
            raise UnknownField(f"{self._called}: nothing of it can be shown here ({self.reason or 'in the trash'})")
        raise UnknownField(f"{self._called}: no field {name!r} is shown here.{near(name, self._judgement.shape.known)}")

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, ``default`` if it is not set or not shown here."""
        return self.fields[name] if name in self.fields else self.retired.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.fields or name in self.retired

    def elements(self, name: str) -> tuple[Element, ...]:
        """The tags, items or note lines of a field with their ids, in order; () for a field without elements."""
        self[name]  # the same refusals as reading it
        field = self._judgement.shape.known[name]
        cells = self._cells() if self._judgement.shape.steps else cells_by_field(self._raw, {name: field}).get(name, {})
        return field.kind.elements(name, cells)

    # ---- what is not here, and what may be done ---------------------------------------------------------------
    @property
    def unknown(self) -> Mapping[str, Masked]:
        """What is stored and not known to this version and platform, by name; the values stay masked."""
        context, schema = self._context, self._schema
        names = sorted(self._judgement.unknown)
        return {name: context.masked(name, self._judgement.readable, self._raw, schema) for name in names}

    @property
    def missing(self) -> Mapping[str, Masked]:
        """What a person should know is not shown: the unknown that nothing shown covers, and broken translations."""
        context, schema, judgement = self._context, self._schema, self._judgement
        found: dict[str, Masked] = {}
        for name in judgement.decision.missing:
            found[name] = context.masked(name, judgement.readable, self._raw, schema)
            if name in judgement.broken:
                found[name] = replace(found[name], lens=judgement.shape.made_by(name).lens.ends)
        return found

    @property
    def writable(self) -> frozenset[str]:
        """The fields that ``update`` accepts here."""
        if not self.decision.editable:
            return frozenset()
        return frozenset(f.name for f in self._judgement.shape.active) - self._judgement.broken

    @property
    def conflicts(self) -> Mapping[str, tuple[Conflict, ...]]:
        """Values that lost against concurrent ones, by field; only of fields that are shown. Asked for when needed."""
        if not self._judgement.visible:
            return {}
        shape, context = self._judgement.shape, self._context
        found: dict[str, dict[tuple[str, Any, str | None], Conflict]] = {}
        for key, one, lost in listed(shape, self._raw, context.conflicts(self.id)):
            device, version = one.device, one.version
            if device is None and one.writer and context.device_of and (author := context.device_of(one.writer)):
                device, version = author.name, author.version
            secret = shape.known[lost.field].kind.is_secret
            conflict = Conflict(lost.value, device, version, one.time, key, lost.element, secret, one.value)
            found.setdefault(lost.field, {}).setdefault((one.writer or f"{device}", lost.value, lost.element), conflict)
        return {name: tuple(losers.values()) for name, losers in found.items()}

    @property
    def raw(self) -> Raw:
        """The entry as it is stored, keys and values. Holds secrets, and what is unknown here; not to be changed."""
        return self._raw

    def is_secret(self, name: str) -> bool:
        """Whether a field's values must be masked: secrets, and whatever is not known here."""
        field = self._judgement.shape.known.get(name)
        return field is None or field.kind.is_secret

    # ---- inside -----------------------------------------------------------------------------------------------
    @property
    def _called(self) -> str:
        """How messages call it: never by a value that could be a secret."""
        return f"{self.label} {self.id}"

    def _kind(self, name: str) -> Any:
        return self._judgement.shape.known[name].kind

    def _decoded(self) -> tuple[Fields, Fields]:
        """What is shown, writable and read-only, decoded when first asked for."""
        if self._shown is None or self._retired is None:
            shape, visible = self._judgement.shape, self._judgement.visible
            if shape.steps and visible:
                cells = grouped(self._cells())
            else:
                cells = cells_by_field(self._raw, shape.known) if visible else {}
            self._shown = _read(shape.active, cells, shape.secret)
            self._retired = _read(shape.past, cells, shape.secret)
        return self._shown, self._retired

    def _cells(self) -> Raw:
        """The cells that are shown: those that are stored, with lenses what they make of them."""
        shape = self._judgement.shape
        return shape.climb(self._raw).top if shape.steps else self._raw

    def _searchable(self) -> str:
        """Folded text of everything that may be searched, made once."""
        if self._folded is None:
            words: list[str] = []
            for shown in (self.fields, self.retired):
                for name, value in shown.items():
                    if not self._kind(name).is_secret:
                        words += _texts(value)
            self._folded = fold("\n".join(words))
        return self._folded

    def _in(self, context: Context) -> Entry:
        """The same entry with newer names for what it does not know. Nothing is decided or decoded again."""
        made = Entry.__new__(Entry)
        for slot in Entry.__slots__:
            setattr(made, slot, getattr(self, slot))
        made._context = context
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return self.id == other.id and self._raw == other._raw and self._judgement == other._judgement

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        title = f" {self.title!r}" if self.title else ""
        return f"<Entry {self.type or '?'}{title} {self.status.value}>"

    def __str__(self) -> str:
        """A few lines for a person; secrets, unknown and hidden values are masked."""
        head = f"{self.title or 'Untitled'} ({self.label}, {self.status.value})"
        lines = [f"  {name}: {_line(v, self._kind(name).is_secret)}" for name, v in self.fields.items()]
        lines += [f"  {name} (retired): {_line(v, self._kind(name).is_secret)}" for name, v in self.retired.items()]
        return "\n".join([head, *lines, *(f"  {masked!r}" for masked in self.missing.values())])


def evaluate(entry_id: str, raw: Raw, schema: Schema, context: Context) -> Entry:
    """What the local schema makes of one stored entry. Total: never raises, whatever is stored."""
    return Entry(entry_id, raw, schema, context)


def evaluate_all(items: Iterable[tuple[str, Raw]], schema: Schema, context: Context) -> Iterator[Entry]:
    """The same of many, at less cost for each."""
    judged = Forms(schema).judge
    return (Entry(entry_id, raw, schema, context, judged(raw)) for entry_id, raw in items)


def cells_by_field(raw: Raw, known: Mapping[str, Field]) -> dict[str, dict[str, Scalar]]:
    """The cells that fit their kind, grouped by field; stored nulls and what does not fit are left out."""
    found: dict[str, dict[str, Scalar]] = {}
    for key, value in raw.items():
        if value is None or key.startswith("$") or (split := split_key(key)) is None:
            continue
        if (field := known.get(split.name)) is not None and field.kind.fits(split, value):
            found.setdefault(split.name, {})[key] = value
    return found


def grouped(cells: Raw) -> dict[str, dict[str, Scalar]]:
    """Cells that are known to fit, by field."""
    found: dict[str, dict[str, Scalar]] = {}
    for key, value in cells.items():
        found.setdefault(owner(key), {})[key] = value
    return found


def _read(fields: tuple[Field, ...], cells: Mapping[str, Raw], secret: frozenset[str]) -> Fields:
    values = {
        f.name: value for f in fields if f.name in cells and (value := f.kind.read(f.name, cells[f.name])) is not None
    }
    return Fields.of(values, secret) if values else NO_FIELDS


def fold(text: str) -> str:
    """Text as it is compared in a search: NFC, without case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            yield from _texts(item)
    elif isinstance(name := getattr(value, "name", None), str):  # an attached file
        yield name


def _line(value: Any, secret: bool) -> str:
    if secret:
        return MASK
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    text = str(value).replace("\n", " ")
    return text if len(text) <= 80 else text[:79] + "…"
