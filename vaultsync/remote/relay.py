"""A relay as a remote: signed requests, listings by what changed, news while waiting.

Without a signer only the account slots of a recovery code can be read, by their locator: a device that joins has no key
that the relay knows. A relay that lost its data is told again who the members are, so that devices can fill it again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlencode

from vaultsync.errors import ObjectMissing, RemoteRefused, RemoteUnavailable
from vaultsync.limits import MAX_ENVELOPE_BYTES, MAX_LISTING_BYTES
from vaultsync.remote.port import check_name, check_prefix, is_name
from vaultsync.remote.relay_link import ADVICE, WHOM, Link, code_of, said_in
from vaultsync.remote.relay_news import CURSOR, Change, News, within
from vaultsync.remote.signing import EditedMeanwhile, Membership, NotAMember, RivalThere, Signer, UnknownThere
from vaultsync.remote.web import Answer, refusal

__all__ = ["RelayRemote"]

_POLL_SECONDS: Final = 50.0
_PATIENCE: Final = 20.0
"""Seconds of silence allowed beyond those that the relay was asked to wait."""
_FRESH_SECONDS: Final = 5.0
_NO_MEMBER: Final = (
    f"{WHOM} does not let this device in. It may have been removed from the vault: ask another device; "
    "if it was not, join again, or let another device invite it"
)
_ACCOUNT: Final = re.compile(r"account/([0-9a-f]{32})(?:/(.*))?")


class _Listing:
    """Names below a first segment, as of a cursor."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cursor = ""
        self.names: set[str] = set()

    def take(self, cursor: str, top: str, added: Iterable[str], gone: Iterable[str]) -> None:
        """What changed, until ``cursor``."""
        self.names.difference_update(gone)
        self.names.update(name for name in added if name.startswith(top) and is_name(name))
        self.cursor = cursor


class FormerMember:
    """What a relay shows to whoever can prove to have been a member: the vault's list of devices, which may say why he
    is none any more. The proof is the list that he knows, signed by whoever held the bucket then."""

    def __init__(self, link: Link, signer: Signer) -> None:
        self._link, self._signer = link, signer

    def get(self, name: str) -> bytes:
        """See ``Remote.get``."""
        vault, _, leaf = name.split("/")
        answer = self._post(f"/roster/{vault}/{leaf}", f"reading {check_name(name)}", MAX_ENVELOPE_BYTES)
        if answer.status == 404 or answer.too_large:
            raise ObjectMissing(f"no object {name} on {WHOM}")
        return self._link.expect(answer, "reading the list of devices", 200).body

    def list(self, prefix: str) -> _Names:
        """See ``Remote.list``. ``prefix``: of a vault's list of devices."""
        doing = "listing"
        answer = self._post(f"/roster/{check_prefix(prefix).split('/')[0]}", doing, MAX_LISTING_BYTES)
        added = said_in(self._link.expect(answer, doing, 200), doing).get("added")
        if not _names(added):
            raise RemoteUnavailable(f"{doing}: {WHOM} answers with something that is no listing")
        return sorted(name for name in added or [] if name.startswith(prefix) and is_name(name))

    def _post(self, path: str, doing: str, limit: int) -> Answer:
        known = self._signer.membership()
        if known is None:
            raise NotAMember(f"{doing}: {_NO_MEMBER}")
        return self._link.signed(self._signer, "POST", path, doing, content=known.to_json(), limit=limit)


