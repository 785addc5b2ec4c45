"""Declaring: what a schema answers from each place of its timeline, and every rule it is checked against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.errors import SchemaError
from vaultsync.schema.kinds import items, number, secret, text
from vaultsync.schema.lenses import Convert, Lens
from vaultsync.schema.types import PLATFORMS, EntryType, Field, Schema, this_platform
from vaultsync.testing.strategies import places, schemas

MANY = settings(max_examples=200, deadline=None)


def lens(form: str, old: str, new: str, since: int | None, rule: str = "") -> Lens:
    def same(*values: Any) -> Any:
        return values[0]

    olds, news = tuple(old.split()), tuple(new.split())
    return Lens(form=form, old=olds, new=news, since=since, get=same, put=same, back=same, rule=rule)


def schema(*types: EntryType, version: int = 9, platform: str | None = "linux", **more: Any) -> Schema:
    return Schema("acme", version=version, platform=platform, types=types, **more)


def one(*fields: Field, name: str = "t", **more: Any) -> EntryType:
    return EntryType(name, label="T", fields=fields, **more)


# ---- answers ----------------------------------------------------------------------------------------------------
@MANY
@given(schemas(), st.data())
def test_every_place_of_a_timeline_answers_for_itself(whole: Schema, data: st.DataObject) -> None:
    here = data.draw(places(whole))
    assert here.types == whole.types
    assert here.at(whole.version, whole.platform) == whole
    for name, kind in here.types.items():
        there = kind.platforms is None or here.platform in kind.platforms
        assert (here.known(name) is kind) == (kind.since <= here.version)
        assert here.here(kind) == (there and kind.since <= here.version)
        assert here.retired(kind) == (kind.until is not None and kind.until <= here.version)
        assert (here.active(name) is kind) == (here.here(kind) and not here.retired(kind))
        for field in kind.fields:
            on = field.platforms is None or here.platform in field.platforms
            assert (field in here.fields_here(name)) == (on and field.since <= here.version)
            assert here.kinds[field.name] == field.kind
    assert here.known("nothing") is None
    assert here.active("nothing") is None


@MANY
@given(schemas(), st.data())
def test_the_digest_tells_places_apart(whole: Schema, data: st.DataObject) -> None:
    one, other = data.draw(places(whole)), data.draw(places(whole))
    assert (one.digest == other.digest) == ((one.version, one.platform) == (other.version, other.platform))
    assert (one == other) == (one.digest == other.digest)


def full(**changed: Any) -> Schema:
    values: dict[str, Any] = {
        "label": "Login",
        "kind": text,
        "since": 3,
        "until": None,
        "platforms": None,
        "critical": None,
        "rule": "rename",
        "to": "other",
        "keep": False,
        "release": "9.0",
    } | changed
    login = one(
        Field("title", text),
        Field(
            "extra",
            values["kind"],
            since=values["since"],
            until=values["until"],
            platforms=values["platforms"],
            critical=values["critical"],
        ),
        Field("name", text, until=2),
        Field("full_name", text, since=2),
        lenses=[lens("alias", "name", "full_name", 2, values["rule"])],
        until=9,
        converts=Convert(values["to"], keep_old=values["keep"]),
    )
    targets = [EntryType(name, label=values["label"], fields=[Field("title", text)]) for name in ("other", "third")]
    return schema(login, *targets, releases={9: values["release"]})


@pytest.mark.parametrize(
    "change",
    [
        {"label": "Account"},
        {"kind": secret},
        {"since": 4},
        {"until": 8},
        {"platforms": {"linux"}},
        {"critical": "write"},
        {"rule": "other rule"},
        {"to": "third"},
        {"keep": True},
        {"release": "9.1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_covers_everything_that_evaluation_depends_on(change: dict[str, Any]) -> None:
    assert full(**change).digest != full().digest
    assert full(**change) != full()


def test_the_digest_is_the_same_in_every_process() -> None:
    script = (
        "from vaultsync.schema.kinds import text, tags; from vaultsync.schema.types import *\n"
        "fields = [Field('a', text), Field('b', tags)]\n"
        "t = EntryType('t', label='T', platforms={'linux','macos','web','ios'}, fields=fields)\n"
        "print(Schema('s', version=2, platform='linux', types=[t]).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_releases_name_versions() -> None:
    named = schema(one(), releases={9: "9.2"})
    assert named.release(9) == "9.2"
    assert named.release(10) == "version 10"
    assert named.at(3).release(9) == "9.2"


def test_the_platform_is_this_machines_unless_given() -> None:
    assert schema(one(), platform=None).platform == this_platform()
    assert this_platform() in PLATFORMS
    assert schema(one(), platform="ios").at(2).platform == "ios"
    assert schema(one(), platform="ios").at(2, platform="web").platform == "web"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("win32", "windows"), ("darwin", "macos"), ("linux", "linux"), ("emscripten", "web"), ("freebsd14", "linux")],
)
def test_platform_names(monkeypatch: pytest.MonkeyPatch, value: str, expected: str) -> None:
    monkeypatch.setattr(sys, "platform", value)
    assert this_platform() == expected


def test_labels_are_made_from_names() -> None:
    assert Field("full_name", text).label == "Full name"
    assert EntryType("wifi", fields=[]).label == "Wifi"
    assert Field("url", text, label="Web address").label == "Web address"


def test_declarations_are_immutable() -> None:
    whole = full()
    things: list[tuple[Any, str]] = [
        (whole, "version"),
        (whole.types["t"], "fields"),
        (whole.types["t"].fields[0], "kind"),
    ]
    for thing, attribute in things:
        with pytest.raises(AttributeError):
            setattr(thing, attribute, None)
    with pytest.raises(TypeError):
        whole.types["x"] = one()  # type: ignore[index]
    with pytest.raises(AttributeError):
        del whole.version
    fields = [Field("a", text)]
    kept = one(*fields)
    fields.append(Field("b", text))
    assert len(kept.fields) == 1


# ---- rules ------------------------------------------------------------------------------------------------------
def slot(**more: Any) -> EntryType:
    old = Field("email", text, until=5, **more.pop("old", {}))
    new = Field("emails", more.pop("kind", items(text)), **({"since": 5} | more.pop("new", {})))
    return one(old, new, lenses=[lens("slot", "email", "emails", 5)], **more)


def converting(*lenses: Lens, target: EntryType | None = None, until: int | None = 5, **more: Any) -> Schema:
    old = one(
        Field("title", text), Field("name", text), name="old", until=until, converts=Convert("new", lenses, **more)
    )
    return schema(old, target or one(Field("title", text), Field("full_name", text, since=5), name="new"))


BROKEN: dict[str, tuple[Callable[[], object], str]] = {
    "name of a field": (lambda: Field("Title", text), r"field 'Title': a name"),
    "name too long": (lambda: Field("a" * 65, text), "at most 64"),
    "name of a type": (lambda: one(name="2fa"), "type '2fa': a name"),
    "kind": (lambda: Field("a", "text"), "field 'a': its kind"),  # type: ignore[arg-type]
    "since": (lambda: Field("a", text, since=0), "field 'a': since"),
    "since is a number": (lambda: Field("a", text, since=True), "field 'a': since"),
    "until": (lambda: Field("a", text, since=3, until=3), "field 'a': until"),
    "platform": (lambda: Field("a", text, platforms={"amiga"}), "field 'a': platforms"),
    "no platform": (lambda: one(platforms=[]), "type 't': platforms"),
    "critical": (lambda: Field("a", text, critical="very"), "field 'a': critical"),
    "label": (lambda: Field("a", text, label=" "), "field 'a': a label"),
    "label too long": (lambda: one(Field("a", text, label="x" * 257)), "field 'a': a label"),
    "fields are fields": (lambda: one("title"), "type 't': fields"),  # type: ignore[arg-type]
    "lenses are lenses": (lambda: one(lenses=["x"]), "type 't': lenses"),
    "converts is a Convert": (lambda: one(converts="x"), "type 't': converts"),
    "field twice": (lambda: one(Field("a", text), Field("a", text)), "type 't', field 'a': declared twice"),
    "field older than type": (lambda: one(Field("a", text, since=2), since=3), "field 'a'.*not older than its type"),
    "field after its type": (lambda: one(Field("a", text, since=4), until=4), "field 'a'.*retired"),
    "field on no platform": (
        lambda: one(Field("a", text, platforms={"ios"}), platforms={"web"}),
        "field 'a'.*no platform of its type",
    ),
    "type twice": (lambda: schema(one(), one()), "type 't': declared twice"),
    "types are types": (lambda: schema("t"), "types are a list"),  # type: ignore[arg-type]
    "version": (lambda: schema(one(), version=0), "version is a number"),
    "schema's platform": (lambda: schema(one(), platform="beos"), "platform is one of"),
    "schema's name": (lambda: Schema(" ", version=1, types=[]), "name is text"),
    "releases": (lambda: schema(one(), releases={0: "x"}), "releases"),
    "version of at": (lambda: schema(one()).at(0), "version is a number"),
    "platform of at": (lambda: schema(one()).at(1, "beos"), "platform is one of"),
    "one kind a name": (
        lambda: schema(one(Field("a", text)), one(Field("a", number), name="u")),
        "type 'u', field 'a': one kind a name: here number, in type 't' text",
    ),
    "too large to publish": (
        lambda: schema(one(*(Field(f"f{i}", text, label="\x01" * 256) for i in range(100)))),
        "type 't'.*larger than 64 KiB",
    ),
    "form": (lambda: lens("copy", "a", "b", 2), "form is one of"),
    "lens without an end": (lambda: lens("mirror", "", "b", 2), "connects"),
    "lens onto itself": (lambda: lens("mirror", "a", "a", 2), "each named once"),
    "alias of two": (lambda: lens("alias", "a b", "c", 2), "only a mirror"),
    "lens of no field": (
        lambda: schema(one(lenses=[lens("alias", "a", "b", 2)])),
        "type 't', lens a -> b.*no field 'a'",
    ),
    "source retired elsewhere": (
        lambda: schema(one(Field("a", text, until=6), Field("b", text, since=5), lenses=[lens("alias", "a", "b", 5)])),
        "field 'a' .until 6. is retired exactly where the lens begins .since 5",
    ),
    "source not retired": (
        lambda: schema(one(Field("a", text), Field("b", text, since=5), lenses=[lens("alias", "a", "b", 5)])),
        "field 'a'.*retired exactly where",
    ),
    "lens of no version": (
        lambda: schema(one(Field("a", text), Field("b", text), lenses=[lens("alias", "a", "b", None)])),
        "begins",
    ),
    "target begins elsewhere": (
        lambda: schema(slot(new={"since": 4})),
        "field 'emails' .since 4. begins where the lens",
    ),
    "source twice": (
        lambda: schema(
            one(
                Field("a", text, until=5),
                Field("b", text, since=5),
                Field("c", text, since=5),
                lenses=[lens("alias", "a", "b", 5), lens("mirror", "a", "c", 5)],
            )
        ),
        "field 'a': the source of at most one lens",
    ),
    "target twice": (
        lambda: schema(
            one(
                Field("a", text, until=5),
                Field("b", text, until=5),
                Field("c", text, since=5),
                lenses=[lens("alias", "a", "c", 5), lens("alias", "b", "c", 5)],
            )
        ),
        "field 'c': the target of at most one lens",
    ),
    "platforms of a lens": (lambda: schema(slot(new={"platforms": {"ios"}})), "same platforms"),
    "critical alias": (
        lambda: schema(
            one(
                Field("a", text, until=5),
                Field("b", text, since=5, critical="read"),
                lenses=[lens("alias", "a", "b", 5)],
            )
        ),
        "critical has no effect on an alias",
    ),
    "slot into a scalar": (lambda: schema(slot(kind=secret)), r"slot's target is items\(text\), not secret"),
    "slot unmasks": (lambda: schema(slot(kind=items(secret))), r"slot's target is items\(text\), not items\(secret\)"),
    "conversion of a living type": (lambda: converting(until=None), "only a retired type"),
    "conversion to nothing": (
        lambda: schema(one(until=3, converts=Convert("nowhere"))),
        "type 't', conversion to 'nowhere': there is no such type",
    ),
    "conversion to a name": (lambda: Convert("No such"), "names its target"),
    "conversion to the unborn": (lambda: converting(target=one(name="new", since=6)), "target is alive in version 5"),
    "conversion to the dead": (lambda: converting(target=one(name="new", until=5)), "target is alive in version 5"),
    "conversion lens elsewhere": (
        lambda: converting(lens("alias", "name", "full_name", 4)),
        "where the conversion does",
    ),
    "conversion lens to no field": (lambda: converting(lens("alias", "name", "nick", 5)), "'new' has no field 'nick'"),
    "conversion lens onto itself": (lambda: converting(lens("alias", "title", "full_name", 5)), "translated away"),
    "conversion target twice": (
        lambda: converting(lens("alias", "name", "full_name", 5), lens("alias", "title", "full_name", 5)),
        "target of at most one lens",
    ),
    "conversion to itself": (lambda: schema(one(until=3, converts=Convert("t"))), "target is alive"),
    "conversion takes up a name that was translated away": (
        lambda: schema(
            one(
                Field("name", text, until=2),
                *(Field(n, text, since=2) for n in ("first", "last")),
                name="person",
                until=3,
                lenses=[lens("mirror", "name", "first last", 2)],
                converts=Convert("contact"),
            ),
            one(*(Field(n, text, since=2) for n in ("first", "last", "name")), name="contact", since=2),
        ),
        r"type 'contact', field 'name': .*'person' translates its 'name' away \(lens name -> first\+last\)",
    ),
    "two conversions later, too": (
        lambda: schema(
            one(Field("ssid", text), name="a", until=2, converts=Convert("b", [lens("alias", "ssid", "network", 2)])),
            one(Field("network", text, since=2), name="b", since=2, until=3, converts=Convert("c")),
            one(Field("network", text, since=3), Field("ssid", text, since=3), name="c", since=3),
        ),
        "type 'c', field 'ssid': entries of 'a' are converted",
    ),
    "target of lens and conversion": (
        lambda: converting(
            lens("mirror", "name", "full_name", 5),
            target=one(
                Field("nick", text, until=5),
                Field("full_name", text, since=5),
                name="new",
                lenses=[lens("alias", "nick", "full_name", 5)],
            ),
        ),
        "with its conversions.*target of at most one lens",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named_with_its_place(rule: str) -> None:
    declare, message = BROKEN[rule]
    with pytest.raises(SchemaError, match=message):
        declare()


def test_what_the_rules_allow() -> None:
    assert schema(slot()).at(4).fields_here("t")[0].name == "email"
    assert converting(lens("alias", "name", "full_name", None), keep_old=True).types["old"].converts is not None
    assert schema(slot(old={"platforms": {"ios"}}, platforms={"ios"}))  # the same, said once more
    chain = [
        one(name="a", until=3, converts=Convert("b")),
        one(name="b", until=6, converts=Convert("c")),
        one(name="c", since=4),
    ]
    assert schema(*chain)
    merged = [one(name=n, until=3, converts=Convert("c")) for n in "ab"]
    assert schema(*merged, one(name="c"))
    assert schema(slot(name="a", until=7, converts=Convert("b")), slot(name="b"))  # takes its fields and lens over
