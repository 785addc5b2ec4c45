"""From an address to a remote. Says, for every address that cannot be used, what to write instead.

No message repeats an address of a server: it may hold credentials.
"""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from vaultsync.errors import UnsupportedRemote
from vaultsync.remote.folder import FolderRemote
from vaultsync.remote.port import Remote
from vaultsync.remote.signing import Signer

__all__ = ["folder_of", "is_exposed", "masked", "open_remote"]

_AVAILABLE: Final = (
    "Available: a folder, as file:///path or as an absolute path (a synced folder, a share, a USB stick); "
    "https://host, a relay; s3://bucket/folder, gs://bucket/folder, az://container/folder; dav+https://host/folder."
)
_ELSEWHERE: Final = {
    "http": "a relay",
    "https": "a relay",
    "s3": "an S3 bucket",
    "gs": "a Google Cloud Storage bucket",
    "az": "an Azure container",
    "dav+https": "a WebDAV folder",
    "dav+http": "a WebDAV folder",
}
_OBJECTS: Final = ("s3", "gs", "az")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two characters at least: "C:" is a drive
_DRIVE: Final = re.compile(r"[A-Za-z]:(?=[\\/])")


def open_remote(url: str | os.PathLike[str], *, create: bool = False, signer: Signer | None = None) -> Remote:
    """The remote at ``url``: a folder, a bucket (extra ``objects``), a WebDAV folder or a relay (extra ``http``).

    ``signer`` signs what is asked of a relay (see ``signing``); without one, a relay shows account slots only.
    With ``create`` (connecting for the first time) a folder is made ready and a server is asked whether it will do;
    without, nothing is touched.
    Raises ``UnsupportedRemote`` for an address that is not usable, with what to write instead, ``ExtraMissing`` with
    the command that installs what is needed, and with ``create`` also ``RemoteUnavailable`` and ``RemoteRefused``.
    Without ``create`` a remote that is not there just now is no error yet.
    """
    scheme = _SCHEME.match(os.fspath(url))
    kind = scheme[1].lower() if scheme else ""
    if kind in _OBJECTS:
        from vaultsync.remote.objects import ObjectRemote

        return ObjectRemote.open(os.fspath(url), create=create)
    if kind in ("dav+https", "dav+http"):
        from vaultsync.remote.webdav import DavRemote

        return DavRemote(os.fspath(url), create=create)
    if kind in ("https", "http"):
        from vaultsync.remote.relay import RelayRemote

        return RelayRemote(os.fspath(url), signer=signer, create=create)
    return FolderRemote(folder_of(os.fspath(url), windows=os.name == "nt"), create=create)


def is_exposed(url: str) -> bool:
    """Whether what is said to a server goes over a network in the clear: plain HTTP, and not to this very machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme.lower() not in ("http", "dav+http"):
        return False
    return host != "localhost" and not host.endswith(".localhost") and host != "::1" and not host.startswith("127.")


def masked(url: str) -> str:
    """An address for a person to read: a password in it is masked."""
    return re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:…@", url)


def folder_of(url: str, *, windows: bool) -> str:
    """The folder that ``url`` names, for a machine with or without drive letters. Raises ``UnsupportedRemote``."""
    if windows and (_DRIVE.match(url) or url.startswith("\\\\")):
        return _checked(url)
    scheme = _SCHEME.match(url)
    if scheme is None:
        if url.startswith("/") and not windows:
            return _checked(url)
        if _DRIVE.match(url):
            raise UnsupportedRemote(f"an address with a drive letter works on Windows only. {_AVAILABLE}")
        raise UnsupportedRemote(
            f"not an absolute path: {url[:80]!r}. A relative path would mean another folder in every program that "
            "opens the vault; write it from the root on" + ("." if not url.startswith("~") else ", without '~'.")
        )
    name = scheme[1].lower()
    if name in _ELSEWHERE:
        raise UnsupportedRemote(f"a folder is needed here, not {_ELSEWHERE[name]} ({name}://). {_AVAILABLE}")
    if name != "file":
        raise UnsupportedRemote(f"unknown kind of remote: {name}:. {_AVAILABLE}")
    return _file_url(url[len("file:") :], windows=windows)


def _file_url(rest: str, *, windows: bool) -> str:
    if "?" in rest or "#" in rest:
        raise UnsupportedRemote("a file address has no '?' or '#'; when the folder's name has one, write %3F or %23")
    host, path = "", rest
    if rest.startswith("//"):
        host, slash, tail = rest[2:].partition("/")
        path = slash + tail
    elif not rest.startswith("/"):
        raise UnsupportedRemote(f"a relative file address: write file:///full/path, not file:{rest[:60]}")
    if _DRIVE.match(rest.removeprefix("//")):
        host, path = "", "/" + rest.removeprefix("//")  # file://C:/x, a common slip that can mean only one thing
    if re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise UnsupportedRemote("a '%' in a file address begins a code of two hex digits; write a plain '%' as %25")
    decoded = os.fsdecode(unquote_to_bytes(path))
    if host and host.lower() != "localhost":
        if windows:
            return _checked("\\\\" + host + decoded.replace("/", "\\"))
        raise UnsupportedRemote(
            f"file://{host[:40]}/… names another computer. For a folder here write three slashes: file:///{host[:40]}/…"
        )
    drive = _DRIVE.match(decoded[1:])
    if windows:
        if drive is None:
            raise UnsupportedRemote("a file address on Windows names the drive: file:///C:/folder")
        return _checked(decoded[1:].replace("/", "\\"))
    if drive is not None:
        raise UnsupportedRemote(f"an address with a drive letter works on Windows only. {_AVAILABLE}")
    return _checked(decoded)


def _checked(path: str) -> str:
    if "\0" in path:
        raise UnsupportedRemote("the address holds a zero byte, which no folder's name can")
    if not path.strip("/\\"):
        raise UnsupportedRemote("the address names the root of the file system; name a folder for the vault below it")
    return path
