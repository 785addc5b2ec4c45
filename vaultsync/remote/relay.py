"""A relay as a remote: signed requests, listings by what changed, news while waiting.

Without a signer only the account slots of a recovery code can be read, by their locator: a device that joins has no key
that the relay knows. Everything else is signed by a callable; this module never sees a private key. A relay that lost
its data is told again who the members are, so that devices can fill it again.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from vaultsync.errors import ObjectMissing, RemoteError, RemoteRefused, RemoteUnavailable, UnsupportedRemote
from vaultsync.limits import MAX_ENVELOPE_BYTES, MAX_LISTING_BYTES
from vaultsync.remote.port import check_name, check_prefix, is_name
from vaultsync.remote.signing import SCHEME, Membership, Signer, request_parts
from vaultsync.remote.web import READ_SECONDS, Answer, Request, Web, refusal

__all__ = ["RelayRemote"]

_WHOM: Final = "the relay"
_POLL_SECONDS: Final = 50.0
_PATIENCE: Final = 20.0
"""Seconds of silence allowed beyond those that the relay was asked to wait."""
_TICK_SECONDS: Final = 0.1
"""How late a waiter notices that it was woken. News are noticed at once."""
_FRESH_SECONDS: Final = 5.0
_REFRESH_SHARE: Final = 0.5  # of a nonce's time, after which another one is asked for
_CURSOR: Final = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})")
_ACCOUNT: Final = re.compile(r"account/([0-9a-f]{32})(?:/(.*))?")
_ADVICE: Final = "this device is not (or no longer) a member there: join again, or let another device invite it"


class _Nonce(NamedTuple):
    value: bytes
    until: float


class _Poll:
    """One request for news, in a thread of its own: it outlives the calls of ``wait`` that look at it."""

    def __init__(self, since: str) -> None:
        self.since = since
        self.done = threading.Event()
        self.cursor = ""
        self.error: RemoteError | None = None


class _Waiter:
    """``cursor``: what this waiter knows of, "" before it was told anything."""

    def __init__(self) -> None:
        self.cursor = ""
        self.poll: _Poll | None = None


class _Listing:
    """Names below a first segment, as of a cursor."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cursor = ""
        self.names: set[str] = set()


