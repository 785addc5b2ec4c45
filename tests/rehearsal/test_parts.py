"""The parts of a rehearsal: words in values, what follows from acts, shrinking."""

from __future__ import annotations

import random
from collections.abc import Mapping

import vaultsync as vs
from tests.rehearsal.good_schemas import GOOD, fields
from vaultsync.schema.types import EntryType, Schema
from vaultsync.testing.rehearsal.families import dropped_fields, families
from vaultsync.testing.rehearsal.script import Cast, Script, Step
from vaultsync.testing.rehearsal.shrink import shrink, smaller
from vaultsync.testing.rehearsal.truth import Act, Truth
from vaultsync.testing.rehearsal.values import Inventor, words_of

KINDS = [vs.text, vs.secret, vs.note, vs.number, vs.flag, vs.instant, vs.tags, vs.items(vs.text), vs.items(vs.number)]


def test_invented_values_fit_their_kind_and_are_told_apart() -> None:
    schema = GOOD["split"]().schema
    inventor = Inventor(schema, random.Random(1), {})
    for kind in KINDS:
        now, seen = None, set[str]()
        for _ in range(200):
            value = inventor.write("field", kind, now)
            now = kind.check(value)
            fresh = words_of(now)
            seen |= fresh
        assert kind is vs.flag or len(seen) > 50, kind


def test_texts_hold_what_people_type() -> None:
    inventor = Inventor(GOOD["split"]().schema, random.Random(2), {})
    texts = {inventor.scalar("name", vs.text) for _ in range(500)}
    assert "" in texts
    assert all(any(sign in text for text in texts) for sign in " -/.'@:é名")
    assert any(text != text.lower() for text in texts)
    assert not any(", " in text or "\n" in text for text in texts)


def test_words_survive_case_order_and_separators() -> None:
    assert words_of("Kiwi3-PLUM14, fig5") == {"kiwi3", "plum14", "fig5"}
    assert words_of(("kiwi3", frozenset({"fig5"}))) == {"kiwi3", "fig5"}
    assert words_of(3) == {"=3"}
    assert words_of(True) == words_of(None) == words_of(3, numbers=False) == frozenset()


def test_families_follow_lenses_and_conversions() -> None:
    found = families(GOOD["conversion, old kept"]().schema, {})
    assert found["login"] is found["user"] is found["users"]
    assert found["login"].form == "mirror"
    assert found["ssid"] is found["label"]
    assert found["ssid"].form == "alias"
    assert found["memo"].form == "plain"
    assert families(GOOD["map values"]().schema, {})["words"].opaque, "words spelt backwards cannot be followed"
    assert not found["login"].opaque
    assert not families(GOOD["split"]().schema, {})["name"].opaque


def test_dropped_fields() -> None:
    old = EntryType(
        "a", fields=[*fields("kept", "gone", "same"), *fields("over", until=2)], until=3,
        converts=vs.Convert("b", [vs.rename("kept", "now")]),
    )  # fmt: skip
    new = EntryType("b", fields=fields("now", "same", since=3), since=3)
    schema = Schema("s", version=3, platform="linux", types=[old, new])
    assert set(dropped_fields(schema.types["a"], schema)) == {"gone"}, "over was retired before, knowingly"


def act(number: int, saw: int, family: object, forms: tuple[str, ...], said: Mapping[str, bool | None]) -> Act:
    words = {(family, word): there for word, there in said.items()}
    return Act(number, saw, "set", 0, 0, (1, "linux"), [], {family: forms}, words)  # type: ignore[dict-item, arg-type]


def test_what_follows_from_acts() -> None:
    family = families(GOOD["split"]().schema, {})["name"]
    truth = Truth()
    first = act(0, 0b0, family, ("lens",), {"a": True})
    second = act(1, 0b1, family, ("lens",), {"a": False, "b": True})
    third = act(2, 0b1, family, (), {"c": True})
    for each in (first, second, third):
        truth.record(each)
    words = {word: last for (_, word), last in truth.words(0).items()}
    assert words == {"a": [second], "b": [second], "c": [third]}
    assert truth.contested(second, family)
    assert truth.contested(third, family)
    assert truth.contested(first, family), "what was built on it is"
    fourth = act(3, 0b111, family, (), {"c": True})
    truth.record(fourth)
    assert not truth.contested(fourth, family)
    assert truth.undisturbed(fourth, family)
    assert not truth.undisturbed(second, family)


def test_shrinking_leaves_what_matters() -> None:
    cast = Cast(((2, "linux"), (2, "linux"), (1, "linux")))
    steps = tuple(Step("set", i % 3, values={"a": f"kiwi{i} plum{i}", "b": i}) for i in range(12))

    def fails(script: Script) -> bool:
        return any("kiwi7" in str(step.values.get("a")) for step in script.steps)

    small = shrink(Script(cast, steps), fails)
    assert [dict(step.values) for step in small.steps] == [{"a": "kiwi7"}]
    kept = shrink(Script(cast, steps), fails, given={"a"})
    assert [dict(step.values) for step in kept.steps] == [{"a": "kiwi7 plum7"}]


def test_simpler_values_are_simpler() -> None:
    assert {"a": ("x",)} in smaller({"a": ("x", "y")})
    assert {} in smaller({"a": "x"})
    assert list(smaller({"a": "kiwi1"})) == [{}]
