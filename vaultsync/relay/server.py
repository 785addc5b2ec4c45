"""A relay as a program: uvicorn around the application, logs as JSON lines, an end that keeps nobody waiting."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from types import FrameType
from typing import TextIO

import uvicorn

from vaultsync.errors import StoreFailed, UsageError
from vaultsync.relay.app import Relay, create_app
from vaultsync.relay.config import RelayConfig
from vaultsync.relay.metrics import JsonLines
from vaultsync.relay.storage import Driver

__all__ = ["RelayServer", "serve"]


class RelayServer(uvicorn.Server):
    """``started`` is true once it listens; ``stop`` may be called from any thread."""

    def __init__(
        self, config: RelayConfig, *, driver: Driver | None = None, announce: Callable[[str], None] | None = None
    ):
        app = create_app(config, driver=driver)
        self.relay: Relay = app.state.relay
        self._announce = announce
        self._tls = config.certificate is not None
        super().__init__(
            uvicorn.Config(
                app,
                host=config.host,
                port=config.port,
                ssl_certfile=config.certificate,
                ssl_keyfile=config.key,
                proxy_headers=bool(config.proxies),
                forwarded_allow_ips=config.proxies,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=config.grace_seconds,
                lifespan="on",
                ws="none",
                h11_max_incomplete_event_size=16 << 10,
            )
        )

    @property
    def address(self) -> str:
        """Where it listens, once ``started``."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http{'s' if self._tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._announce:
            self._announce(self.address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal. Devices that wait for news are answered now, so that the end does not wait for them."""
        self.relay.news.closed = True  # told by the loop, below
        self.force_exit = self.should_exit and sig == signal.SIGINT  # somebody is impatient
        self.should_exit = True  # and not raised again afterwards, as uvicorn does: an end in order is no failure

    def stop(self) -> None:
        """End soon, after answering what is under way."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.relay.news.close()
        await super().shutdown(sockets)


def serve(
    config: RelayConfig,
    *,
    driver: Driver | None = None,
    announce: Callable[[str], None] | None = None,
    log: TextIO | None = None,
) -> None:
    """Run until SIGINT or SIGTERM. ``announce`` is told the address once connections are taken; ``log`` gets JSON
    lines (standard error otherwise).

    Raises ``UsageError`` when the address cannot be listened on, ``StoreBusy`` and ``StoreFailed`` for the database,
    ``ExtraMissing``.
    """
    _check_certificate(config)
    handler = logging.StreamHandler(log or sys.stderr)
    handler.setFormatter(JsonLines())
    names = ("vaultsync.relay", "uvicorn.error")
    before: list[tuple[logging.Logger, int, bool]] = []
    for name, level in zip(names, (logging.DEBUG if config.log_requests else logging.INFO, logging.ERROR), strict=True):
        logger = logging.getLogger(name)
        before.append((logger, logger.level, logger.propagate))
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    server = RelayServer(config, driver=driver, announce=announce)
    try:
        _run(server, config)
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _run(server: RelayServer, config: RelayConfig) -> None:
    try:
        listening = _listening(config)
    except OSError as error:
        raise UsageError(f"cannot listen on port {config.port} of {config.host}: {error.strerror}") from None
    with listening, contextlib.suppress(SystemExit):
        server.run(sockets=[listening])
    if not server.started:
        raise server.relay.failure or StoreFailed("the relay did not start; its log says why")


def _check_certificate(config: RelayConfig) -> None:
    """Before anything else: uvicorn would fail on it with whatever the TLS library raises, or ask for a passphrase."""
    if config.certificate is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.certificate, config.key, password=lambda: "")
    except OSError as error:  # SSLError is one
        trouble = error.strerror if not isinstance(error, ssl.SSLError) else "not a PEM certificate with its own key"
        raise UsageError(f"the certificate or its key cannot be used: {trouble}") from None


def _listening(config: RelayConfig) -> socket.socket:
    """A socket that says it is TCP's: only then are answers sent at once, and not 40 ms later (Nagle's algorithm)."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((config.host, config.port))
        made.listen(2048)
    except OSError:
        made.close()
        raise
    return made