class RelayRemote:
    """The bucket of ``signer`` on the relay at ``url`` (``https://host``, ``https://host:port``).

    ``create`` begins the bucket, or shows at once what is wrong. ``poll_seconds``: how long one request waits for news.
    What was put through one object is no news to those who wait on the same object. Raises ``UnsupportedRemote`` and
    ``ExtraMissing``.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: Signer | None = None,
        create: bool = False,
        poll_seconds: float = _POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._host = _taken_apart(url)
        self._signer, self._poll_seconds, self._clock = signer, poll_seconds, clock
        self._web = Web(_WHOM)
        self._lock = threading.Lock()
        self._nonce: _Nonce | None = None
        self._counter = 0
        self._waiters: weakref.WeakKeyDictionary[threading.Event, _Waiter] = weakref.WeakKeyDictionary()
        self._listings: dict[str, _Listing] = {}
        self._mine = threading.local()
        self._closed = False
        if create:
            self._create()

    def __repr__(self) -> str:
        return "RelayRemote()"

    # ---- the port -------------------------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``."""
        check_name(name)
        doing = f"storing {name}"
        if len(data) > MAX_ENVELOPE_BYTES:
            raise RemoteRefused(f"{name} is larger than an object may be ({MAX_ENVELOPE_BYTES >> 20} MiB)")
        self._mine.listed = None  # whoever writes wants to see it
        answer = self._ask("PUT", f"/objects/{name}", doing, content=data)
        code = _code(answer)
        if answer.status == 409 and code == "taken":
            raise RemoteRefused(f"{name} on {_WHOM} already holds something else; nothing was changed")
        if answer.status == 409 and code == "claimed":
            raise RemoteRefused(f"{doing}: the place of this recovery code belongs to another vault on {_WHOM}")
        if answer.status == 507:
            whose = "this vault's space" if code == "quota" else "the space"
            raise RemoteRefused(f"{doing}: {whose} on {_WHOM} is used up; make room, or ask whoever runs it for more")
        self._expect(answer, doing, 200, 201)
        if answer.status == 201:
            self._own(_said(answer, doing).get("cursor"))

    def get(self, name: str) -> bytes:
        """See ``Remote.get``."""
        doing = f"reading {check_name(name)}"
        account = _ACCOUNT.fullmatch(name) if self._signer is None else None
        if account is not None:
            answer = self._open("GET", f"/v1/account/{account[1]}/{account[2]}", doing, limit=MAX_ENVELOPE_BYTES)
        else:
            answer = self._ask("GET", f"/objects/{name}", doing, limit=MAX_ENVELOPE_BYTES)
        if (answer.status == 404 and _code(answer) == "missing") or answer.too_large:
            raise ObjectMissing(f"no object {name} on {_WHOM}")
        return self._expect(answer, doing, 200).body

    def list(self, prefix: str) -> _Names:
        """See ``Remote.list``. Asks for what changed since the last time, and nothing right after ``wait`` told."""
        prefix = check_prefix(prefix)
        account = _ACCOUNT.fullmatch(prefix.rstrip("/")) if self._signer is None else None
        if account is not None:
            answer = self._open("GET", f"/v1/account/{account[1]}", "listing", limit=MAX_LISTING_BYTES)
            if answer.status == 404:
                return []
            _, _, added, _ = self._listed(answer)
            return sorted(name for name in added if name.startswith(prefix))
        top = prefix.split("/")[0] + "/" if prefix else ""
        with self._lock:
            listing = self._listings.setdefault(top, _Listing())
        with listing.lock:
            just = getattr(self._mine, "listed", None)
            if just is None or self._clock() > self._mine.until or top not in just:
                self._refresh(listing, top)
                if just is not None:
                    just.add(top)
            return sorted(name for name in listing.names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """See ``Remote.delete``."""
        doing = f"deleting {check_name(name)}"
        self._mine.listed = None
        self._expect(self._ask("DELETE", f"/objects/{name}", doing), doing, 200)

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """See ``Remote.wait``. News of the whole bucket count, below ``prefix`` or not, deletions too."""
        check_prefix(prefix)
        end = self._clock() + timeout
        self._mine.listed = None
        with self._lock:
            waiter = self._waiters.setdefault(wake, _Waiter())
        while not wake.is_set():
            poll = self._poll(waiter)
            left = end - self._clock()
            first = not waiter.cursor  # answered at once, and worth waiting for whatever the timeout
            if not poll.done.wait(_TICK_SECONDS if first else max(0.0, min(_TICK_SECONDS, left))):
                if left <= 0 and not first:
                    return False
                continue
            waiter.poll = None
            if poll.error is not None:
                raise poll.error
            if _later(poll.cursor, waiter.cursor):
                waiter.cursor = poll.cursor
                self._mine.listed, self._mine.until = set(), self._clock() + _FRESH_SECONDS
                return True
            if left <= 0:
                return False
        return False

    def close(self) -> None:
        """See ``Remote.close``."""
        self._closed = True
        self._web.close()

    # ---- members --------------------------------------------------------------------------------------------------

    def members(self) -> Membership:
        """Who may use the bucket, as the relay has it. Raises ``RemoteRefused`` for whoever is not one of them."""
        doing = "reading the list of members"
        found = Membership.from_json(self._expect(self._ask("GET", "/members", doing), doing, 200).body)
        self._signed_by().remember(found)
        return found

    def enter(self, membership: Membership) -> Membership:
        """Send signed statements, to begin the bucket, to let a device in or to edit the list; what holds afterwards.

        Whoever signs the request must be a member then. Raises ``RemoteRefused``, also when the owner edited the list
        meanwhile: read it again and base the edit on that.
        """
        doing = "sending the list of members"
        answer = self._signed("PUT", "/members", doing, content=membership.to_json(), limit=1 << 20)
        if answer.status == 409:
            raise RemoteRefused(f"{doing}: it was edited elsewhere meanwhile; read it again first")
        if answer.status == 403 and _code(answer) == "closed":
            raise RemoteRefused(f"{doing}: {_WHOM} takes no new vaults; ask whoever runs it")
        found = Membership.from_json(self._expect(answer, doing, 200).body)
        self._signed_by().remember(found)
        return found

    def _create(self) -> None:
        answer = self._open("GET", "/health", "asking the relay")
        if answer.status != 200 or not isinstance(_said(answer, "asking the relay").get("status"), str):
            raise (
                refusal(answer.status, "asking the relay", _WHOM, _ADVICE)
                if answer.status != 200
                else RemoteRefused("there is a server at the address, and it is no relay; correct the address")
            )
        if self._signer is not None:
            self.members()

    def _signed_by(self) -> Signer:
        if self._signer is None:
            raise RemoteRefused(f"{_WHOM} answers to a vault's own devices only: {_ADVICE}")
        return self._signer

    # ---- news -----------------------------------------------------------------------------------------------------

    def _poll(self, waiter: _Waiter) -> _Poll:
        if waiter.poll is None:
            waiter.poll = _Poll(waiter.cursor)
            threading.Thread(target=self._fetch_news, args=(waiter.poll,), name="vaultsync-news", daemon=True).start()
        return waiter.poll

    def _fetch_news(self, poll: _Poll) -> None:
        doing = "waiting for news"
        try:
            query = f"/news?since={poll.since}&seconds={self._poll_seconds:g}"
            answer = self._ask("GET", query, doing, patience=self._poll_seconds + _PATIENCE)
            cursor = _said(self._expect(answer, doing, 200), doing).get("cursor")
            if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
                raise RemoteUnavailable(f"{doing}: {_WHOM} answers with something else")
            poll.cursor = cursor
        except RemoteError as error:
            poll.error = error
        except Exception as error:  # whatever it is, nobody may wait for ever
            poll.error = RemoteUnavailable(f"{doing}: {type(error).__name__}")
        finally:
            poll.done.set()

    def _own(self, cursor: object) -> None:
        """A put of ours moved the cursor: who knew everything before it knows everything after it."""
        found = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
        if found is None:
            return
        before = f"{found[1]}-{int(found[2]) - 1}"
        with self._lock:
            for waiter in self._waiters.values():
                if waiter.cursor == before:
                    waiter.cursor = found[0]

    # ---- listing --------------------------------------------------------------------------------------------------

    def _refresh(self, listing: _Listing, top: str) -> None:
        query = urlencode(
            {key: value for key, value in (("prefix", top), ("since", listing.cursor)) if value}, safe="/"
        )
        answer = self._ask("GET", "/objects" + ("?" + query if query else ""), "listing", limit=MAX_LISTING_BYTES)
        cursor, whole, added, gone = self._listed(self._expect(answer, "listing", 200))
        if whole:
            listing.names = set()
        listing.names.difference_update(gone)
        listing.names.update(name for name in added if is_name(name))
        listing.cursor = cursor

    def _listed(self, answer: Answer) -> tuple[str, bool, _Names, _Names]:
        said = _said(self._expect(answer, "listing", 200), "listing")
        cursor, added, gone = said.get("cursor"), said.get("added"), said.get("gone")
        if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor) or not _names(added) or not _names(gone):
            raise RemoteUnavailable(f"listing: {_WHOM} answers with something that is no listing")
        return cursor, said.get("whole") is True, added or [], gone or []

    # ---- requests -------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, doing: str, **options: Any) -> Answer:
        """A signed request below the bucket. A bucket that the relay does not know (any more) is begun."""
        answer = self._signed(method, path, doing, **options)
        code = _code(answer)
        if code not in ("no-such-bucket", "not-a-member"):
            return answer
        known = self._signed_by().membership()
        if known is None:
            raise RemoteRefused(f"{doing}: {_WHOM} does not know this vault; {_ADVICE}")
        self.enter(known)
        return self._signed(method, path, doing, **options)

    def _signed(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        content: bytes = b"",
        limit: int = 1 << 20,
        patience: float | None = None,
    ) -> Answer:
        signer = self._signed_by()
        target = f"/v1/{signer.bucket.hex()}{path}"
        digest = hashlib.sha256(content).digest()

        def headers() -> Mapping[str, str]:
            nonce, counter = self._ticket(doing)
            signature = signer.sign("relay-request", *request_parts(nonce, counter, digest, method, self._host, target))
            said = f"key={signer.public.hex()}, nonce={nonce.hex()}, counter={counter}, body={digest.hex()}"
            return {"Authorization": f"{SCHEME} {said}, signature={signature.hex()}"}

        request = Request(method, self._root + target, headers, content, limit=limit, patience=patience or READ_SECONDS)
        for _ in range(3):
            answer = self._web.send(request, doing)
            code = _code(answer)
            if code not in ("nonce", "replayed"):
                break
            with self._lock:  # the relay began anew, or the first try did arrive: sign once more
                self._nonce = None if code == "nonce" else self._nonce
        return answer

    def _open(self, method: str, path: str, doing: str, *, limit: int = 1 << 20) -> Answer:
        """A request that anybody may make."""
        return self._web.send(Request(method, self._root + path, limit=limit), doing)

    def _ticket(self, doing: str) -> tuple[bytes, int]:
        """A nonce that is good, and a number that was not used with it."""
        with self._lock:
            if self._nonce is None or self._clock() > self._nonce.until:
                answer = self._expect(self._open("POST", "/v1/challenge", doing), doing, 200)
                said = _said(answer, doing)
                value, seconds = said.get("nonce"), said.get("seconds")
                if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{80}", value):
                    raise RemoteUnavailable(f"{doing}: {_WHOM} answers with something else")
                good = seconds * _REFRESH_SHARE if isinstance(seconds, int) and 0 < seconds < 86_400 else 60.0
                self._nonce, self._counter = _Nonce(bytes.fromhex(value), self._clock() + good), 0
            self._counter += 1
            return self._nonce.value, self._counter

    def _expect(self, answer: Answer, doing: str, *statuses: int) -> Answer:
        if answer.too_large:
            raise RemoteRefused(f"{doing}: {_WHOM} sends more than can be taken in")
        if answer.status in statuses:
            return answer
        code = _code(answer)
        if code == "host":
            raise RemoteRefused(
                f"{doing}: {_WHOM} was not started for this host name; correct the address or its names"
            )
        if answer.status == 404 and code is None:
            raise RemoteRefused(f"{doing}: there is a server at the address, and it is no relay; correct the address")
        raise refusal(answer.status, doing, _WHOM, _ADVICE)


