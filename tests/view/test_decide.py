"""The decision table against an independent oracle, and what must hold for any bytes whatever."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.view.worlds import KINDS, MANY, SOME, hostile_raws, raws, schemas
from vaultsync.schema.kinds import secret, text
from vaultsync.schema.lenses import Convert
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.context import Context
from vaultsync.view.decide import Decision, Mark, Status, decide
from vaultsync.view.entry import evaluate


# ---- the oracle: the design's section 4, written down once more in the plainest way ------------------------------
def oracle(raw: dict[str, Any], schema: Schema) -> Decision:
    types = schema.types
    knows = lambda t: t in types and types[t].since <= schema.version  # noqa: E731
    is_here = lambda x: x.since <= schema.version and (x.platforms is None or schema.platform in x.platforms)  # noqa: E731
    is_retired = lambda x: x.until is not None and x.until <= schema.version  # noqa: E731
    stamped = {
        m[1] for k, v in raw.items() if v is True and (m := re.fullmatch(r"\$schema/([a-z]\w*)/[1-9]\d{0,6}", k, re.A))
    }
    converted = lambda t: types[t].converts if knows(t) and is_retired(types[t]) else None  # noqa: E731
    first = raw.get("$type") if isinstance(raw.get("$type"), str) else ""
    while (c := converted(first)) and knows(c.to) and c.to in stamped:
        first = c.to
    readable = {first} | {k[6:] for k, v in raw.items() if k.startswith("$face/") and v is True}
    known = {t for t in readable if knows(t)}
    old = {t for t in known if is_retired(types[t])}
    local = {t for t in known if is_here(types[t])}
    order = sorted(local, key=lambda t: (t not in old, t == first, types[t].since, t))
    face = order[-1] if order else None
    line = [face] if face else []
    while line and (b := [t for t in sorted(types) if (c := converted(t)) and c.to == line[0] and t in stamped]):
        line.insert(0, b[0])
    own = {f.name: f.kind.name for t in line for f in types[t].fields if is_here(f)}
    unknown, covered = set(), set()
    for key, value in raw.items():
        name = re.split("[/@]", key, maxsplit=1)[0]
        if key.startswith("$lens/") and (mark := read_mark(value)):
            unknown |= {n for n in (re.split("[/@]", c, maxsplit=1)[0][:64] or "?" for c in mark[3]) if n not in own}
            covered |= set() if mark[1] else set(mark[2])
        elif value is None or key.startswith("$") or re.fullmatch(r"[a-z][a-z0-9_]{0,63}@.*", key, re.S):
            continue
        elif name not in own or not fits(own[name], key[len(name) :], value):
            unknown.add(name[:64] or "?")
    vectors = [v for k, s in raw.items() if k.startswith("$deleted/") and (v := read_vector(s)) is not None]
    edits = {k[8:]: v for k, v in raw.items() if k.startswith("$edited/") and type(v) is int and 0 <= v <= 2**53}
    dead = bool(vectors) and all(any(v.get(i, -1) >= n for v in vectors) for i, n in edits.items())
    critical = {c for n in unknown if (c := raw.get(f"$critical/{n}")) in ("read", "write")}
    missing = tuple(sorted(unknown - covered))
    reason = None
    if dead:
        status = Status.TRASHED
    elif not face:
        status, reason = Status.HIDDEN, "platform" if known else "version"
    elif "read" in critical:
        status, reason = Status.HIDDEN, "critical"
    elif face in old:
        status = Status.ARCHIVED
    else:
        status = Status.FLAGGED if missing else Status.COMPLETE
    editable = status in (Status.FLAGGED, Status.COMPLETE) and not critical
    counted = not dead and not (known and known == old)
    return Decision(status, face, reason, missing, editable, counted, bool(critical))


def fits(kind: str, rest: str, value: Any) -> bool:
    """Whether ``<field><rest>`` = value has the shape of a kind."""
    sep, element = rest[:1], rest[1:]
    if kind == "tags":
        good = unicodedata.normalize("NFC", element).strip()
        return sep == "/" and good == element and 0 < len(good) <= 256 and value is True and encodable(good)
    if kind in ("items(text)", "note"):
        plain = not sep and kind == "note"
        by_id = sep == "/" and re.fullmatch("[0-9A-Za-z-]{1,32}", element) and not (kind == "note" and element == "old")
        return bool(plain or by_id) and isinstance(value, str)
    if sep:
        return False
    if kind == "number":
        return type(value) is int or (type(value) is float and abs(value) < float("inf"))
    return isinstance(value, str)


def encodable(word: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in word)


def read_mark(value: Any) -> list[Any] | None:
    try:
        mark = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return None
    good = isinstance(mark, list) and len(mark) == 4 and isinstance(mark[0], str) and isinstance(mark[1], bool)
    good = good and isinstance(mark[2], list) and all(isinstance(n, str) for n in mark[2]) and isinstance(mark[3], dict)
    return mark if good and not any(isinstance(v, (list, dict)) for v in mark[3].values()) else None


def read_vector(value: Any) -> dict[str, int] | None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        vector = json.loads(value, object_pairs_hook=once)
    except (ValueError, TypeError, RecursionError):
        return None
    good = isinstance(vector, dict) and all(type(n) is int and 0 <= n <= 2**53 for n in vector.values())
    return vector if good else None


@MANY
@given(raws(), schemas())
def test_decide_agrees_with_the_oracle(raw: dict[str, Any], schema: Schema) -> None:
    assert decide(raw, schema) == oracle(raw, schema)


@MANY
@given(hostile_raws(), schemas())
def test_decide_agrees_with_the_oracle_on_hostile_entries(raw: dict[str, Any], schema: Schema) -> None:
    assert decide(raw, schema) == oracle(raw, schema)


@SOME
@given(hostile_raws(), schemas())
def test_everything_about_an_entry_is_total(raw: dict[str, Any], schema: Schema) -> None:
    entry = evaluate("id", raw, schema, Context())
    assert entry.decision == decide(dict(reversed(raw.items())), schema)
    assert isinstance(repr(entry), str)
    assert isinstance(str(entry), str)
    shown = [*entry.fields, *entry.retired]
    assert {name for name in shown if entry[name] is not None} == set(shown)
    assert all(isinstance(entry.elements(name), tuple) for name in shown)
    assert entry.writable.isdisjoint(entry.retired)
    assert set(entry.missing) == set(entry.decision.missing)
    assert all(str(masked) == "••••" and masked.label for masked in [*entry.unknown.values(), *entry.missing.values()])
    assert isinstance(entry.created, int)
    assert isinstance(entry.modified, int)
    assert isinstance(entry.version, int)
    assert entry.conflicts == {}
    if entry.status is Status.HIDDEN or not entry.decision.face:
        assert not shown
        assert entry.title is None


@SOME
@given(raws(), schemas())
def test_counted_is_the_same_on_every_platform(raw: dict[str, Any], schema: Schema) -> None:
    platforms = ("macos", "ios", "linux", "web")
    assert len({decide(raw, schema.at(schema.version, platform)).counted for platform in platforms}) == 1


@SOME
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_marks_parse_or_are_absent(value: Any) -> None:
    stored = json.dumps(value)
    expected = read_mark(stored)
    assert (Mark.parse(stored) is None) == (expected is None)
    assert Mark.parse("[" * 100_000) is None
    assert Mark.parse('["d",false,["f"],' + '{"a":' * 2000 + "1" + "}" * 2000 + "]") is None


# ---- the table, by name -------------------------------------------------------------------------------------------
def one_type(*fields: Field, **more: Any) -> EntryType:
    return EntryType("login", label="Login", fields=[Field("title", text), *fields], **more)


def at(version: int, *types: EntryType, platform: str = "linux") -> Schema:
    return Schema("table", version=version, platform=platform, types=types)


LOGIN = {"$type": "login", "$created": 1, "$schema/login/1": True, "title": "t", "$edited/aa": 1}


def test_an_unknown_field_flags_and_a_cleared_one_does_not() -> None:
    schema = at(1, one_type(Field("passkey", secret, since=2)))
    assert decide(LOGIN, schema).status is Status.COMPLETE
    assert decide({**LOGIN, "passkey": "k"}, schema)[:4] == (Status.FLAGGED, "login", None, ("passkey",))
    assert decide({**LOGIN, "passkey": None}, schema).status is Status.COMPLETE
    assert decide({**LOGIN, "passkey@1": "U"}, schema).status is Status.COMPLETE  # a position holds nothing


def test_a_newer_stamp_alone_flags_nothing() -> None:
    assert decide({**LOGIN, "$schema/login/9": True, "$new": "?"}, at(1, one_type())).status is Status.COMPLETE


def test_critical_locks_or_hides_until_the_field_is_cleared() -> None:
    schema = at(1, one_type())
    write = decide({**LOGIN, "key": "k", "$critical/key": "write"}, schema)
    assert (write.status, write.editable, write.locked) == (Status.FLAGGED, False, True)
    read = decide({**LOGIN, "key": "k", "$critical/key": "read"}, schema)
    assert (read.status, read.reason, read.editable) == (Status.HIDDEN, "critical", False)
    assert decide({**LOGIN, "$critical/key": "read"}, schema).editable
    assert decide({**LOGIN, "key": "k", "$critical/key": "never heard of"}, schema).editable


def test_a_lossless_mark_covers_what_a_lossy_one_does_not() -> None:
    schema = at(1, one_type())
    raw = {**LOGIN, "first": "a", "last": "b"}
    assert decide({**raw, "$lens/first": '["d",false,["first","last"],{}]'}, schema).status is Status.COMPLETE
    assert decide({**raw, "$lens/first": '["d",true,["first","last"],{}]'}, schema).missing == ("first", "last")
    assert decide({**LOGIN, "$lens/first": '["d",true,["first"],{"last":"b"}]'}, schema).missing == ("last",)
    assert decide({**raw, "$lens/first": "garbage"}, schema).missing == ("first", "last")


def test_a_value_of_the_wrong_shape_is_unknown() -> None:
    schema = at(1, one_type())
    for strange in ({"title": 5}, {"title/x": "y"}, {"Title": "x"}, {"": 1}):
        assert decide({**LOGIN, **strange}, schema).status is Status.FLAGGED, strange


def test_a_retired_type_is_archived_unless_a_face_is_active() -> None:
    old = EntryType("wifi_note", fields=[Field("title", text)], until=3, converts=Convert("wifi", keep_old=True))
    new = EntryType("wifi", fields=[Field("ssid", text, since=3)], since=3)
    raw = {"$type": "wifi_note", "$schema/wifi_note/1": True, "title": "t"}
    assert decide(raw, at(2, old, new)).status is Status.COMPLETE
    archived = decide(raw, at(3, old, new))
    assert (archived.status, archived.editable, archived.counted) == (Status.ARCHIVED, False, False)
    converted = {**raw, "$type": "wifi", "$schema/wifi/3": True, "$face/wifi_note": True}
    assert decide(converted, at(3, old, new))[:2] == (Status.COMPLETE, "wifi")
    assert decide(converted, at(2, old, new))[:2] == (Status.COMPLETE, "wifi_note")
    assert evaluate("id", converted, at(3, old, new), Context()).retired == {"title": "t"}
    stale = {**converted, "$type": "wifi_note"}  # a race on $type that the older value won: read forward all the same
    assert decide(stale, at(3, old, new)).face == "wifi"
    born = {k: v for k, v in converted.items() if k != "$schema/wifi_note/1"}  # was never a Wi-Fi note
    assert decide(born, at(3, old, new)).missing == ("title",)


def test_every_kind_of_these_worlds_is_used() -> None:
    assert {kind.name for kind in KINDS.values()} == {"text", "number", "tags", "items(text)", "note", "secret"}
