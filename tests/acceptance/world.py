"""The world of the acceptance tests: one application at two releases, one person's devices, a folder between them.

Everything is real but the price of a password: files, the shared folder, encryption, threads.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import vaultsync as vs
from vaultsync.testing import environment

PREVIOUS: Final = 9
LATEST: Final = 10
DESKTOP: Final = frozenset({"windows", "macos", "linux"})
PASSWORD: Final = "correct horse battery staple"
PATIENCE: Final = 60.0
"""Seconds until something that should happen by itself counts as not happening."""

login = vs.EntryType("login", label="Login", fields=[
    vs.Field("title", vs.text),
    vs.Field("username", vs.text),
    vs.Field("password", vs.secret),
    vs.Field("tags", vs.tags),
    vs.Field("hint", vs.text, label="Password hint", until=LATEST),
    vs.Field("emails", vs.items(vs.text), label="Emails", since=LATEST),
    vs.Field("auto_type", vs.text, label="Auto-type", platforms=DESKTOP),
])  # fmt: skip
passkey = vs.EntryType("passkey", label="Passkey", since=LATEST, fields=[vs.Field("title", vs.text, since=LATEST)])
scan = vs.EntryType("scan", label="Scan", platforms=DESKTOP, fields=[vs.Field("title", vs.text)])
fax = vs.EntryType("fax", label="Fax number", until=LATEST, fields=[
    vs.Field("title", vs.text),
    vs.Field("fax_number", vs.text),
])  # fmt: skip
to_wifi = vs.Convert(to="wifi", lenses=[vs.rename("network", "ssid"), vs.rename("wifi_password", "password")])
wifi_note = vs.EntryType("wifi_note", label="Wi-Fi note", until=LATEST, converts=to_wifi, fields=[
    vs.Field("title", vs.text),
    vs.Field("network", vs.text),
    vs.Field("wifi_password", vs.secret),
])  # fmt: skip
wifi = vs.EntryType("wifi", label="Wi-Fi network", since=LATEST, fields=[
    vs.Field("title", vs.text, since=LATEST),
    vs.Field("ssid", vs.text, since=LATEST),
    vs.Field("password", vs.secret, since=LATEST),
])  # fmt: skip
SCHEMA: Final = vs.Schema(
    "acme-pass",
    version=LATEST,
    platform="linux",
    types=[login, passkey, scan, fax, wifi_note, wifi],
    releases={PREVIOUS: "9.2", LATEST: "10.0"},
)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds, with nobody doing anything."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"still not so after {PATIENCE:g} seconds")
        time.sleep(0.02)


class World:
    """The person's devices and the folder they share. Whatever is open is closed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = (folder / "shared").as_uri()
        self._code = ""
        self._open: list[vs.Vault] = []
        self._made = 0

    def device(
        self,
        name: str,
        version: int = LATEST,
        platform: str = "linux",
        *,
        automatic: bool | None = None,
    ) -> vs.Vault:
        """One more device. The first one makes the vault, the others join it with its password and recovery code.

        ``automatic``: what automatic sync is set to; left as it is in a fresh install if left out.
        """
        schema = SCHEMA.at(version, platform)
        if self._code:
            vault = self._join(name, schema, self.remote)
        else:
            path = self.folder / f"{name}.vault"
            vault = vs.Vault.create(path, schema=schema, password=PASSWORD, device=name, environment=environment(name))
            self._open.append(vault)
            self._code = vault.recovery_code or ""
            vault.connect(self.remote)
            vault.sync()
        if automatic is not None:
            vault.auto_sync = automatic
        return vault

    def device_on_a_stick(self, name: str) -> vs.Vault:
        """One that joined from a copy of the shared folder as it is now."""
        stick = self.folder / "stick"
        shutil.copytree(self.folder / "shared", stick)
        return self._join(name, SCHEMA, stick.as_uri())

    def _join(self, name: str, schema: vs.Schema, url: str) -> vs.Vault:
        path = self.folder / f"{name}.vault"
        vault = vs.Vault.join(
            path, url, schema=schema, password=PASSWORD, code=self._code, device=name, environment=environment(name)
        )
        self._open.append(vault)
        return vault

    def update_app(self, vault: vs.Vault, version: int = LATEST) -> vs.Vault:
        """Close the vault and open it with another release of the application on the same platform."""
        vault.close()
        self._open.remove(vault)
        self._made += 1
        opened = vs.Vault.open(
            vault.path,
            schema=vault.schema.at(version),
            password=PASSWORD,
            environment=environment(f"{vault.path} {self._made}"),
        )
        self._open.append(opened)
        return opened

    def close(self) -> None:
        for vault in self._open:
            vault.close()


def sync(*vaults: vs.Vault) -> None:
    """Everybody syncs by hand until everybody has everything."""
    for vault in (*vaults, *vaults):
        vault.sync()


def contents(vault: vs.Vault) -> dict[str, tuple[str, str, dict[str, object]]]:
    """What a person sees: status, type and fields of every entry."""
    view = vault.view()
    every = (*view.entries, *view.archived, *view.trash)
    return {entry.id: (entry.status.value, entry.type, dict(entry.fields)) for entry in every}
