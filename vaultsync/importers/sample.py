"""A believable Bitwarden export of any size, for demonstrations and tests. Nobody's data: drawn from a seed, always
the same.

``bitwarden_export(500)`` is the document, ``bitwarden_text(500)`` the bytes of the file. About seven of ten items are
logins; the first ones are one of each type, so that a small sample shows every type.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

__all__ = ["bitwarden_export", "bitwarden_text", "write_bitwarden"]

Item = dict[str, Any]

_START: Final = datetime(2016, 3, 1, 8, tzinfo=UTC)
_SITES: Final = (
    ("GitHub", "github.com"), ("Proton Mail", "proton.me"), ("Mastodon", "mastodon.social"),
    ("Wikipedia", "wikipedia.org"),
    ("Hetzner", "hetzner.com"), ("Python Package Index", "pypi.org"), ("OpenStreetMap", "openstreetmap.org"),
    ("Spotify", "spotify.com"), ("Netflix", "netflix.com"), ("Amazon", "amazon.com"), ("PayPal", "paypal.com"),
    ("Steam", "steampowered.com"), ("Airbnb", "airbnb.com"), ("Booking", "booking.com"), ("Zoom", "zoom.us"),
    ("Slack", "slack.com"), ("Trello", "trello.com"), ("Dropbox", "dropbox.com"), ("LinkedIn", "linkedin.com"),
    ("Reddit", "reddit.com"), ("Stack Overflow", "stackoverflow.com"), ("City Library", "library.example.org"),
    ("Water Company", "water.example.net"), ("School Portal", "school.example.edu"), ("Home Router", "192.168.1.1"),
)  # fmt: skip
_FOLDERS: Final = ("Work", "Work/Servers", "Home", "Money", "Travel", "Family")
_FIRST: Final = ("Ann", "Ben", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jürgen")
_LAST: Final = ("Meyer", "Okafor", "Rossi", "Tanaka", "Nowak", "Silva", "Larsen", "Haddad", "O'Brien", "Żak")
_WORDS: Final = (
    "amber", "basket", "candle", "delta", "ember", "falcon", "garden", "harbor", "island", "jungle", "kettle",
    "lantern", "meadow", "needle", "orchid", "pepper", "quartz", "ribbon", "saddle", "timber", "umbrella", "velvet",
    "willow", "zephyr",
)  # fmt: skip
_ALPHABET: Final = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!#$%&*+-=?@_,;:\"'"
_NOTES: Final = (
    "The recovery codes are in the safe.\nAsk Ben before changing anything.",
    "Security questions are answered with words that have nothing to do with the question.",
    "Opening hours: Mon–Fri 9–17\nPhone: +49 30 1234567\nCustomer since 2014",
    "1. Unplug it\n2. Count to ten\n3. Plug it in again",
)  # fmt: skip


class _Draw:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def id(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def secret(self) -> str:
        if self.random.random() < 0.25:
            return "-".join(self.random.choice(_WORDS) for _ in range(5))
        return "".join(self.random.choice(_ALPHABET) for _ in range(self.random.randint(12, 24)))

    def base32(self, length: int = 32) -> str:
        return "".join(self.random.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(length))

    def base64(self, length: int) -> str:
        return base64.b64encode(self.random.randbytes(length)).decode()

    def digits(self, length: int) -> str:
        return "".join(self.random.choice("0123456789") for _ in range(length))

    def moment(self, after: datetime = _START) -> datetime:
        return after + timedelta(milliseconds=self.random.randrange(3 * 365 * 86_400_000))

    def person(self) -> tuple[str, str]:
        return self.random.choice(_FIRST), self.random.choice(_LAST)

    def often(self, probability: float) -> bool:
        return self.random.random() < probability


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bitwarden_export(items: int, seed: int = 1) -> dict[str, Any]:
    """An unencrypted export with ``items`` items, as ``json.dumps`` takes it."""
    draw = _Draw(seed)
    folders = [{"id": draw.id(), "name": name} for name in _FOLDERS]
    makers: list[Callable[[_Draw], Item]] = [_login, _card, _identity, _note, _ssh_key, _bank_account]
    chances = [70, 7, 4, 14, 3, 2]
    made = []
    for number in range(items):
        make = makers[number] if number < len(makers) else draw.random.choices(makers, chances)[0]
        made.append(_common(draw, make(draw), folders))
    return {"encrypted": False, "folders": folders, "items": made}


def bitwarden_text(items: int, seed: int = 1) -> bytes:
    """The same as the bytes of the file that Bitwarden writes."""
    return (json.dumps(bitwarden_export(items, seed), ensure_ascii=False, indent=2) + "\n").encode()


def write_bitwarden(path: Path, items: int, seed: int = 1) -> None:
    """Writes the file."""
    path.write_bytes(bitwarden_text(items, seed))


def _common(draw: _Draw, item: Item, folders: list[dict[str, str]]) -> Item:
    created = draw.moment()
    revised = draw.moment(created)
    whole: Item = {
        "passwordHistory": None,
        "revisionDate": _iso(revised),
        "creationDate": _iso(created),
        "deletedDate": _iso(draw.moment(revised)) if draw.often(0.02) else None,
        "id": draw.id(),
        "organizationId": None,
        "folderId": draw.random.choice(folders)["id"] if draw.often(0.6) else None,
        "reprompt": int(draw.often(0.05)),
        "notes": draw.random.choice(_NOTES) if draw.often(0.2) else None,
        "favorite": draw.often(0.1),
        "fields": _fields(draw) if draw.often(0.2) else [],
        "collectionIds": None,
    }
    whole.update(item)
    if item["type"] == 1 and draw.often(0.15):
        dates = sorted(_iso(draw.moment(created)) for _ in range(draw.random.randint(1, 3)))
        whole["passwordHistory"] = [{"lastUsedDate": date, "password": draw.secret()} for date in dates]
    return whole


def _fields(draw: _Draw) -> list[Item]:
    every = (
        {"name": "Customer number", "value": draw.digits(8), "type": 0, "linkedId": None},
        {"name": "PIN", "value": draw.digits(4), "type": 1, "linkedId": None},
        {"name": "Paperless: yes or no", "value": draw.random.choice(("true", "false")), "type": 2, "linkedId": None},
        {"name": "Recovery email", "value": f"{draw.random.choice(_WORDS)}@example.com", "type": 0, "linkedId": None},
        {"name": "Recovery code", "value": draw.base32(16), "type": 1, "linkedId": None},
    )
    return draw.random.sample(every, draw.random.randint(1, len(every)))


def _login(draw: _Draw) -> Item:
    name, host = draw.random.choice(_SITES)
    first, last = draw.person()
    user = draw.random.choice((f"{first}.{last}@example.com", f"{first}{draw.digits(2)}")).casefold().replace("'", "")
    uris: list[Item] = [{"match": None, "uri": f"https://{host}/"}]
    if draw.often(0.2):
        uris.append({"match": draw.random.randrange(6), "uri": f"https://login.{host}/session/new"})
    login: Item = {"uris": uris, "username": user, "password": draw.secret(), "totp": None}
    if draw.often(0.25):
        login["totp"] = f"otpauth://totp/{name}:{user}?secret={draw.base32()}&issuer={name}"
    if draw.often(0.1):
        login["fido2Credentials"] = [_passkey(draw, name, host, user)]
    title = name if draw.often(0.7) else f"{name} ({draw.random.choice(_WORDS)})"
    linked = {"name": "Login name", "value": None, "type": 3, "linkedId": 100}
    return {"type": 1, "name": title, "login": login} | ({"fields": [linked]} if draw.often(0.03) else {})


def _passkey(draw: _Draw, name: str, host: str, user: str) -> Item:
    return {
        "credentialId": draw.id(),
        "keyType": "public-key",
        "keyAlgorithm": "ECDSA",
        "keyCurve": "P-256",
        "keyValue": draw.base64(138),
        "rpId": host,
        "userHandle": draw.base64(16),
        "userName": user,
        "counter": "0",
        "rpName": name,
        "userDisplayName": user,
        "discoverable": "true",
        "creationDate": _iso(draw.moment()),
    }


def _card(draw: _Draw) -> Item:
    first, last = draw.person()
    brand = draw.random.choice(("Visa", "Mastercard", "Amex"))
    card = {
        "cardholderName": f"{first} {last}",
        "brand": brand,
        "number": "4" + draw.digits(15),
        "expMonth": str(draw.random.randint(1, 12)),
        "expYear": str(draw.random.randint(2024, 2031)),
        "code": draw.digits(3),
    }
    return {"type": 3, "name": f"{brand} of {first}", "card": card}


def _identity(draw: _Draw) -> Item:
    first, last = draw.person()
    identity = {
        "title": draw.random.choice(("Mr", "Ms", "Mx", "Dr", None)),
        "firstName": first,
        "middleName": None,
        "lastName": last,
        "address1": f"{draw.random.randint(1, 99)} {draw.random.choice(_WORDS).title()} Street",
        "address2": None,
        "address3": None,
        "city": draw.random.choice(("Berlin", "Porto", "Osaka", "Lagos", "Kraków")),
        "state": None,
        "postalCode": draw.digits(5),
        "country": draw.random.choice(("DE", "PT", "JP", "NG", "PL")),
        "company": None,
        "email": f"{first}.{last}@example.org".casefold().replace("'", ""),
        "phone": f"+49 30 {draw.digits(7)}",
        "ssn": draw.digits(9),
        "username": None,
        "passportNumber": f"C{draw.digits(8)}",
        "licenseNumber": None,
    }
    return {"type": 4, "name": f"{first} {last}", "identity": identity}


def _note(draw: _Draw) -> Item:
    title = draw.random.choice(("Wi-Fi at home", "Alarm", "Garage door", "Insurance", "Recovery codes"))
    codes = "\n".join(f"{draw.digits(4)} {draw.digits(4)}" for _ in range(8))
    text = codes if title == "Recovery codes" else draw.random.choice(_NOTES)
    return {"type": 2, "name": title, "notes": text, "secureNote": {"type": 0}}


def _ssh_key(draw: _Draw) -> Item:
    host = f"{draw.random.choice(_WORDS)}.example.net"
    body = draw.base64(192)
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    key = {
        "privateKey": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n",
        "publicKey": f"ssh-ed25519 {draw.base64(51)} ann@{host}",
        "keyFingerprint": f"SHA256:{draw.base64(32).rstrip('=')}",
    }
    return {"type": 5, "name": f"root@{host}", "sshKey": key}


def _bank_account(draw: _Draw) -> Item:
    first, last = draw.person()
    account = {
        "bankName": "Example Bank",
        "nameOnAccount": f"{first} {last}",
        "accountType": "checking",
        "accountNumber": draw.digits(10),
        "routingNumber": draw.digits(9),
        "branchNumber": "",
        "pin": draw.digits(5),
        "swiftCode": "EXAMDEFFXXX",
        "iban": f"DE{draw.digits(20)}",
        "bankContactPhone": "+49 30 7654321",
    }
    return {"type": 6, "name": "Example Bank", "bankAccount": account}
