"""Ten schemas that hurt nobody: what a rehearsal must not accuse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import vaultsync as vs
from vaultsync.presets.passwords import passwords
from vaultsync.schema.types import EntryType, Field, Schema

TEXT, LIST = vs.text, vs.items(vs.text)


class Good(NamedTuple):
    schema: Schema
    options: dict[str, Any]


def fields(*names: str, kind: Any = TEXT, since: int = 1, until: int | None = None) -> list[Field]:
    return [Field(name, kind, since=since, until=until) for name in names]


def one(version: int, made: list[Field], lenses: list[Any], **options: Any) -> Good:
    kind = EntryType("person", fields=[*fields("note"), *made], lenses=lenses)
    return Good(Schema("good", version=version, platform="linux", types=[kind]), options)


def renamed() -> Good:
    made = [
        *fields("title", until=2),
        *fields("heading", since=2),
        *fields("tags", kind=vs.tags, until=3),
        *fields("labels", kind=vs.tags, since=3),
        *fields("lines", kind=vs.note, until=3),
        *fields("memo", kind=vs.note, since=3),
    ]
    lenses = [
        vs.rename("title", "heading", since=2),
        vs.rename("tags", "labels", since=3),
        vs.rename("lines", "memo", since=3),
    ]
    return one(3, made, lenses)


def wrapped() -> Good:
    made = [*fields("email", until=2), *fields("emails", kind=LIST, since=2)]
    return one(2, made, [vs.wrap("email", "emails", since=2)])


def split() -> Good:
    made = [*fields("name", until=2), *fields("first", "last", since=2)]
    return one(2, made, [vs.split("name", ["first", "last"], since=2)])


def joined() -> Good:
    made = [*fields("first", "last", until=2), *fields("name", since=2)]
    return one(2, made, [vs.join(["last", "first"], "name", since=2)])


def lossless() -> Good:
    number = vs.number
    made = [*fields("minutes", kind=number, until=2), *fields("seconds", kind=number, since=2)]
    lens = vs.convert("minutes", "seconds", get=lambda n: -n, back=lambda n: -n, since=2)
    return one(2, made, [lens])


def _year_put(now: datetime, year: float) -> datetime:
    day = now.replace(day=28) if (now.month, now.day) == (2, 29) else now
    return now if now.year == year else day.replace(year=int(year))


def lossy() -> Good:
    """A year becomes a date: what a new version adds (month and day) is the newer field's own."""
    made = [*fields("year", kind=vs.number, until=2), *fields("born", kind=vs.instant, since=2)]
    lens = vs.convert(
        "year",
        "born",
        get=lambda year: datetime(int(year), 1, 1, tzinfo=UTC),
        back=lambda born: born.year,
        put=_year_put,
        lossy=True,
        since=2,
    )
    return one(2, made, [lens], values={"year": list(range(1900, 2026))})


def mapped() -> Good:
    made = [
        *fields("words", kind=LIST, until=2),
        *fields("terms", kind=LIST, since=2),
        *fields("marks", kind=vs.tags, until=2),
        *fields("signs", kind=vs.tags, since=2),
    ]
    lenses = [
        vs.map_values("words", "terms", get=lambda t: t[::-1], back=lambda t: t[::-1], since=2),
        vs.map_values("marks", "signs", get=str.swapcase, back=str.swapcase, since=2),
    ]
    return one(2, made, lenses)


def chained() -> Good:
    """Four versions: split, rename, split again, one of them a list in the end."""
    made = [
        *fields("name", until=2),
        *fields("first", since=2, until=4),
        *fields("last", since=2, until=3),
        *fields("family", since=3, until=4),
        *fields("given", "middle", since=4),
        *fields("families", kind=LIST, since=4),
    ]
    lenses = [
        vs.split("name", ["first", "last"], since=2),
        vs.rename("last", "family", since=3),
        vs.split("first", ["given", "middle"], since=4),
        vs.wrap("family", "families", since=4),
    ]
    return one(4, made, lenses)


def converted(*, keep_old: bool) -> Good:
    first = [vs.rename("ssid", "network"), vs.split("login", ["user", "pwd"])]
    then = [vs.rename("network", "label"), vs.wrap("user", "users")]
    a = EntryType(
        "a", fields=fields("ssid", "login", "memo"), until=2, converts=vs.Convert("b", first, keep_old=keep_old)
    )
    b = EntryType(
        "b",
        fields=[*fields("network", "user", "pwd", "security", since=2), *fields("memo", since=2)],
        since=2,
        until=3,
        converts=vs.Convert("c", then, keep_old=keep_old),
    )
    c = EntryType(
        "c",
        fields=[*fields("users", kind=LIST, since=3), *fields("label", "pwd", "security", "memo", since=3)],
        since=3,
    )
    return Good(Schema("converting", version=3, platform="linux", types=[a, b, c]), {})


def preset() -> Good:
    return Good(passwords(platform="linux"), {})


GOOD = {
    "rename": renamed,
    "wrap": wrapped,
    "split": split,
    "join": joined,
    "convert lossless": lossless,
    "convert lossy": lossy,
    "map values": mapped,
    "chain": chained,
    "conversion, old kept": lambda: converted(keep_old=True),
    "conversion, old gone": lambda: converted(keep_old=False),
    "passwords": preset,
}
