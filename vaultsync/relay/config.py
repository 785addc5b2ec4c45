"""How a relay is run. Every bound has a default that suits one small machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vaultsync.errors import UsageError
from vaultsync.limits import MAX_ENVELOPE_BYTES

__all__ = ["RelayConfig"]

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """``database``: a path of an SQLite file (one process), or ``postgresql://…`` (any number of processes).

    ``names``: the host names under which clients reach this relay, without port. A request names the host in what it
    signs; one for another name is refused, so that nobody can pass on to us what was signed for him. Loopback names and
    ``host`` always count.
    ``certificate`` and ``key``: files, for TLS here; leave them out behind a proxy that does it. ``proxies``: addresses
    of proxies whose ``X-Forwarded-For`` is believed ("*" for any).
    ``bucket_bytes`` and ``bucket_objects``: quota of a bucket; ``total_bytes``: of all of them, 0 for none.
    ``object_bytes``: of one object; ``body_bytes``: of all that are being uploaded at one time, which are in memory.
    ``new_buckets``: whether anybody may begin one. ``bucket_rate`` and ``address_rate``: requests a second, signed ones
    for a bucket and unsigned ones from an address; ten seconds' worth may come at once.
    ``poll_seconds``: longest time that a device is kept waiting for news. ``max_waiting``: devices waiting at once.
    ``nonce_seconds``: how long a nonce is good. ``grace_seconds``: how long requests may go on after the end was asked
    for. Raises ``UsageError``.
    """

    database: str = field(default="relay.db", repr=False)
    host: str = "127.0.0.1"
    port: int = 8787
    names: tuple[str, ...] = ()
    certificate: str | None = None
    key: str | None = None
    proxies: str = "127.0.0.1"
    bucket_bytes: int = 1 << 30
    bucket_objects: int = 200_000
    total_bytes: int = 0
    object_bytes: int = MAX_ENVELOPE_BYTES
    body_bytes: int = 8 * MAX_ENVELOPE_BYTES
    new_buckets: bool = True
    bucket_rate: float = 50.0
    address_rate: float = 20.0
    poll_seconds: float = 50.0
    max_waiting: int = 20_000
    nonce_seconds: int = 600
    grace_seconds: int = 10
    connections: int = 8
    metrics: bool = True
    log_requests: bool = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise UsageError("TLS needs both a certificate and its key")
        counts = (self.bucket_bytes, self.bucket_objects, self.max_waiting, self.nonce_seconds, self.connections)
        rates = (self.bucket_rate, self.address_rate, self.poll_seconds)
        if not 0 <= self.port < 65536 or not min(*counts, *rates) > 0 or min(self.total_bytes, self.grace_seconds) < 0:
            raise UsageError("port, rates, times and sizes of a relay are positive numbers")
        if not 0 < self.object_bytes <= MAX_ENVELOPE_BYTES or self.body_bytes < self.object_bytes:
            raise UsageError(f"an object has 1 to {MAX_ENVELOPE_BYTES} bytes, and all bodies together at least as many")
        if "://" in self.database and not self.is_postgres:
            raise UsageError("the database of a relay is a file, or postgresql://…")

    @property
    def is_anywhere(self) -> bool:
        """Whether it listens on every address of the machine."""
        return self.host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound to

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in _LOOPBACK

    @property
    def known_names(self) -> frozenset[str]:
        """Host names (lowercase, without port) that requests may be signed for."""
        own = () if self.is_anywhere else (self.host,)
        return frozenset(name.lower() for name in (*_LOOPBACK, *own, *self.names))

    @property
    def is_postgres(self) -> bool:
        return self.database.startswith(("postgresql://", "postgres://"))