class RelayRemote:
    """The bucket of ``signer`` on the relay at ``url`` (``https://host``, ``https://host:port``).

    ``create`` begins the bucket, or shows at once what is wrong. ``poll_seconds``: how long one request waits for news.
    What was put through one object is no news to those who wait on the same object. Raises ``UnsupportedRemote`` and
    ``ExtraMissing``.
    """

    orderly = True

    def __init__(
        self,
        url: str,
        *,
        signer: Signer | None = None,
        create: bool = False,
        poll_seconds: float = _POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = Link(url, clock=clock)
        self._signer, self._poll_seconds, self._clock = signer, poll_seconds, clock
        self._news = News(self._fetch_news, clock=clock)
        self._lock = threading.Lock()
        self._listings: dict[str, _Listing] = {}
        self._mine = threading.local()
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
        code = code_of(answer)
        if answer.status == 409 and code == "taken":
            raise RemoteRefused(f"{name} on {WHOM} already holds something else; nothing was changed")
        if answer.status == 409 and code == "claimed":
            raise RemoteRefused(f"{doing}: the place of this recovery code belongs to another vault on {WHOM}")
        if answer.status == 507:
            whose = "this vault's space" if code == "quota" else "the space"
            raise RemoteRefused(f"{doing}: {whose} on {WHOM} is used up; make room, or ask whoever runs it for more")
        self._link.expect(answer, doing, 200, 201)
        if answer.status == 201:
            self._news.own(said_in(answer, doing).get("cursor"))

    def get(self, name: str) -> bytes:
        """See ``Remote.get``."""
        doing = f"reading {check_name(name)}"
        account = _ACCOUNT.fullmatch(name) if self._signer is None else None
        if account is not None:
            answer = self._link.open("GET", f"/v1/account/{account[1]}/{account[2]}", doing, limit=MAX_ENVELOPE_BYTES)
        else:
            answer = self._ask("GET", f"/objects/{name}", doing, limit=MAX_ENVELOPE_BYTES)
        if (answer.status == 404 and code_of(answer) == "missing") or answer.too_large:
            raise ObjectMissing(f"no object {name} on {WHOM}")
        return self._link.expect(answer, doing, 200).body

    def list(self, prefix: str) -> _Names:
        """See ``Remote.list``. Asks for what changed since the last time, and nothing right after ``wait`` told."""
        prefix = check_prefix(prefix)
        account = _ACCOUNT.fullmatch(prefix.rstrip("/")) if self._signer is None else None
        if account is not None:
            answer = self._link.open("GET", f"/v1/account/{account[1]}", "listing", limit=MAX_LISTING_BYTES)
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
        self._link.expect(self._ask("DELETE", f"/objects/{name}", doing), doing, 200)

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """See ``Remote.wait``. News of the whole bucket count, below ``prefix`` or not, deletions too."""
        check_prefix(prefix)
        self._mine.listed = None
        change = self._news.wait(timeout, wake)
        if change is not None:
            self._mine.listed, self._mine.until = self._follow(change), self._clock() + _FRESH_SECONDS
        return change is not None

    def close(self) -> None:
        """See ``Remote.close``."""
        self._link.close()

    # ---- members --------------------------------------------------------------------------------------------------

    def members(self) -> Membership:
        """Who may use the bucket, as the relay has it. Raises ``RemoteRefused`` for whoever is not one of them."""
        doing = "reading the list of members"
        found = Membership.from_json(self._link.expect(self._ask("GET", "/members", doing), doing, 200).body)
        self._signed_by().remember(found)
        return found

    def enter(self, membership: Membership) -> Membership:
        """Send signed statements, to begin the bucket, to let a device in or to edit the list; what holds afterwards.

        Whoever signs the request must be a member then. Raises ``RemoteRefused``; ``EditedMeanwhile`` when the holder
        edited the list meanwhile: read it again and base the edit on that; ``RivalThere``.
        """
        doing = "sending the list of members"
        answer = self._signed("PUT", "/members", doing, content=membership.to_json(), limit=1 << 20)
        if answer.status == 409 and code_of(answer) == "rival":
            raise RivalThere(
                f"{doing}: on {WHOM} somebody else took over this vault's place, by a recovery code that is replaced; "
                "connect to another relay, or ask whoever runs it to remove the place"
            )
        if answer.status == 409:
            raise EditedMeanwhile(f"{doing}: it was edited elsewhere meanwhile; read it again first")
        if answer.status == 403 and code_of(answer) == "closed":
            raise RemoteRefused(f"{doing}: {WHOM} takes no new vaults; ask whoever runs it")
        if answer.status == 403 and code_of(answer) == "not-a-member":
            raise NotAMember(f"{doing}: {_NO_MEMBER}")
        found = Membership.from_json(self._link.expect(answer, doing, 200).body)
        self._signed_by().remember(found)
        return found

    def as_former(self) -> FormerMember:
        """See ``AccessControlled``."""
        return FormerMember(self._link, self._signed_by())

    def account_bucket(self, locator: bytes) -> bytes | None:
        """The bucket (32 bytes) that the account slots at this place lie in. Only what is in it vouches for it."""
        doing = "looking for the account"
        answer = self._link.open("GET", f"/v1/account/{locator.hex()}", doing, limit=MAX_LISTING_BYTES)
        if answer.status == 404 and code_of(answer) == "missing":
            return None
        bucket = said_in(self._link.expect(answer, doing, 200), doing).get("bucket")
        return bytes.fromhex(bucket) if isinstance(bucket, str) and re.fullmatch(r"[0-9a-f]{64}", bucket) else None

    # ---- mailboxes ------------------------------------------------------------------------------------------------

    def at(self, signer: Signer | None) -> RelayRemote:
        """The same relay, for somebody else. Closed by itself."""
        return RelayRemote(self._link.url, signer=signer, poll_seconds=self._poll_seconds, clock=self._clock)

    def open_mailbox(self, membership: Membership, seconds: float) -> None:
        """A bucket of its own for ``membership`` (its owner is the mailbox's key), which ends after ``seconds``."""
        doing = "opening a mailbox"
        path = f"/mailboxes/{membership.bucket.hex()}?seconds={seconds:.0f}"
        answer = self._ask("PUT", path, doing, content=membership.to_json())
        if code_of(answer) == "mailboxes":
            raise RemoteRefused(f"{doing}: there are too many invitations open; wait until one has ended")
        self._link.expect(answer, doing, 200, 201)

    def close_mailbox(self, mailbox: bytes) -> None:
        """With everything in it. ``mailbox``: its bucket, 32 bytes."""
        doing = "closing a mailbox"
        self._link.expect(self._ask("DELETE", f"/mailboxes/{mailbox.hex()}", doing), doing, 200)

    def _create(self) -> None:
        answer = self._link.open("GET", "/health", "asking the relay")
        if answer.status != 200 or not isinstance(said_in(answer, "asking the relay").get("status"), str):
            raise (
                refusal(answer.status, "asking the relay", WHOM, ADVICE)
                if answer.status != 200
                else RemoteRefused("there is a server at the address, and it is no relay; correct the address")
            )
        if self._signer is not None:
            self.members()

    def _signed_by(self) -> Signer:
        if self._signer is None:
            raise RemoteRefused(f"{WHOM} answers to a vault's own devices only: {ADVICE}")
        return self._signer

    def _fetch_news(self, since: str) -> Change:
        doing = "waiting for news"
        query = f"/news?since={since}&seconds={self._poll_seconds:g}"
        answer = self._ask("GET", query, doing, patience=self._poll_seconds + _PATIENCE)
        said = said_in(self._link.expect(answer, doing, 200), doing)
        cursor, added, gone = said.get("cursor"), said.get("added"), said.get("gone")
        if not isinstance(cursor, str) or not CURSOR.fullmatch(cursor):
            raise RemoteUnavailable(f"{doing}: {WHOM} answers with something else")
        if not _names(added) or not _names(gone):
            return Change(since, cursor)
        return Change(since, cursor, added, gone)

    def _follow(self, change: Change) -> set[str]:
        """Bring listings up to date by what came with news; of which first segments that was possible."""
        if change.added is None or change.gone is None:
            return set()
        with self._lock:
            listings = list(self._listings.items())
        followed = set()
        for top, listing in listings:
            with listing.lock:
                if within(listing.cursor, change):
                    listing.take(change.cursor, top, change.added, change.gone)
                    followed.add(top)
        return followed

    # ---- listing --------------------------------------------------------------------------------------------------

    def _refresh(self, listing: _Listing, top: str) -> None:
        query = urlencode(
            {key: value for key, value in (("prefix", top), ("since", listing.cursor)) if value}, safe="/"
        )
        answer = self._ask("GET", "/objects" + ("?" + query if query else ""), "listing", limit=MAX_LISTING_BYTES)
        cursor, whole, added, gone = self._listed(self._link.expect(answer, "listing", 200))
        if whole:
            listing.names = set()
        listing.take(cursor, top, added, gone)

    def _listed(self, answer: Answer) -> tuple[str, bool, _Names, _Names]:
        said = said_in(self._link.expect(answer, "listing", 200), "listing")
        cursor, added, gone = said.get("cursor"), said.get("added"), said.get("gone")
        if not isinstance(cursor, str) or not CURSOR.fullmatch(cursor) or not _names(added) or not _names(gone):
            raise RemoteUnavailable(f"listing: {WHOM} answers with something that is no listing")
        return cursor, said.get("whole") is True, added or [], gone or []

    # ---- requests -------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, doing: str, **options: Any) -> Answer:
        """A signed request below the bucket. A bucket that the relay does not know (any more) is begun."""
        answer = self._signed(method, path, doing, **options)
        code = code_of(answer)
        if code not in ("no-such-bucket", "not-a-member"):
            return answer
        known = self._signed_by().membership()
        if known is None:
            raise UnknownThere(f"{doing}: {WHOM} does not know this vault; {ADVICE}")
        self.enter(known)
        return self._signed(method, path, doing, **options)

    def _signed(self, method: str, path: str, doing: str, **options: Any) -> Answer:
        return self._link.signed(self._signed_by(), method, path, doing, **options)


_Names = list[str]


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