_Names = list[str]


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _said(answer: Answer, doing: str) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise RemoteUnavailable(f"{doing}: {_WHOM} answers with something else")
    return said


def _code(answer: Answer) -> str | None:
    """The relay's own word for a refusal; None for an answer that is no refusal, or not a relay's."""
    if answer.status < 400 or len(answer.body) > 4096:
        return None
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    code = said.get("error") if isinstance(said, dict) else None
    return code if isinstance(code, str) else None


def _later(cursor: str, than: str) -> bool:
    """Whether ``cursor`` tells of something that ``than`` does not know. Another life of the bucket always does."""
    one, other = _CURSOR.fullmatch(cursor), _CURSOR.fullmatch(than)
    if one is None or other is None or one[1] != other[1]:
        return True
    return int(one[2]) > int(other[2])


def _taken_apart(url: str) -> tuple[str, str]:
    """The relay's address without a slash at its end, and the value of the ``Host`` header."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise UnsupportedRemote("the address of a relay is https://host, or https://host:port") from None
    scheme = parts.scheme.lower()
    if not host or not re.fullmatch(r"[a-z0-9._:-]+", host) or parts.query or parts.fragment:
        raise UnsupportedRemote("the address of a relay is https://host, or https://host:port")
    if parts.username is not None or parts.password is not None:
        raise UnsupportedRemote("a relay knows no names and passwords; leave them out of the address")
    path = parts.path.rstrip("/")
    if not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", path):
        raise UnsupportedRemote("the path of a relay's address holds letters, digits, '.', '_', '~' and '-' only")
    shown = f"[{host}]" if ":" in host else host
    if port and port != {"http": 80, "https": 443}[scheme]:
        shown = f"{shown}:{port}"
    return f"{scheme}://{shown}{path}", shown
