"""The schema of a password manager, with the timeline of one that has been around for a while.

======= =============================================================================================================
version what it brought
======= =============================================================================================================
1 (1.0) logins, secure notes, cards, identities, Wi-Fi notes
2 (2.0) custom fields, folders, one-time codes (``totp``); documents, on computers only. When a card expires became two
        fields, month and year, where 1.0 has "07/2030" in one
3 (3.0) SSH keys; password history, re-prompt; auto-type on Windows and Linux. Wi-Fi notes became Wi-Fi networks, which
        older versions go on showing as notes. The security question of a login is retired
4 (4.0) passkeys, in a login (an older version must not edit such a login) and of their own; bank accounts; cards lose
        the issue date that no bank prints any more
======= =============================================================================================================

A *folder* is one text, levels separated by ``/``: an entry is in one folder, as in the applications people come from.
What they may have several of (collections, tags, categories) are ``tags``. Custom fields: see ``presets/custom.py``.

Versions of this preset are published: nothing here is ever removed, only retired.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from vaultsync.schema.kinds import file, flag, instant, items, note, secret, tags, text
from vaultsync.schema.lenses import Convert, rename, split
from vaultsync.schema.types import EntryType, Field, Schema

__all__ = ["NAME", "NEWEST", "RELEASES", "SCHEMA", "passwords"]

NAME: Final = "passwords"
NEWEST: Final = 4
RELEASES: Final = {1: "1.0", 2: "2.0", 3: "3.0", 4: "4.0"}
DESKTOP: Final = frozenset({"windows", "macos", "linux"})

if TYPE_CHECKING:
    SCHEMA: Schema
    """The newest version on this machine's platform; built when it is first asked for."""


def passwords(version: int | None = None, platform: str | None = None) -> Schema:
    """The preset as ``version`` (default: the newest) had it on ``platform`` (default: this machine's).

    Raises SchemaError for a version or platform that never was.
    """
    newest = _newest()
    if version is None and platform is None:
        return newest
    return newest.at(NEWEST if version is None else version, platform=platform)


def __getattr__(name: str) -> Any:
    if name == "SCHEMA":
        return _newest()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@lru_cache(maxsize=1)
def _newest() -> Schema:
    types = [
        _login(), _secure_note(), _card(), _identity(), _document(), _ssh_key(), _passkey(), _bank_account(),
        _wifi(), _wifi_note(),
    ]  # fmt: skip
    return Schema(NAME, version=NEWEST, types=types, releases=RELEASES)


def _common(since: int = 1) -> list[Field]:
    """What every type has. ``since`` is the version of the type, when that is later than the field's own."""
    later = max(since, 2)
    return [
        Field("notes", note, label="Notes", since=since),
        Field("tags", tags, label="Tags", since=since),
        Field("favorite", flag, label="Favorite", since=since),
        Field("folder", text, label="Folder", since=later),
        Field("custom", items(text), label="Custom fields", since=later),
        Field("custom_secret", items(secret), label="Hidden custom fields", since=later),
        Field("reprompt", flag, label="Ask for the password again", since=max(since, 3)),
    ]


def _login() -> EntryType:
    fields = [
        Field("title", text, label="Title"),
        Field("username", text, label="User name"),
        Field("password", secret, label="Password"),
        Field("urls", items(text), label="Websites"),
        Field("security_question", text, label="Security question", until=3),
        Field("security_answer", secret, label="Security answer", until=3),
        Field("totp", secret, label="One-time code", since=2),
        Field("password_changed", instant, label="Password changed", since=3),
        Field("password_history", items(secret), label="Earlier passwords", since=3),
        Field("auto_type", text, label="Auto-type", since=3, platforms={"windows", "linux"}),
        # A version that does not know passkeys must not change the password of a login it cannot sign in to.
        Field("passkeys", items(secret), label="Passkeys", since=4, critical="write"),
    ]
    return EntryType("login", label="Login", fields=fields + _common())


def _secure_note() -> EntryType:
    fields = [Field("title", text, label="Title"), _history()]
    return EntryType("secure_note", label="Secure note", fields=fields + _common())


def _history() -> Field:
    return Field("password_history", items(secret), label="Earlier passwords", since=3)


