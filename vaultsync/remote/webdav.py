"""A WebDAV folder as a remote: Nextcloud, ownCloud, Apache, a router with a disk.

An object is sent under a temporary name and then moved with ``Overwrite: F``, which even servers that ignore
conditional PUTs honour; where moving is not to be had, a conditional PUT after a look has to do. Directories are made
when one is missed. News are noticed by hints (see ``hints``), kept flat in one directory: looking is one PROPFIND.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

from vaultsync.errors import ObjectMissing, RemoteError, RemoteRefused, RemoteUnavailable, UnsupportedRemote
from vaultsync.limits import MAX_ENVELOPE_BYTES, MAX_LISTING_BYTES
from vaultsync.remote.davxml import Found, multistatus
from vaultsync.remote.hints import FIRST_POLL, HINTS, LAST_POLL, Hinted, Hints, directory_of
from vaultsync.remote.port import check_name, check_prefix, is_name
from vaultsync.remote.web import Answer, Request, Web, refusal

if TYPE_CHECKING:
    import httpx

__all__ = ["PASSWORD_VARIABLE", "USER_VARIABLE", "DavRemote"]

USER_VARIABLE: Final = "VAULTSYNC_DAV_USER"
PASSWORD_VARIABLE: Final = "VAULTSYNC_DAV_PASSWORD"  # noqa: S105 - its name, not its value
_ADVICE: Final = (
    f"check name and password (in the address as dav+https://name:password@host/folder, or in {USER_VARIABLE} and "
    f"{PASSWORD_VARIABLE}), and whether they may write there"
)
_WHOM: Final = "the WebDAV server"
_TEMP: Final = ".~vaultsync-"  # in the directory of the object; no object's name begins with a dot
_LEFT_OVER: Final = re.compile(re.escape(_TEMP) + r"[0-9a-f]{16}\.tmp$")
_PATIENCE: Final = 20
_PAUSE: Final = 0.1
"""Looks, and seconds between them, at an object that somebody else seems to be putting without MOVE."""
_TURNS: Final = 3
"""How often that is waited for; in between it is finished from here."""
_STALE_SECONDS: Final = 24 * 3600.0
_SLASH: Final = "="  # stands for "/" in a hint's flat name; no object's name holds one
_PROPFIND: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getetag/><getlastmodified/><getcontentlength/></prop></propfind>"
)
_Names = list[str]
_Finds = list[Found]
_LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1")


class DavRemote(Hinted):
    """Objects below ``url``, one collection a segment of the name.

    ``dav+https://name:password@host:port/folder`` (or ``dav+http://``, where the password is only ever sent as a
    digest, except to this machine itself). Raises ``UnsupportedRemote`` and ``ExtraMissing``. ``create`` makes the
    folder and shows at once what is wrong. ``first`` and ``last`` are seconds between looks for news.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = False,
        first: float = FIRST_POLL,
        last: float = LAST_POLL,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._root, user, password, digest = _taken_apart(url, environment)
        self._base = unquote(urlsplit(self._root).path)
        self._movable = True

        def auth() -> httpx.Auth:
            import httpx

            return httpx.DigestAuth(user, password) if digest else httpx.BasicAuth(user, password)

        self._web = Web(_WHOM, auth=auth if user or password else None)
        self._hints = Hints(self._look, first=first, last=last)
        if create:
            self._create()

    def __repr__(self) -> str:
        return "DavRemote()"

    # ---- the port -------------------------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``. Two writes and a move."""
        check_name(name)
        if len(data) > MAX_ENVELOPE_BYTES:
            raise RemoteRefused(f"{name} is larger than an object may be ({MAX_ENVELOPE_BYTES >> 20} MiB)")
        if self._movable:
            self._put_by_moving(name, data)
        else:
            self._put_directly(name, data)
        hint = f"{HINTS}/{directory_of(name).replace('/', _SLASH)}{_SLASH}"
        # Locked: somebody is writing news of this directory at this moment, and that tells of this object as well.
        said = self._upload(hint, secrets.token_hex(8).encode(), f"noting news of {name}", also=(423,))
        self._hints.changed(name, said.headers.get("etag") if said.status != 423 else None)

    def get(self, name: str) -> bytes:
        """See ``Remote.get``. Reads no more than the largest object, whatever the server says."""
        doing = f"reading {check_name(name)}"
        answer = self._ask("GET", name, doing, limit=MAX_ENVELOPE_BYTES)
        # A collection answers a GET with 405, or with a page for people at an address with a slash.
        if answer.status in (301, 302, 307, 308, 404, 405, 410) or answer.too_large:
            raise ObjectMissing(f"no object {name} on {_WHOM}")
        if answer.status != 200 or (answer.headers.get("content-type") or "").startswith("httpd/unix-directory"):
            raise self._refusal(answer, doing)
        return answer.body

    def list(self, prefix: str) -> list[str]:
        """See ``Remote.list``. One PROPFIND a directory."""
        prefix = check_prefix(prefix)
        return self._hints.listed(prefix, lambda: self._walk(prefix))

    def delete(self, name: str) -> None:
        """See ``Remote.delete``. A collection of that name is left alone, and so are empty collections."""
        doing = f"deleting {check_name(name)}"
        found = self._propfind(name, doing, depth="0")
        if found and not any(one.collection for one in found):
            self._expect(self._ask("DELETE", name, doing), doing, 200, 202, 204, 404, 410)
        self._hints.changed(name)

    def close(self) -> None:
        """See ``Remote.close``."""
        self._web.close()

    # ---- writing --------------------------------------------------------------------------------------------------

    def _put_by_moving(self, name: str, data: bytes) -> None:
        doing = f"storing {name}"
        directory = directory_of(name)
        temp = f"{directory}{'/' if directory else ''}{_TEMP}{secrets.token_hex(8)}.tmp"
        self._upload(temp, data, doing)
        left_over = True
        try:
            headers = {"Destination": self._url(name), "Overwrite": "F"}
            answer = self._ask("MOVE", temp, doing, headers=headers)
            if answer.status in (201, 204):
                left_over = False
            elif answer.status in (404, 409, 412, 423):  # taken, or moved already by a try whose answer was lost
                self._settled(name, data, doing)
            elif answer.status in (403, 405, 501, 502):
                self._movable = False
                self._put_directly(name, data)
            else:
                raise self._refusal(answer, doing)
        except RemoteUnavailable:
            # Perhaps the move was done and its answer lost. What is there now decides; nothing there: try again later.
            if self._read(name, doing) != data:
                raise
        finally:
            if left_over:
                with contextlib.suppress(RemoteError):
                    self._ask("DELETE", temp, doing)

    def _put_directly(self, name: str, data: bytes) -> None:
        """Not atomic against somebody who puts other bytes at the same moment, which no honest device does."""
        doing = f"storing {name}"
        if self._read(name, doing) is None:
            answer = self._upload(name, data, doing, headers={"If-None-Match": "*"}, also=(412,))
            if answer.status != 412:
                return
        self._completed(name, data, doing)

    def _completed(self, name: str, data: bytes, doing: str) -> None:
        """What is there may be the beginning of the same bytes, or nothing yet: somebody is putting them, or died doing
        so. Waited for, and in the end finished: writing the same bytes over their beginning harms nobody."""
        for turn in range(_TURNS):
            for _ in range(_PATIENCE):
                there = self._read(name, doing)
                if there is not None and (there == data or not _begins(there, data)):
                    return self._settle(name, there, data)
                time.sleep(_PAUSE)
            if turn < _TURNS - 1:  # others may finish it at the same time: theirs begins anew, too
                self._upload(name, data, doing)
        raise RemoteUnavailable(f"{name} on {_WHOM} is being written again and again; try again")

    def _settled(self, name: str, data: bytes, doing: str) -> None:
        self._settle(name, self._read(name, doing), data)

    def _settle(self, name: str, there: bytes | None, data: bytes) -> None:
        """Whether ``there`` is what it should be. Raises ``RemoteUnavailable`` and ``RemoteRefused``."""
        if there is None:
            raise RemoteUnavailable(f"{name} comes and goes on {_WHOM}; try again")
        if there != data:
            raise RemoteRefused(f"{name} on {_WHOM} already holds something else; nothing was changed")

    def _read(self, name: str, doing: str) -> bytes | None:
        """None when nothing is there. What is larger than any object may be is something else than any object."""
        answer = self._ask("GET", name, doing, limit=MAX_ENVELOPE_BYTES)
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise self._refusal(answer, doing)
        return b"\0" * (MAX_ENVELOPE_BYTES + 1) if answer.too_large else answer.body

    def _upload(
        self,
        path: str,
        data: bytes,
        doing: str,
        *,
        headers: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Answer:
        for attempt in (0, 1):
            answer = self._ask("PUT", path, doing, headers=headers, content=data)
            if answer.status not in (404, 409) or attempt:
                break
            self._make(directory_of(path), doing)
        return self._expect(answer, doing, 200, 201, 204, *also)

    def _make(self, path: str, doing: str) -> None:
        """Make a collection, and those above it as far as they are missing, the remote's own folder included."""
        answer = self._ask("MKCOL", path + "/" if path else "", doing)
        if answer.status in (404, 409) and path:
            self._make(directory_of(path), doing)
            answer = self._ask("MKCOL", path + "/", doing)
        self._expect(answer, doing, 200, 201, 405)  # 405: it is there

    def _create(self) -> None:
        doing = "preparing the folder"
        if self._propfind("", doing, depth="0") is None:
            answer = self._ask("MKCOL", "", doing)
            if answer.status in (404, 409):
                raise RemoteRefused(f"{doing}: the folder above it is not on {_WHOM}; make it, or correct the address")
            self._expect(answer, doing, 200, 201, 405)
        self._make(HINTS, doing)

    def _sweep(self, answer: Answer, found: _Finds) -> None:
        """Remove what died processes left, when it is met. Both times come from the server."""
        with contextlib.suppress(RemoteError, ValueError, TypeError, KeyError):
            now = parsedate_to_datetime(answer.headers["date"])
            for one in found:
                path = self._relative(one.href) or ""
                if _LEFT_OVER.search(path) and not one.collection:
                    age = now - parsedate_to_datetime(one.modified)
                    if age.total_seconds() > _STALE_SECONDS:
                        self._ask("DELETE", path, "tidying up")

    # ---- looking --------------------------------------------------------------------------------------------------

    def _walk(self, prefix: str) -> _Names:
        names, pending = [], [prefix]
        while pending:
            base = pending.pop()
            found = self._propfind(base, "listing", depth="1")
            if found is None and base == prefix:
                self._present()
            for one in found or ():
                name = (self._relative(one.href) or "").rstrip("/")
                if not is_name(name) or directory_of(name) != base.rstrip("/"):
                    continue
                if one.collection:
                    pending.append(name + "/")
                else:
                    names.append(name)
        return sorted(set(names))

    def _present(self) -> None:
        """An empty listing because the folder itself is gone is no empty remote."""
        if self._propfind("", "listing", depth="0") is None:
            raise RemoteUnavailable(
                f"the folder is not on {_WHOM} (any more); to use it as a new remote, connect to it"
            )

    def _look(self, prefix: str) -> Mapping[str, str]:
        found = self._propfind(HINTS + "/", "looking for news", depth="1")
        if found is None:
            self._present()
        seen = {}
        for one in found or ():
            flat = (self._relative(one.href) or "").removeprefix(HINTS + "/")
            directory = flat.removesuffix(_SLASH).replace(_SLASH, "/")
            if flat.endswith(_SLASH) and (directory + "/").startswith(prefix) and not one.collection:
                seen[directory] = f"{one.etag} {one.modified} {one.size}"
        return seen

    def _propfind(self, path: str, doing: str, *, depth: str) -> _Finds | None:
        """What the server tells of a resource (and what it holds); None when it is not there."""
        answer = self._ask(
            "PROPFIND",
            path,
            doing,
            headers={"Depth": depth, "Content-Type": "application/xml"},
            content=_PROPFIND,
            limit=MAX_LISTING_BYTES,
        )
        if answer.status in (404, 410):
            return None
        if answer.too_large:
            raise RemoteRefused(f"{doing}: {_WHOM} lists more than can be taken in")
        if answer.status == 405:
            raise RemoteRefused(f"{doing}: this is a web server without WebDAV; correct the address")
        self._expect(answer, doing, 207)
        try:
            found = multistatus(answer.body)
        except ValueError:
            raise RemoteUnavailable(f"{doing}: {_WHOM} answers with something that is no listing") from None
        self._sweep(answer, found)
        return found

    def _relative(self, href: str) -> str | None:
        """The path below the remote's folder that an answer speaks of."""
        path = unquote(urlsplit(href).path)
        return path[len(self._base) :] if path.startswith(self._base) else None

    # ---- requests -------------------------------------------------------------------------------------------------

    def _url(self, path: str) -> str:
        return self._root + quote(path, safe="/=")

    def _ask(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        limit: int = 1 << 20,
    ) -> Answer:
        made = dict(headers or {})
        return self._web.send(Request(method, self._url(path), lambda: made, content, limit=limit), doing)

    def _expect(self, answer: Answer, doing: str, *statuses: int) -> Answer:
        if answer.status not in statuses:
            raise self._refusal(answer, doing)
        return answer

    def _refusal(self, answer: Answer, doing: str) -> RemoteError:
        return refusal(answer.status, doing, _WHOM, _ADVICE)


def _taken_apart(url: str, environment: Mapping[str, str]) -> tuple[str, str, str, bool]:
    """The folder's address with its slash and without credentials, user, password, whether to use digests only."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
        scheme = parts.scheme.lower().removeprefix("dav+")
    except ValueError:
        host = None
    if not host or not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise UnsupportedRemote("a WebDAV address is dav+https://host/folder")
    if parts.query or parts.fragment:
        raise UnsupportedRemote("a WebDAV address has no '?' or '#'; when the folder's name has one, write %3F or %23")
    user = unquote(parts.username or "") or environment.get(USER_VARIABLE, "")
    password = unquote(parts.password or "") or environment.get(PASSWORD_VARIABLE, "")
    shown = f"[{host}]" if ":" in host else host
    path = quote(unquote(parts.path).strip("/"), safe="/")
    root = f"{scheme}://{shown}{f':{port}' if port else ''}/{path}{'/' if path else ''}"
    return root, user, password, scheme == "http" and not _LOOPBACK.fullmatch(host)


def _begins(there: bytes, data: bytes) -> bool:
    """Whether ``there`` is less than ``data`` and agrees with it, up to zeros that a server has yet to fill in."""
    agreed = there.rstrip(b"\0")
    return len(there) <= len(data) and data.startswith(agreed)
