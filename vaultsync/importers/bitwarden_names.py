"""Bitwarden's numbers and names, and the fields of the ``passwords`` preset that they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from vaultsync.presets.custom import Custom

__all__ = ["FIELD_KINDS", "HARMLESS", "INTERNAL", "LINKS", "MATCHES", "SHAPES", "TYPES", "Shape"]

MATCHES: Final = ("base domain", "host", "starts with", "exact", "regular expression", "never")
TYPES: Final = {1: "login", 2: "secureNote", 3: "card", 4: "identity", 5: "sshKey"}
LINKS: Final = {
    100: "username", 101: "password",
    300: "cardholder", 301: "exp_month", 302: "exp_year", 303: "card_code", 304: "brand", 305: "card_number",
    400: "salutation", 401: "middle_name", 402: "address1", 403: "address2", 404: "address3", 405: "city",
    406: "region", 407: "postal_code", 408: "country", 409: "company", 410: "email", 411: "phone",
    412: "ssn", 413: "username",
    414: "passport_number", 415: "license_number", 416: "first_name", 417: "last_name", 418: "full_name",
}  # fmt: skip
INTERNAL: Final = {
    "key": "Bitwarden's own key of the item",
    "object": "Bitwarden's name for the kind of object",
    "organizationId": "the id of the organization at Bitwarden",
    "uriChecksum": "Bitwarden's checksum of the address",
}
#: left-over values of these are no secrets
HARMLESS: Final = frozenset({
    "archivedDate", "attachments", "collectionIds", "creationDate", "deletedDate", "favorite", "folderId", "reprompt",
    "revisionDate", "type",
})  # fmt: skip


class Shape(NamedTuple):
    type: str
    fields: Mapping[str, str]


SHAPES: Final[dict[str, Shape]] = {
    "login": Shape("login", {"username": "username", "password": "password", "totp": "totp"}),
    "secureNote": Shape("secure_note", {}),
    "card": Shape("card", {
        "cardholderName": "cardholder", "brand": "brand", "number": "card_number", "expMonth": "exp_month",
        "expYear": "exp_year", "code": "card_code",
    }),
    "identity": Shape("identity", {
        "title": "salutation", "firstName": "first_name", "middleName": "middle_name", "lastName": "last_name",
        "address1": "address1", "address2": "address2", "address3": "address3", "city": "city", "state": "region",
        "postalCode": "postal_code", "country": "country", "company": "company", "email": "email", "phone": "phone",
        "ssn": "ssn", "username": "username", "passportNumber": "passport_number", "licenseNumber": "license_number",
    }),
    "sshKey": Shape("ssh_key", {
        "privateKey": "private_key", "publicKey": "public_key", "keyFingerprint": "fingerprint",
        "fingerprint": "fingerprint",
    }),
    "bankAccount": Shape("bank_account", {
        "bankName": "bank_name", "nameOnAccount": "account_holder", "accountType": "account_type",
        "accountNumber": "account_number", "routingNumber": "routing_number", "branchNumber": "branch_number",
        "pin": "pin", "swiftCode": "swift_code", "iban": "iban", "bankContactPhone": "phone",
    }),
    "driversLicense": Shape("identity", {
        "firstName": "first_name", "middleName": "middle_name", "lastName": "last_name",
        "licenseNumber": "license_number",
    }),
    "passport": Shape("identity", {
        "givenName": "first_name", "surname": "last_name", "passportNumber": "passport_number",
    }),
}  # fmt: skip


def _plain_field(name: str, text: str | None, row: dict[str, Any]) -> list[Custom]:
    return [Custom(name, text)]


def _hidden_field(name: str, text: str | None, row: dict[str, Any]) -> list[Custom]:
    return [Custom(name, text, "hidden")]


def _flag_field(name: str, text: str | None, row: dict[str, Any]) -> list[Custom]:
    answer = {"true": "yes", "false": "no", None: None}.get(text, "")
    return [Custom(name, text, "hidden") if answer == "" else Custom(name, answer, "yes/no")]


def _linked_field(name: str, text: str | None, row: dict[str, Any]) -> list[Custom]:
    link = row.pop("linkedId", None) if type(row.get("linkedId")) is int else None
    found = [Custom(name, None if link is None else LINKS.get(link, str(link)), "linked")]
    return found if text is None else [*found, Custom(name, text, "hidden")]


FIELD_KINDS: Final[dict[int, Callable[[str, str | None, dict[str, Any]], list[Custom]]]] = {
    0: _plain_field, 1: _hidden_field, 2: _flag_field, 3: _linked_field,
}  # fmt: skip
