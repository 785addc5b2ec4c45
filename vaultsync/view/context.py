"""What a view knows besides the entries and the local schema: published declarations, the person's devices, conflicts.

All of it comes from other devices, so all of it is parsed within bounds, and none of it decides what is shown; it only
gives names and reasons to what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vaultsync.limits import MAX_CENSUS_ROW_BYTES
from vaultsync.schema.cells import Raw, Scalar, canonical_json, parse_json, stamps
from vaultsync.schema.published import Catalog, Declaration, DeclaredField, Drift
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.words import clean, named, platforms

if TYPE_CHECKING:
    from vaultsync.view.entry import Candidate

__all__ = ["Catalog", "Context", "Device", "Masked", "Need"]


class Device(NamedTuple):
    """One row of the census: what a device of this person said about itself."""

    id: str
    name: str
    app: str
    version: int  # schema version
    platform: str
    release: str | None = None  # what people call that version
    newest: int | None = None  # the newest schema version that it ever ran, when that is newer than this one

    @classmethod
    def parse(cls, device_id: str, stored: Scalar) -> Device | None:
        """A stored row, or None when it is none. Bounded before it is parsed; never raises."""
        match parse_json(stored, max_bytes=MAX_CENSUS_ROW_BYTES, max_depth=2):
            case {"name": str(name), "version": int(version), "platform": str(platform), **rest}:
                if isinstance(version, bool) or version < 1:
                    return None
                app, release, newest = rest.get("app"), rest.get("release"), rest.get("newest")
                return cls(
                    device_id,
                    clean(name) or "Unnamed device",
                    clean(app) if isinstance(app, str) else "",
                    version,
                    clean(platform),
                    clean(release) if isinstance(release, str) else None,
                    newest if isinstance(newest, int) and newest > version else None,
                )
        return None

    def to_json(self) -> str:
        """The row as it is stored under the device's id."""
        return canonical_json({k: v for k, v in self._asdict().items() if k != "id" and v is not None})


class Need(NamedTuple):
    """What a device must have to show something. The version needed lies in ``low .. high`` (0: nobody here knows)."""

    low: int = 0
    high: int = 0
    until: int | None = None  # the version that retired it again
    platforms: frozenset[str] | None = None  # None: every platform

    def versions(self, schema: Schema) -> tuple[int, int] | None:
        """The versions, if it is the version that this device lacks."""
        return (self.low, self.high) if self.high > schema.version else None

    def elsewhere(self, schema: Schema) -> frozenset[str]:
        """The platforms, if it is the platform that this device lacks."""
        return frozenset() if self.platforms is None or schema.platform in self.platforms else self.platforms


@dataclass(frozen=True, slots=True)
class Masked:
    """Stands for a value that this device must not or cannot show. ``str()`` is a mask; the rest says what it is."""

    name: str
    label: str
    versions: tuple[int, int] | None = None  # the version needed lies between these; None: not a matter of version
    platforms: frozenset[str] = frozenset()  # where it is shown, if it is the platform
    release: str | None = None  # what people call the version that surely shows it
    lens: str | None = None  # the translation that fails on what is stored, "email -> emails"

    def __str__(self) -> str:
        return "••••"

    def __repr__(self) -> str:
        needs = [f"needs {self.release} or later"] if self.versions else []
        needs += [f"available on {platforms(self.platforms)}"] if self.platforms else []
        needs += [f"the translation {self.lens} fails"] if self.lens else []
        return f"<{self.label} •••• {' and '.join(needs) or 'cannot be shown here'}>"


_NO_CATALOG = Catalog({})


def _no_conflicts(entry_id: str) -> Mapping[str, Sequence[Candidate]]:
    return {}


