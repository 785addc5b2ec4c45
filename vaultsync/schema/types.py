"""What an application declares: fields, entry types and the schema, which is their whole timeline seen from one place.

A ``Schema`` holds every type and field there ever was, with the versions at which each came and was retired, plus where
it stands: a version and a platform. ``schema.at(version, platform)`` looks at the same timeline from another place.

Declaring checks everything that can be told from the declaration alone; ``SchemaError`` names type, field and rule.
What was published by earlier versions is compared in ``published``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from vaultsync.errors import SchemaError
from vaultsync.limits import MAX_LABEL_CHARS, MAX_VERSION
from vaultsync.schema.cells import canonical_json, is_name, storable
from vaultsync.schema.kind import Kind
from vaultsync.schema.lenses import Convert, Lens

__all__ = ["PLATFORMS", "EntryType", "Field", "Schema", "this_platform"]

PLATFORMS: Final = frozenset({"windows", "macos", "linux", "android", "ios", "web"})


def this_platform() -> str:
    """The platform this process runs on."""
    if hasattr(sys, "getandroidapilevel"):
        return "android"
    names = {
        "win32": "windows",
        "cygwin": "windows",
        "darwin": "macos",
        "ios": "ios",
        "emscripten": "web",
        "wasi": "web",
    }
    return names.get(sys.platform, "linux")


def is_version(value: object) -> bool:
    """Whether this is a schema version: a small integer from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_VERSION


def _timeline(place: str, since: object, until: object) -> None:
    if not is_version(since):
        raise SchemaError(f"{place}: since is a version from 1 to {MAX_VERSION}")
    if until is not None and not (is_version(until) and until > since):  # type: ignore[operator]
        raise SchemaError(f"{place}: until is a version after since ({since}), or None")


