"""A bucket as a remote: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage. No server of ours.

Write-once is kept without conditional writes, which several S3 servers accept and ignore: a put asks first what is
there, and two that race can only write the same bytes, since names contain a hash of what they hold. Where the storage
knows conditional writes they are used as well. One edit is one question and two writes (the object and its directory's
hint, see ``hints``); waiting without news is one LIST a look.

Credentials come from the environment or from obstore's own configuration (profiles, instance roles), never from the
address. The libraries below put addresses, which may be signed, into their messages: none of those is passed on.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from vaultsync.errors import (
    ExtraMissing,
    ObjectMissing,
    RemoteError,
    RemoteRefused,
    RemoteUnavailable,
    UnsupportedRemote,
)
from vaultsync.limits import MAX_ENVELOPE_BYTES
from vaultsync.remote.hints import FIRST_POLL, HINTS, LAST_POLL, Hinted, Hints, directory_of
from vaultsync.remote.port import check_name, check_prefix, is_name

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["ObjectRemote", "store_of"]

_HINT_LEAF: Final = "_"  # beside directories of hints, on servers that keep keys as files too
_SERVICES: Final = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
_OPTIONS: Final = {"s3": ("endpoint", "region", "style"), "gs": ("endpoint",), "az": ("account", "endpoint")}
_ADVICE: Final = {
    "s3": "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from the machine's role",
    "gs": "credentials come from GOOGLE_APPLICATION_CREDENTIALS, or from the machine's service account",
    "az": "credentials come from AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or the machine's identity",
}
_STATUS: Final = re.compile(r"status code: ([0-9]{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_FULL: Final = frozenset({"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "StorageFull"})
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_GET_PAUSE_BYTES: Final = 1 << 20
_T = TypeVar("_T")
_Names = list[str]
_Keys = list[tuple[str, str]]


def store_of(url: str) -> ObjectStore:
    """The bucket that ``url`` names.

    ``s3://bucket/prefix?endpoint=https://host&region=…&style=path``, ``gs://bucket/prefix``,
    ``az://container/prefix?account=…``; every part but the bucket may be left out. The endpoint and region may also
    come from the environment (``AWS_ENDPOINT_URL``, ``AWS_REGION``, …). Raises ``UnsupportedRemote`` and
    ``ExtraMissing``.
    """
    scheme, bucket, prefix, options = _taken_apart(url)
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise ExtraMissing(
            f"{_SERVICES[scheme]} needs an optional part of this package: pip install 'vaultsync[objects]'"
        ) from None
    endpoint = options.get("endpoint", "")
    client: Any = {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=10)}
    if not endpoint or endpoint.startswith("http://"):
        client["allow_http"] = True  # what is sent is sealed and requests are signed; without endpoint, https is meant
    common: Any = {
        "prefix": prefix or None,
        "client_options": client,
        "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
    }
    config: Any = {"endpoint": endpoint} if endpoint else {}
    try:
        if scheme == "s3":
            if "region" in options:
                config["region"] = options["region"]
            if endpoint or "style" in options:
                config["virtual_hosted_style_request"] = options.get("style") == "host"
            return S3Store(bucket, config=config, **common)
        if scheme == "gs":
            if endpoint:
                config = {"base_url": endpoint}
            return GCSStore(bucket, config=config, **common)
        if "account" in options:
            config["account_name"] = options["account"]
        return AzureStore(bucket, config=config, **common)
    except Exception:  # obstore raises several unrelated types for configuration; their text may hold what is secret
        raise UnsupportedRemote(
            f"the address or the environment does not describe a bucket of {_SERVICES[scheme]}; {_ADVICE[scheme]}"
        ) from None


def _taken_apart(url: str) -> tuple[str, str, str, dict[str, str]]:
    """Scheme, bucket, prefix and options. Repeats nothing of the address but names of options."""
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise UnsupportedRemote("the address of the bucket cannot be read: write s3://bucket/folder") from None
    scheme = parts.scheme.lower()
    if "@" in parts.netloc:
        raise UnsupportedRemote(f"credentials do not belong into an address; {_ADVICE[scheme]}")
    if not parts.netloc or ":" in parts.netloc or parts.fragment:
        raise UnsupportedRemote(f"an address of {_SERVICES[scheme]} is {scheme}://bucket/folder")
    options = dict(pairs)
    known = _OPTIONS[scheme]
    for option, value in pairs:
        if option not in known:
            named = option if re.fullmatch(r"[a-z_]{1,20}", option) else "…"
            raise UnsupportedRemote(
                f"the address has no option {named!r}; known are {', '.join(known)}, and {_ADVICE[scheme]}"
            )
        if option == "endpoint" and (not re.match(r"https?://[^/@]+/?$", value)):
            raise UnsupportedRemote("endpoint= is the address of the service alone, like https://s3.example.org")
        if option == "style" and value not in ("path", "host"):
            raise UnsupportedRemote("style= is path (…/bucket/name) or host (bucket.…/name)")
    return scheme, parts.netloc, unquote(parts.path).strip("/"), options


class ObjectRemote(Hinted):
    """Objects below a prefix of one bucket, by obstore.

    ``first`` and ``last`` are seconds between looks for news. With ``create`` (connecting for the first time) the
    bucket is asked once, so that a wrong name or key is an error now; no bucket is ever made.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        create: bool = False,
        service: str = "s3",
        first: float = FIRST_POLL,
        last: float = LAST_POLL,
    ) -> None:
        self._store = store
        self._service = service
        self._conditional = True
        self._hints = Hints(self._look, first=first, last=last)
        if create:
            self._look("")

    @classmethod
    def open(cls, url: str, *, create: bool = False) -> ObjectRemote:
        """The remote at ``url``, see ``store_of``."""
        return cls(store_of(url), create=create, service=urlsplit(url).scheme.lower())

    def __repr__(self) -> str:
        return f"ObjectRemote({_SERVICES[self._service]})"

    # ---- the port -------------------------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``. Larger than any object may be is refused before anything is sent."""
        check_name(name)
        if len(data) > MAX_ENVELOPE_BYTES:
            raise RemoteRefused(f"{name} is larger than an object may be ({MAX_ENVELOPE_BYTES >> 20} MiB)")
        if not self._settled(name, data):
            self._create(name, data)
        hint = "/".join(part for part in (HINTS, directory_of(name), _HINT_LEAF) if part)
        written = self._write(hint, secrets.token_hex(8).encode(), f"noting news of {name}")
        self._hints.changed(name, str(written.get("e_tag") or "") or None)

    def get(self, name: str) -> bytes:
        """See ``Remote.get``. Reads no more than the largest object, whatever the server says."""
        data = self._read(check_name(name))
        if data is None:
            raise ObjectMissing(f"no object {name} in the bucket")
        return data

    def list(self, prefix: str) -> list[str]:
        """See ``Remote.list``. Right after ``wait`` looked, what it saw unchanged is not asked for again."""
        prefix = check_prefix(prefix)
        return self._hints.listed(prefix, lambda: self._list(prefix))

    def delete(self, name: str) -> None:
        """See ``Remote.delete``."""
        import obstore

        check_name(name)
        self._call(lambda: obstore.delete(self._store, name), f"deleting {name}", missing=None)
        self._hints.changed(name)

    def close(self) -> None:
        """See ``Remote.close``. Connections end with the last use of the store."""

    # ---- requests -------------------------------------------------------------------------------------------------

    def _settled(self, name: str, data: bytes) -> bool:
        """Whether the object is stored; ``RemoteRefused`` when something else is."""
        import obstore

        found = self._call(lambda: obstore.head(self._store, name), f"looking for {name}", missing=None)
        if found is None:
            return False
        if found["size"] == len(data) and self._read(name) == data:
            return True
        raise RemoteRefused(f"{name} in the bucket already holds something else; nothing was changed")

    def _create(self, name: str, data: bytes) -> None:
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        if self._conditional:
            try:
                self._write(
                    name, data, f"storing {name}", mode="create", through=(AlreadyExistsError, NotSupportedError)
                )
            except (NotSupportedError, NotImplementedError):
                self._conditional = False
            except (AlreadyExistsError, FileExistsError):  # somebody was faster
                if not self._settled(name, data):
                    raise RemoteUnavailable(f"{name} comes and goes in the bucket; try again") from None
                return
            else:
                return
        self._write(name, data, f"storing {name}")

    def _write(
        self, key: str, data: bytes, doing: str, *, mode: str = "overwrite", through: tuple[type[Exception], ...] = ()
    ) -> Mapping[str, Any]:
        """What the service says of it."""
        import obstore

        made: Any = mode
        said: Mapping[str, Any] = self._call(
            lambda: obstore.put(self._store, key, data, mode=made, use_multipart=False),
            doing,
            through=(*through, FileExistsError, NotImplementedError) if through else (),
        )
        return said

    def _read(self, name: str) -> bytes | None:
        """None for what is not there or larger than any object may be."""
        import obstore

        def read() -> bytes | None:
            answer = obstore.get(self._store, name)
            if answer.meta["size"] > MAX_ENVELOPE_BYTES:
                return None
            gathered = bytearray()
            for piece in answer.stream(min_chunk_size=_GET_PAUSE_BYTES):
                gathered += memoryview(piece)
                if len(gathered) > MAX_ENVELOPE_BYTES:
                    return None
            return bytes(gathered)

        data: bytes | None = self._call(read, f"reading {name}", missing=None)
        return data

    def _list(self, prefix: str) -> _Names:
        return sorted(key for key, _ in self._keys(prefix) if is_name(key))

    def _look(self, prefix: str) -> Mapping[str, str]:
        seen = {}
        for key, tag in self._keys(f"{HINTS}/{prefix}"):
            directory, _, leaf = key.removeprefix(HINTS).removeprefix("/").rpartition("/")
            if leaf == _HINT_LEAF:
                seen[directory] = tag
        return seen

    def _keys(self, prefix: str) -> _Keys:
        """Keys below ``prefix`` with what changes when they are overwritten; pages are followed by obstore."""
        import obstore

        def listed() -> _Keys:
            found: _Keys = []
            for page in obstore.list(self._store, prefix or None, chunk_size=1000):
                found += [(meta["path"], f"{meta['e_tag']} {meta['last_modified']} {meta['size']}") for meta in page]
            return found

        keys: _Keys = self._call(listed, "listing")
        return keys

    _RAISE: Final = object()

    def _call(
        self,
        request: Callable[[], _T],
        doing: str,
        *,
        missing: Any = _RAISE,
        through: tuple[type[Exception], ...] = (),
    ) -> Any:
        """What ``request`` gives; ``missing`` for an object that is not there; everything else as an error of ours."""
        try:
            return request()
        except RemoteError:
            raise
        except through:
            raise
        except FileNotFoundError as error:
            code = _CODE.search(str(error))
            if missing is not self._RAISE and (code is None or code[1] != "NoSuchBucket"):
                return missing
            self._fail(error, doing)
        except Exception as error:  # obstore's own errors, and built-in ones that it maps some to
            self._fail(error, doing)

    def _fail(self, error: Exception, doing: str) -> NoReturn:
        """Sorts by status and code alone: the text holds addresses, which may be signed."""
        text = str(error)
        found, coded = _STATUS.search(text), _CODE.search(text)
        status, code = int(found[1]) if found else 0, coded[1] if coded else ""
        service = _SERVICES[self._service]
        said = f" ({code or status})" if code or status else ""
        if code in _CLOCK:
            raise RemoteUnavailable(
                f"{doing}: {service} says that this computer's clock is wrong; set it{said}"
            ) from None
        if code == "NoSuchBucket" or (status == 404 and doing == "listing") or isinstance(error, FileNotFoundError):
            raise RemoteRefused(f"{doing}: there is no such bucket; make it, or correct the address{said}") from None
        if code in _FULL or status == 507:
            raise RemoteRefused(f"{doing}: the storage is full; make room there{said}") from None
        if status in (401, 403) or isinstance(error, PermissionError):
            raise RemoteRefused(
                f"{doing}: {service} refuses; check that the key is right and may read and write here{said}; "
                f"{_ADVICE[self._service]}"
            ) from None
        if status in (301, 307, 400, 405, 411, 412, 413, 501):
            raise RemoteRefused(
                f"{doing}: {service} does not accept the request; check endpoint and region{said}"
            ) from None
        if not status and "credential" in text.lower():
            raise RemoteRefused(f"{doing}: no credentials for {service} were found; {_ADVICE[self._service]}") from None
        raise RemoteUnavailable(f"{doing}: {service} does not answer{said}; is this computer online?") from None