@dataclass(frozen=True, slots=True)
class Context:
    """Everything besides entries and schema. Immutable; derive another one with ``dataclasses.replace``."""

    catalog: Catalog = _NO_CATALOG
    """The published declarations: what newer applications call their types and fields."""
    census: tuple[Device, ...] = ()
    this_device: str | None = None  # its own row is left out of "Laptop can open them"
    conflicts: Callable[[str], Mapping[str, Sequence[Candidate]]] = _no_conflicts
    """Entry id -> stored key -> the values that stand there, the winner first."""
    drift: tuple[Drift, ...] = ()
    last_version: int | None = None  # the newest schema version that this device ever ran
    device_of: Callable[[str], Device | None] | None = None
    """Incarnation (lowercase hex) -> the device whose it is, where roster and census tell."""

    # ---- names ------------------------------------------------------------------------------------------------
    def type_label(self, name: str, schema: Schema) -> str:
        """What a person calls a type: as declared here, as published, or a readable form of its name."""
        found = next(self._declared(name, schema), None)
        return clean(found.label) if found else named(name)

    def field_label(self, name: str, types: Iterable[str], schema: Schema) -> str:
        """The same of a field, looked for in these types in order."""
        found = next(self._fields(name, types, schema), None)
        return clean(found.label) if found else named(name)

    def release(self, version: int, schema: Schema) -> str:
        """What people call a schema version: from the schema, else from a device that runs it, else ``version 12``."""
        if version in schema.releases:
            return schema.release(version)
        names = sorted(d.release for d in self.census if d.version == version and d.release)
        return names[0] if names else schema.release(version)

    # ---- needs ------------------------------------------------------------------------------------------------
    def need_type(self, name: str, stamped: int, schema: Schema) -> Need:
        """What it takes to show entries of a type; ``stamped``: the version that an entry's stamps tell (0: none)."""
        found = next(self._declared(name, schema), None)
        if found is None:
            return Need(stamped, stamped)
        until = found.until if found.until is not None and found.until > found.since else None
        return Need(found.since, found.since, until, found.platforms)

    def need_field(self, name: str, types: Iterable[str], stamped: tuple[int, int], schema: Schema) -> Need:
        """The same of a field. Undeclared, it came with one of the stamps that are newer than this device."""
        found = next(self._fields(name, types, schema), None)
        if found is None:
            return Need(*stamped)
        return Need(found.since, found.since, None, found.platforms)

    def masked(self, name: str, types: Iterable[str], raw: Raw, schema: Schema) -> Masked:
        """The placeholder for a field of an entry that this device does not show."""
        types = sorted(types, key=lambda t: (t != raw.get("$type"), t))
        need = self.need_field(name, types, newer_stamps(raw, schema), schema)
        versions = need.versions(schema)
        release = self.release(versions[1], schema) if versions else None
        label = self.field_label(name, types, schema)
        return Masked(name, label, versions, need.elsewhere(schema), release)

    def able(self, need: Need) -> tuple[str, ...]:
        """Names of the person's other devices that can show it; none when nobody knows what it takes."""
        if not need.high and need.platforms is None:
            return ()
        fit = (
            d.name
            for d in self.census
            if d.id != self.this_device
            and d.version >= need.high
            and (need.until is None or d.version < need.until)
            and (need.platforms is None or d.platform in need.platforms)
        )
        return tuple(sorted(set(fit)))

    def _declared(self, name: str, schema: Schema) -> Iterator[EntryType | Declaration]:
        """Declarations of a type, what this application itself says first."""
        if (own := schema.types.get(name)) is not None:
            yield own
        if (published := self.catalog.declared(name)) is not None:
            yield published

    def _fields(self, name: str, types: Iterable[str], schema: Schema) -> Iterator[Field | DeclaredField]:
        for kind in types:
            if (own := schema.types.get(kind)) is not None and (field := own.field(name)) is not None:
                yield field
            if (published := self.catalog.field(kind, name)) is not None:
                yield published


def newer_stamps(raw: Raw, schema: Schema) -> tuple[int, int]:
    """The lowest and the highest stamp of an entry that are newer than this device; (0, 0) if there is none."""
    newer = [n for versions in stamps(raw).values() for n in versions if n > schema.version]
    return (min(newer), max(newer)) if newer else (0, 0)