def _card() -> EntryType:
    fields = [
        Field("title", text, label="Title"),
        Field("cardholder", text, label="Name on the card"),
        Field("brand", text, label="Brand"),
        Field("card_number", secret, label="Number"),
        Field("expiry", text, label="Expires", until=2),
        Field("exp_month", text, label="Expires, month", since=2),
        Field("exp_year", text, label="Expires, year", since=2),
        Field("card_code", secret, label="Security code"),
        Field("issue_date", text, label="Issued", until=4),
        Field("pin", secret, label="PIN", since=2),
        _history(),
    ]
    expires = split("expiry", ["exp_month", "exp_year"], sep="/", since=2)
    return EntryType("card", label="Card", fields=fields + _common(), lenses=[expires])


def _identity() -> EntryType:
    fields = [
        Field("title", text, label="Title"),
        Field("salutation", text, label="Form of address"),
        Field("first_name", text, label="First name"),
        Field("middle_name", text, label="Middle name"),
        Field("last_name", text, label="Last name"),
        Field("company", text, label="Company"),
        Field("username", text, label="User name"),
        Field("email", text, label="Email"),
        Field("phone", text, label="Phone"),
        Field("address1", text, label="Address"),
        Field("address2", text, label="Address, line 2"),
        Field("address3", text, label="Address, line 3"),
        Field("city", text, label="City"),
        Field("region", text, label="State or region"),
        Field("postal_code", text, label="Postal code"),
        Field("country", text, label="Country"),
        Field("ssn", secret, label="Social security number"),
        Field("passport_number", secret, label="Passport number"),
        Field("license_number", secret, label="License number"),
        _history(),
    ]
    return EntryType("identity", label="Identity", fields=fields + _common())


def _document() -> EntryType:
    fields = [
        Field("title", text, label="Title", since=2),
        Field("attachment", file, label="File", since=2),
        Field("expires", instant, label="Expires", since=2),
    ]
    return EntryType("document", label="Document", since=2, platforms=DESKTOP, fields=fields + _common(2))


def _ssh_key() -> EntryType:
    fields = [
        Field("title", text, label="Title", since=3),
        Field("private_key", secret, label="Private key", since=3),
        Field("public_key", text, label="Public key", since=3),
        Field("fingerprint", text, label="Fingerprint", since=3),
        _history(),
    ]
    return EntryType("ssh_key", label="SSH key", since=3, fields=fields + _common(3))


def _passkey() -> EntryType:
    fields = [
        Field("title", text, label="Title", since=4),
        Field("username", text, label="User name", since=4),
        Field("site", text, label="Website", since=4),
        Field("passkeys", items(secret), label="Passkeys", since=4, critical="write"),
    ]
    return EntryType("passkey", label="Passkey", since=4, fields=fields + _common(4))


def _bank_account() -> EntryType:
    fields = [
        Field("title", text, label="Title", since=4),
        Field("bank_name", text, label="Bank", since=4),
        Field("account_holder", text, label="Name on the account", since=4),
        Field("account_type", text, label="Kind of account", since=4),
        Field("account_number", secret, label="Account number", since=4),
        Field("routing_number", text, label="Routing number", since=4),
        Field("branch_number", text, label="Branch", since=4),
        Field("pin", secret, label="PIN", since=4),
        Field("swift_code", text, label="BIC", since=4),
        Field("iban", secret, label="IBAN", since=4),
        Field("phone", text, label="Phone", since=4),
        Field("password_history", items(secret), label="Earlier passwords", since=4),
    ]
    return EntryType("bank_account", label="Bank account", since=4, fields=fields + _common(4))


def _wifi() -> EntryType:
    fields = [
        Field("title", text, label="Title", since=3),
        Field("ssid", text, label="Network name", since=3),
        Field("password", secret, label="Password", since=3),
        Field("security", text, label="Security", since=3),
    ]
    return EntryType("wifi", label="Wi-Fi network", since=3, fields=fields + _common(3))


def _wifi_note() -> EntryType:
    fields = [
        Field("title", text, label="Title"),
        Field("network", text, label="Network"),
        Field("wifi_password", secret, label="Password"),
        Field("notes", note, label="Notes"),
        Field("tags", tags, label="Tags"),
    ]
    network = Convert("wifi", [rename("network", "ssid"), rename("wifi_password", "password")], keep_old=True)
    return EntryType("wifi_note", label="Wi-Fi note", until=3, fields=fields, converts=network)