def _platforms(place: str, given: Iterable[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    names = frozenset([given] if isinstance(given, str) else given)
    if not names or not names <= PLATFORMS:
        raise SchemaError(f"{place}: platforms are some of {', '.join(sorted(PLATFORMS))}")
    return names


def _label(place: str, label: object, name: str) -> str:
    if label is None:
        return name.replace("_", " ").capitalize()
    if not isinstance(label, str) or not label.strip() or not storable(label) or len(label) > MAX_LABEL_CHARS:
        raise SchemaError(f"{place}: a label is text of 1 to {MAX_LABEL_CHARS} characters")
    return label


@dataclass(frozen=True, init=False)
class Field:
    """One field of an entry type.

    ``since``/``until``: the version that introduced it and the one that retired it (read-only from then on).
    ``platforms``: where it exists (None: everywhere). ``critical``: "write" if a device that does not know the field
    must not edit the entry, "read" if it must not even show it. ``label``: for people; made from the name if left out.
    """

    name: str
    kind: Kind
    label: str
    since: int
    until: int | None
    platforms: frozenset[str] | None
    critical: str | None

    def __init__(
        self,
        name: str,
        kind: Kind,
        *,
        label: str | None = None,
        since: int = 1,
        until: int | None = None,
        platforms: Iterable[str] | None = None,
        critical: str | None = None,
    ) -> None:
        place = f"field {name!r}"
        if not is_name(name):
            raise SchemaError(f"{place}: a name is a small letter, then small letters, digits and _, at most 64")
        if not isinstance(kind, Kind):
            raise SchemaError(
                f"{place}: its kind is one of text, secret, note, number, flag, instant, tags, items, file"
            )
        _timeline(place, since, until)
        if critical not in (None, "read", "write"):
            raise SchemaError(f'{place}: critical is "read", "write" or None')
        _set(
            self,
            name=name,
            kind=kind,
            label=_label(place, label, name),
            since=since,
            until=until,
            platforms=_platforms(place, platforms),
            critical=critical,
        )


def _set(thing: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(thing, name, value)


@dataclass(frozen=True, init=False)
class EntryType:
    """One type of entries: its fields and lenses over all versions, and what becomes of entries when it is retired."""

    name: str
    label: str
    fields: tuple[Field, ...]
    since: int
    until: int | None
    platforms: frozenset[str] | None
    lenses: tuple[Lens, ...]
    converts: Convert | None

    def __init__(
        self,
        name: str,
        *,
        label: str | None = None,
        fields: Iterable[Field],
        since: int = 1,
        until: int | None = None,
        platforms: Iterable[str] | None = None,
        lenses: Iterable[Lens] = (),
        converts: Convert | None = None,
    ) -> None:
        place = f"type {name!r}"
        if not is_name(name):
            raise SchemaError(f"{place}: a name is a small letter, then small letters, digits and _, at most 64")
        _timeline(place, since, until)
        _set(
            self,
            name=name,
            label=_label(place, label, name),
            fields=tuple(fields),
            since=since,
            until=until,
            platforms=_platforms(place, platforms),
            lenses=tuple(lenses),
            converts=converts,
        )
        self._check_members(place)
        for field in self.fields:
            self._check_field(f"{place}, field {field.name!r}", field)

    def _check_members(self, place: str) -> None:
        if not all(isinstance(field, Field) for field in self.fields):
            raise SchemaError(f"{place}: fields are a list of Field")
        if not all(isinstance(lens, Lens) for lens in self.lenses):
            raise SchemaError(f"{place}: lenses are a list of lenses")
        if self.converts is not None and not isinstance(self.converts, Convert):
            raise SchemaError(f"{place}: converts is a Convert, or None")
        names = [field.name for field in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise SchemaError(f"{place}, field {name!r}: declared twice")

    def _check_field(self, place: str, field: Field) -> None:
        if field.since < self.since:
            raise SchemaError(f"{place}: a field (since {field.since}) is not older than its type (since {self.since})")
        if self.until is not None and field.since >= self.until:
            raise SchemaError(f"{place}: it begins (since {field.since}) when its type is retired (until {self.until})")
        if self.platforms is not None and field.platforms is not None and not self.platforms & field.platforms:
            raise SchemaError(f"{place}: it exists on no platform of its type")

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """Every field by its name, whatever the version."""
        return MappingProxyType({field.name: field for field in self.fields})

    def field(self, name: str) -> Field | None:
        """The field of this name, whatever the version."""
        return self.by_name.get(name)


class Schema:
    """All entry types of an application, over all versions, seen at one version and platform. Immutable.

    ``platform`` None: this machine's. ``releases`` maps versions to what people call them ({12: "12.0"}).
    Raises ``SchemaError`` for anything that contradicts itself.
    """

    name: str
    version: int
    platform: str
    types: Mapping[str, EntryType]
    releases: Mapping[int, str]

    def __init__(
        self,
        name: str,
        *,
        version: int,
        platform: str | None = None,
        types: Iterable[EntryType],
        releases: Mapping[int, str] | None = None,
    ) -> None:
        from vaultsync.schema.rules import check_schema  # needs the classes of this module

        declared = tuple(types)
        if not isinstance(name, str) or not name.strip() or not storable(name) or len(name) > 256:
            raise SchemaError("schema: its name is text of 1 to 256 characters")
        if not all(isinstance(kind, EntryType) for kind in declared):
            raise SchemaError(f"schema {name!r}: types are a list of EntryType")
        names = [kind.name for kind in declared]
        for type_name in names:
            if names.count(type_name) > 1:
                raise SchemaError(f"type {type_name!r}: declared twice")
        known = dict(releases or {})
        if not all(is_version(n) and isinstance(label, str) and label for n, label in known.items()):
            raise SchemaError(f"schema {name!r}: releases map versions to names")
        _set(
            self,
            name=name,
            types=MappingProxyType({kind.name: kind for kind in declared}),
            releases=MappingProxyType(known),
        )
        self._stand(version, platform or this_platform())
        check_schema(self)

    def _stand(self, version: int, platform: str) -> None:
        if not is_version(version):
            raise SchemaError(f"schema {self.name!r}: version is a number from 1 to {MAX_VERSION}")
        if platform not in PLATFORMS:
            raise SchemaError(f"schema {self.name!r}: platform is one of {', '.join(sorted(PLATFORMS))}")
        _set(self, version=version, platform=platform)

    def at(self, version: int, platform: str | None = None) -> Schema:
        """The same timeline seen at another version (and platform): exactly what that release had."""
        made = object.__new__(Schema)
        _set(made, name=self.name, types=self.types, releases=self.releases)
        made._stand(version, platform or self.platform)
        return made

    # ---- questions ----------------------------------------------------------------------------------------------
    def known(self, name: str) -> EntryType | None:
        """The type of this name if this version knows it (retired or not, on whatever platform)."""
        kind = self.types.get(name)
        return kind if kind is not None and kind.since <= self.version else None

    def active(self, name: str) -> EntryType | None:
        """The type of this name if new entries of it can be made here: known, here and not retired."""
        kind = self.types.get(name)
        return kind if kind is not None and self.here(kind) and not self.retired(kind) else None

    def retired(self, thing: EntryType | Field) -> bool:
        """Whether a type or field is retired at this version."""
        return thing.until is not None and thing.until <= self.version

    def here(self, thing: EntryType | Field) -> bool:
        """Whether a type or field exists at this version and platform (retired or not)."""
        return thing.since <= self.version and (thing.platforms is None or self.platform in thing.platforms)

    def fields_here(self, kind: EntryType | str) -> tuple[Field, ...]:
        """The fields of a type that exist at this version and platform, retired ones included, as declared."""
        found = self.types[kind] if isinstance(kind, str) else kind
        return tuple(field for field in found.fields if self.here(field))

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """Field name -> its one kind across all types and all time."""
        return MappingProxyType({field.name: field.kind for kind in self.types.values() for field in kind.fields})

    def release(self, version: int) -> str:
        """What people call a version: "9.2" where ``releases`` says so, else "version 9"."""
        return self.releases.get(version, f"version {version}")

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that evaluating an entry depends on; the same in every process."""
        from vaultsync.schema.published import describe

        timeline = {name: describe(kind) for name, kind in self.types.items()}
        releases = {str(version): name for version, name in self.releases.items()}
        whole = [2, self.name, self.version, self.platform, timeline, releases]
        return sha256(canonical_json(whole).encode()).hexdigest()

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What other layers derive from this object, kept as long as it lives. Not by its digest: two schemas with the
        same digest may hold different functions in their lenses."""
        return {}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a schema is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a schema is immutable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Schema {self.name!r} version {self.version} on {self.platform}, {len(self.types)} types>"
