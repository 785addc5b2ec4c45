"""Schemas with a defect each, as people make them: what a rehearsal must find."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

import vaultsync as vs
from tests.rehearsal.good_schemas import LIST, fields
from vaultsync.schema.types import EntryType, Schema


class Broken(NamedTuple):
    """``kinds``: how it may fail; ``subject``: what the message must name."""

    schema: Schema
    kinds: frozenset[str]
    subject: str
    options: Mapping[str, Any] = {}


def person(made: list[Any], lenses: list[Any], version: int = 2) -> Schema:
    kind = EntryType("person", fields=[*fields("note"), *made], lenses=lenses)
    return Schema("broken", version=version, platform="linux", types=[kind])


def split_fields() -> list[Any]:
    return [*fields("name", until=2), *fields("first", "last", since=2)]


def name_lens(**functions: Any) -> Any:
    def get(old: Mapping[str, Any]) -> dict[str, Any]:
        first, space, last = old.get("name", "").partition(" ")
        return {"first": first, **({"last": last} if space else {})} if "name" in old else {}

    def back(new: Mapping[str, Any]) -> dict[str, Any]:
        if "first" not in new and "last" not in new:
            return {}
        return {"name": new.get("first", "") + (" " + new["last"] if "last" in new else "")}

    return vs.lens("name", ["first", "last"], since=2, **{"get": get, "back": back, **functions})


def sound() -> Schema:
    """The lens above as it is: the defects below are not in what they share."""
    return person(split_fields(), [name_lens()])


def law(schema: Schema, subject: str, **options: Any) -> Broken:
    return Broken(schema, frozenset({"law"}), subject, options)


def lossy_back() -> Broken:
    """The older form keeps the first name only."""
    lens = name_lens(back=lambda new: {"name": new["first"]} if "first" in new else {})
    return law(person(split_fields(), [lens]), "name")


def put_ignores_old() -> Broken:
    """What an older device edits never arrives."""
    return law(person(split_fields(), [name_lens(put=lambda new, old: new)]), "name")


def put_forgets_new() -> Broken:
    """Any older edit throws away what only the newer version has."""
    made = [*fields("day", until=2), *fields("when", since=2)]
    lens = vs.convert(
        "day", "when", get=lambda day: day + "T", back=lambda when: when.partition("T")[0], put=lambda when, day: day
        + "T", lossy=True, since=2, rule="forgets",
    )  # fmt: skip
    return law(person(made, [lens]), "day -> when", values={"day": list("abcd"), "when": ["aT1", "bT2", "cT3"]})


def fickle_get() -> Broken:
    """The newer value depends on when one looks."""
    numbers = count()
    made = [*fields("name", until=2), *fields("card", since=2)]
    lens = vs.lens(
        "name", "card", get=lambda old: {"card": f"{old['name']} #{next(numbers)}"} if "name" in old else {},
        back=lambda new: {"name": new["card"].rpartition(" #")[0] or new["card"]} if "card" in new else {}, since=2,
    )  # fmt: skip
    return law(person(made, [lens]), "name -> card")


def order_of_a_set() -> Broken:
    """A list is made from a set, in the order in which this process happens to have it."""
    made = [*fields("tags", kind=vs.tags, until=2), *fields("listed", kind=LIST, since=2)]
    lens = vs.lens(
        "tags", "listed", get=lambda old: {"listed": tuple(old["tags"])} if "tags" in old else {},
        back=lambda new: {"tags": frozenset(t.strip() or "-" for t in new.get("listed", ()))} if new else {}, since=2,
    )  # fmt: skip
    return law(person(made, [lens]), "tags -> listed")


def conversion_drops() -> Broken:
    """The new type has no place for the band of a network."""
    old = EntryType(
        "wifi_note",
        fields=fields("ssid", "band"),
        until=2,
        converts=vs.Convert("wifi", [vs.rename("ssid", "network")]),
    )
    new = EntryType("wifi", fields=fields("network", "security", since=2), since=2)
    schema = Schema("broken", version=2, platform="linux", types=[old, new])
    return Broken(schema, frozenset({"leftover"}), "wifi_note.band")


def conversion_lens_drops() -> Broken:
    """A lens of a conversion reads two fields and carries one."""
    lens = vs.lens(
        ["ssid", "band"], ["network"], get=lambda old: {"network": old["ssid"]} if "ssid" in old else {},
        back=lambda new: {"ssid": new["network"]} if "network" in new else {},
    )  # fmt: skip
    old = EntryType("wifi_note", fields=fields("ssid", "band"), until=2, converts=vs.Convert("wifi", [lens]))
    new = EntryType("wifi", fields=fields("network", since=2), since=2)
    return law(Schema("broken", version=2, platform="linux", types=[old, new]), "ssid+band -> network")


def not_total() -> Broken:
    """A number that is text is not always one."""
    made = [*fields("age", until=2), *fields("years", kind=vs.number, since=2)]
    lens = vs.convert("age", "years", get=float, back=str, lossy=True, since=2)
    return law(person(made, [lens]), "age -> years")


def back_raises() -> Broken:
    """The newer value may be what the older one could not."""
    made = [*fields("age", kind=vs.number, until=2), *fields("years", since=2)]
    lens = vs.convert("age", "years", get=str, back=float, since=2)
    return law(person(made, [lens]), "age -> years")


def swapped() -> Broken:
    """``get`` gives first and last, ``back`` takes last and first."""
    lens = name_lens(back=lambda new: {"name": f"{new.get('last', '')} {new.get('first', '')}"} if new else {})
    return law(person(split_fields(), [lens]), "name")


def separator_in_values() -> Broken:
    """Split at every space, and what is more than two parts is lost."""

    def get(old: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(("first", "last"), old["name"].split(" "), strict=False)) if "name" in old else {}

    return law(person(split_fields(), [name_lens(get=get)]), "name")


def join_on_space() -> Broken:
    """Several names joined with what they hold themselves."""
    made = [*fields("first", "last", until=2), *fields("name", since=2)]
    return law(person(made, [vs.join(["first", "last"], "name", sep=" ", since=2)]), "first+last -> name")


def called_lossless() -> Broken:
    """Upper case cannot be undone."""
    made = [*fields("code", until=2), *fields("code_upper", since=2)]
    lens = vs.convert("code", "code_upper", get=str.upper, back=str.lower, since=2)
    schema = person(made, [lens])  # a loser that the lens cannot read is not listed either
    return Broken(schema, frozenset({"law", "lost"}), "code -> code_upper")


def mapped_together() -> Broken:
    """Two tags become one."""
    made = [*fields("tags", kind=vs.tags, until=2), *fields("labels", kind=vs.tags, since=2)]
    lens = vs.map_values("tags", "labels", get=lambda tag: tag[:3], back=lambda tag: tag, since=2)
    return law(person(made, [lens]), "tags -> labels")


def no_room_for_a_day() -> Broken:
    """A year that is put into the 29th of February."""
    made = [*fields("year", kind=vs.number, until=2), *fields("born", kind=vs.instant, since=2)]
    lens = vs.convert(
        "year", "born", get=lambda year: datetime(int(year), 1, 1, tzinfo=UTC), back=lambda born: born.year,
        put=lambda born, year: born.replace(year=int(year)), lossy=True, since=2,
    )  # fmt: skip
    leap = [datetime(2020, 2, 29, tzinfo=UTC), datetime(2000, 2, 29, tzinfo=UTC)]
    return law(person(made, [lens]), "year -> born", values={"year": list(range(1990, 2020)), "born": leap})


def random_id() -> Broken:
    """A conversion that gives every device its own number."""
    dice = random.Random(0)
    lens = vs.convert(
        "ssid", "network", get=lambda s: f"{s}#{dice.random()}", back=lambda s: s.partition("#")[0], lossy=True
    )
    old = EntryType("note", fields=fields("ssid"), until=2, converts=vs.Convert("wifi", [lens], keep_old=True))
    new = EntryType("wifi", fields=fields("network", since=2), since=2)
    return law(Schema("broken", version=2, platform="linux", types=[old, new]), "ssid -> network")


BROKEN = {
    function.__name__: function
    for function in (
        lossy_back,
        put_ignores_old,
        put_forgets_new,
        fickle_get,
        order_of_a_set,
        conversion_drops,
        conversion_lens_drops,
        not_total,
        back_raises,
        swapped,
        separator_in_values,
        join_on_space,
        called_lossless,
        mapped_together,
        no_room_for_a_day,
        random_id,
    )
}
