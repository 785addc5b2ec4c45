"""The sentences, word for word, and that programs find the same facts in the attributes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vaultsync.schema.kinds import secret, text
from vaultsync.schema.lenses import Convert
from vaultsync.schema.published import Catalog, declarations, drift
from vaultsync.schema.types import EntryType, Field, Schema
from vaultsync.view.context import Context, Device
from vaultsync.view.notices import NoticeKind
from vaultsync.view.picture import View
from vaultsync.view.words import count, listing, plural

LOGIN = EntryType(
    "login",
    label="Login",
    fields=[
        Field("title", text),
        Field("key", secret, label="Passkey", since=12, critical="write"),
        Field("vault_lock", text, label="Vault lock", since=14, critical="read"),
        Field("category", text, label="Category", platforms={"macos", "windows"}),
    ],
)
PASSKEY = EntryType("passkey", label="Passkey", fields=[Field("title", text, since=12)], since=12)
DOCUMENT = EntryType("document", label="Document", fields=[Field("title", text)], platforms={"macos", "windows"})
WIFI = EntryType("wifi_note", label="Wi-Fi note", fields=[Field("title", text)], until=10, converts=Convert("login"))
RELEASES = {9: "9.2", 10: "10.0", 12: "12.0"}
NEWEST = Schema("acme", version=14, platform="macos", types=[LOGIN, PASSKEY, DOCUMENT, WIFI], releases=RELEASES)
OLD_LOGIN = EntryType("login", label="Login", fields=[Field("title", text), LOGIN.by_name["category"]])
HERE = Schema("acme", version=10, platform="linux", types=[OLD_LOGIN, DOCUMENT, WIFI], releases={9: "9.2", 10: "10.0"})
CATALOG = Catalog(declarations(NEWEST))
LAPTOP = Device("d1", "Laptop", "Acme", 12, "macos", "12.0")
PHONE = Device("d2", "Phone", "Acme", 14, "ios", "14.1")
OLDER = Device("d3", "Old", "Acme", 9, "linux", "9.2")
SELF = Device("d0", "This one", "Acme", 14, "linux", "14.1")


def passkey(n: int = 12) -> dict[str, Any]:
    return {"$type": "passkey", f"$schema/passkey/{n}": True, "title": "t"}


def login(**fields: Any) -> dict[str, Any]:
    return {"$type": "login", "$schema/login/1": True, "title": "t", **fields}


def told(entries: list[dict[str, Any]], context: Context, schema: Schema = HERE) -> list[str]:
    view = View.build(((str(i), raw) for i, raw in enumerate(entries)), schema, context)
    return [str(notice) for notice in view.notices]


def known(*census: Device) -> Context:
    return Context(catalog=CATALOG, census=census, this_device="d0")


DOC = {"$type": "document", "title": "t", "$schema/document/1": True}


@pytest.mark.parametrize(
    ("entries", "context", "sentence"),
    [
        (
            [passkey(), passkey(), DOC],
            known(Device("d9", "Old", "", 9, "web")),
            "3 entries can't be shown here: 2 Passkeys need version 12 or later; "
            "1 Document is available on macOS and Windows.",
        ),
        (
            [passkey(), passkey(), DOC],
            known(LAPTOP, PHONE, SELF),
            "3 entries can't be shown here: 2 Passkeys need 12.0 or later (Laptop and Phone can open them); "
            "1 Document is available on macOS and Windows (Laptop can open it).",
        ),
        ([passkey()], known(), "1 entry can't be shown here: 1 Passkey needs version 12 or later."),
        (
            [{**passkey(), "$edited/aa": 7}, {**passkey(), "$edited/bb": 7}, {**DOC, "$edited/bb": 7}],
            replace(known(LAPTOP, PHONE), device_of={"aa": LAPTOP, "bb": OLDER}.get),
            "3 entries can't be shown here: 2 Passkeys need 12.0 or later (Laptop and Phone can open them), last "
            "edited on Laptop with 12.0 and Old with 9.2, which does not know Passkeys; "
            "1 Document is available on macOS and Windows (Laptop can open it), last edited on Old with 9.2.",
        ),
        (
            [passkey()],
            Context(),  # nothing was published yet: the name and the stamps say enough
            "1 entry can't be shown here: 1 Passkey needs version 12 or later.",
        ),
        (
            [{"$type": "recovery_kit"}],
            Context(),
            "1 entry can't be shown here: 1 Recovery kit needs a newer version.",
        ),
        (
            [login(vault_lock="x", **{"$critical/vault_lock": "read", "$schema/login/14": True})],
            known(LAPTOP, PHONE),
            "1 entry can't be shown here: 1 Login holds Vault lock, which needs 14.1 or later (Phone can open it).",
        ),
        (
            [login(key="k", **{"$schema/login/12": True})] * 2 + [login(category="c")],
            known(LAPTOP, PHONE),
            "Some data of 3 entries can't be shown here: Passkey of 2 Logins needs 12.0 or later "
            "(Laptop and Phone can show it); "
            "Category of 1 Login is available on macOS and Windows (Laptop can show it).",
        ),
        (
            [{**login(key="k", web="w", web2="w", **{"$schema/login/12": True}), "$edited/bb": 7}],
            replace(known(PHONE), device_of={"bb": OLDER}.get),
            "Some data of 1 entry can't be shown here: Passkey of 1 Login, Web of 1 Login and Web2 of 1 Login need "
            "version 12 or later (Phone can show them), last edited on Old with 9.2, which does not know Passkey, Web "
            "and Web2.",
        ),
        (
            [{**passkey(), "$edited/bb": 7}],
            replace(known(LAPTOP), device_of={"bb": OLDER._replace(newest=12)}.get),
            "1 entry can't be shown here: 1 Passkey needs 12.0 or later (Laptop can open it), last edited on Old.",
        ),
        (
            [login(key="k", **{"$schema/login/12": True, "$schema/login/14": True})],
            Context(),
            "Some data of 1 entry can't be shown here: "
            "Key of 1 Login needs a version between version 12 and version 14, or later.",
        ),
        (
            [login(title=5)],
            Context(),
            "Some data of 1 entry can't be shown here: Title of 1 Login can't be read.",
        ),
        (
            [{"$type": "wifi_note", "title": "t"}] * 2,
            Context(),
            "2 entries are of a type that is no longer supported: 2 Wi-Fi notes (retired in 10.0). "
            "They can be read and exported, but not edited.",
        ),
        (
            [{"$type": "wifi_note", "title": "t"}],
            Context(),
            "1 entry is of a type that is no longer supported: 1 Wi-Fi note (retired in 10.0). "
            "It can be read and exported, but not edited.",
        ),
        (
            [],
            Context(last_version=12, census=(LAPTOP,)),
            "This device last used 12.0 and now runs 10.0. "
            "Nothing is lost: what needs the newer version is kept and synced, but not shown.",
        ),
    ],
)
def test_sentences(entries: list[dict[str, Any]], context: Context, sentence: str) -> None:
    assert told(entries, context) == [sentence]


def test_the_example_of_the_design() -> None:
    schema = Schema("acme", version=10, platform="linux", types=[LOGIN, PASSKEY, DOCUMENT, WIFI], releases=RELEASES)
    assert told([passkey(), DOC, passkey()], Context(), schema) == [
        "3 entries can't be shown here: 2 Passkeys need 12.0 or later; 1 Document is available on macOS and Windows."
    ]


def test_nothing_to_tell() -> None:
    assert told([login(), {**passkey(), "$deleted/x": "{}"}], known(LAPTOP)) == []
    assert told([], Context(last_version=10)) == []


def test_structure() -> None:
    raws = [passkey(), passkey(), DOC, login(key="k"), {"$type": "wifi_note"}]
    view = View.build(((str(i), raw) for i, raw in enumerate(raws)), HERE, known(LAPTOP, PHONE))
    hidden, flagged, archived = view.notices
    assert (hidden.kind, hidden.count, hidden.type_label) == (NoticeKind.HIDDEN, 3, None)
    assert (hidden.versions, hidden.platforms) == ((12, 12), {"macos", "windows"})
    assert hidden.devices == ("Laptop", "Phone")
    assert [(p.count, p.type, p.type_label, p.reason) for p in hidden.parts] == [
        (2, "passkey", "Passkey", "version"),
        (1, "document", "Document", "platform"),
    ]
    assert (flagged.kind, flagged.count, flagged.type_label) == (NoticeKind.FLAGGED, 1, "Login")
    assert (flagged.parts[0].field, flagged.parts[0].field_label, flagged.parts[0].reason) == (
        "key",
        "Passkey",
        "version",
    )
    assert (archived.kind, archived.count, archived.type_label) == (NoticeKind.ARCHIVED, 1, "Wi-Fi note")


def test_drift_is_told_to_developers() -> None:
    edited = EntryType("document", label="Paper", fields=[Field("title", text)], platforms={"macos"})
    mine = Schema("acme", version=10, platform="linux", types=[OLD_LOGIN, edited, WIFI])
    found = tuple(d for d in drift(mine, declarations(NEWEST)) if d.type == "document")
    (notice,) = View.build([], mine, Context(drift=found)).notices
    assert notice.kind is NoticeKind.DRIFT
    assert notice.type_label == "Paper"
    assert str(notice) == (
        "Paper is declared differently than it was published for version 1: "
        "the type: platforms is macos here, was macos, windows."
    )


def test_a_new_catalog_renames_without_evaluating() -> None:
    view = View.build([("a", passkey()), ("b", login(key="k"))], HERE, Context())
    assert view["b"].missing["key"].label == "Key"
    later = view.updated({}, Context(catalog=CATALOG, census=(LAPTOP,)))
    assert view["b"].missing["key"].label == "Key"
    assert (later["b"].missing["key"].label, later.entries[0].missing["key"].release) == ("Passkey", "12.0")
    assert repr(later["b"].missing["key"]) == "<Passkey •••• needs 12.0 or later>"
    assert str(later.notices[1]).startswith("Some data of 1 entry can't be shown here: Passkey of 1 Login needs 12.0")


def test_hostile_names_cannot_shout() -> None:
    census = Device.parse("d", '{"name":"Lap\\u001b[31mtop' + "x" * 500 + '","app":"","version":99,"platform":"linux"}')
    assert census is not None
    assert census.name.startswith("Lap [31mtopx")
    assert len(census.name) <= 80
    (sentence,) = told([{"$type": "x\ny" * 99}, {"$type": "a" * 64}], Context(census=(census,)))
    assert "\n" not in sentence
    assert len(sentence) < 400


@pytest.mark.parametrize(
    "stored",
    [
        None,
        5,
        "",
        "[]",
        "{}",
        "[" * 9999,
        '{"name":1,"version":1,"platform":"linux"}',
        '{"name":"a","version":true,"platform":"linux"}',
        '{"name":"a","version":0,"platform":"linux"}',
    ],
)
def test_a_census_row_that_is_none_counts_as_absent(stored: Any) -> None:
    assert Device.parse("d", stored) is None


def test_a_census_row_survives_the_round_trip() -> None:
    assert Device.parse("d1", LAPTOP.to_json()) == LAPTOP
    assert Device.parse("d1", LAPTOP._replace(release=None).to_json()) == LAPTOP._replace(release=None)


def test_more_groups_than_anyone_reads() -> None:
    (sentence,) = told([{"$type": f"type_{i}"} for i in range(30)], Context())
    assert sentence.startswith("30 entries can't be shown here: 1 Type 0 needs a newer version; ")
    assert sentence.endswith("; and 22 other groups.")


def test_words() -> None:
    assert [plural(w) for w in ("Login", "Identity", "Address", "Key", "Box", "entry")] == [
        "Logins", "Identities", "Addresses", "Keys", "Boxes", "entries",
    ]  # fmt: skip
    assert count(1, "entry") == "1 entry"
    assert count(1200, "Login") == "1,200 Logins"
    assert [listing(list("abcdef")[:n]) for n in (0, 1, 2, 3, 4, 5)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and d",
        "a, b, c and 2 more",
    ]
