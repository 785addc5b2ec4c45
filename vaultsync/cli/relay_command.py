"""``vaultsync relay``: a relay of one's own, from the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from vaultsync.cli.output import note, say, warn
from vaultsync.cli.session import Misused
from vaultsync.errors import ExtraMissing
from vaultsync.relay import RelayConfig

__all__ = ["COMMANDS", "size"]

_DEFAULT: Final = RelayConfig()
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LISTENING, _TLS, _ROOM, _PACE = "Where it listens", "TLS and proxies", "How much it keeps", "How much at once"


def size(text: str) -> int:
    """Bytes, of ``500``, ``64M``, ``1.5G``. Raises ``Misused``."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise Misused(f"a size is a number of bytes such as 64M or 1.5G, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _option(flag: str, panel: str, help: str, metavar: str, **more: Any) -> Any:
    return typer.Option(flag, metavar=metavar, help=help, rich_help_panel=panel, **more)


def relay(
    host: Annotated[str, _option("--host", _LISTENING, "Address to listen on; 0.0.0.0 for all.", "HOST")] = (
        _DEFAULT.host
    ),
    port: Annotated[int, _option("--port", _LISTENING, "0 for any that is free.", "N")] = _DEFAULT.port,
    name: Annotated[
        list[str] | None,
        _option(
            "--name",
            _LISTENING,
            "Host name or address by which devices reach it; may be given several times. Loopback names always count.",
            "HOST",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str, _option("--data", _ROOM, "The file that holds everything (SQLite), for one process.", "FILE")
    ] = _DEFAULT.database,
    database: Annotated[
        str | None,
        _option(
            "--database",
            _ROOM,
            "postgresql://… instead of a file, for any number of processes. Better in the variable, where other users "
            "of the machine do not see its password.",
            "URL",
            envvar="VAULTSYNC_RELAY_DATABASE",
            show_default=False,
            show_envvar=True,
        ),
    ] = None,
    connections: Annotated[int, _option("--connections", _ROOM, "To PostgreSQL.", "N")] = _DEFAULT.connections,
    certificate: Annotated[
        str | None, _option("--cert", _TLS, "Certificate chain (PEM), for TLS without a proxy.", "FILE")
    ] = None,
    key: Annotated[str | None, _option("--key", _TLS, "Its private key (PEM).", "FILE")] = None,
    proxies: Annotated[
        str,
        _option(
            "--forwarded-allow-ips",
            _TLS,
            "Addresses of proxies whose X-Forwarded-For is believed: it says whose rate counts. * for any.",
            "LIST",
        ),
    ] = _DEFAULT.proxies,
    vault_size: Annotated[str, _option("--vault-size", _ROOM, "Quota of one vault.", "SIZE")] = "1G",
    vault_objects: Annotated[
        int, _option("--vault-objects", _ROOM, "Objects of one vault.", "N")
    ] = _DEFAULT.bucket_objects,
    total_size: Annotated[str, _option("--total-size", _ROOM, "Of all vaults together; 0 for no limit.", "SIZE")] = "0",
    new_vaults: Annotated[
        bool,
        typer.Option("--new-vaults/--no-new-vaults", help="Whether anybody may begin one.", rich_help_panel=_ROOM),
    ] = True,
    object_size: Annotated[str, _option("--object-size", _PACE, "Largest body of one request.", "SIZE")] = "64M",
    body_size: Annotated[
        str, _option("--body-size", _PACE, "Of all bodies being uploaded at one time: they are in memory.", "SIZE")
    ] = "512M",
    vault_rate: Annotated[
        float, _option("--vault-rate", _PACE, "Requests a second of one vault; ten seconds' worth at once.", "N")
    ] = _DEFAULT.bucket_rate,
    address_rate: Annotated[
        float, _option("--address-rate", _PACE, "Requests a second of one address that are not a member's.", "N")
    ] = _DEFAULT.address_rate,
    max_waiting: Annotated[
        int, _option("--max-waiting", _PACE, "Devices that wait for news at one time.", "N")
    ] = _DEFAULT.max_waiting,
    poll_seconds: Annotated[
        float, _option("--poll-seconds", _PACE, "Longest wait for news; less than a proxy's own limit.", "SECONDS")
    ] = _DEFAULT.poll_seconds,
    grace_seconds: Annotated[
        int, _option("--grace-seconds", _PACE, "How long requests may go on after SIGTERM.", "SECONDS")
    ] = _DEFAULT.grace_seconds,
    metrics: Annotated[
        bool,
        typer.Option("--metrics/--no-metrics", help="Serve counts for Prometheus at /metrics.", rich_help_panel=_PACE),
    ] = True,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Log every request, not just refused ones.", rich_help_panel=_PACE)
    ] = False,
) -> None:
    """Run a relay: a place that your devices sync through, and that reads nothing.

    [bold]vaultsync relay[/], then [bold]vaultsync connect ann.vault http://127.0.0.1:8787[/]. For other machines it
    needs a host name (--name) and TLS: --cert and --key, or a proxy in front of it. There are no accounts: a vault is
    let in by the keys of its devices. It logs a JSON object a line to standard error, and ends in order on SIGTERM.
    """
    config = RelayConfig(
        database=database or data,
        host=host,
        port=port,
        names=tuple(name or ()),
        certificate=certificate,
        key=key,
        proxies=proxies,
        bucket_bytes=size(vault_size),
        bucket_objects=vault_objects,
        total_bytes=size(total_size),
        object_bytes=size(object_size),
        body_bytes=size(body_size),
        new_buckets=new_vaults,
        bucket_rate=vault_rate,
        address_rate=address_rate,
        poll_seconds=poll_seconds,
        max_waiting=max_waiting,
        grace_seconds=grace_seconds,
        connections=connections,
        metrics=metrics,
        log_requests=log_requests,
    )
    try:
        from vaultsync.relay import serve
    except ExtraMissing:
        raise ExtraMissing("a relay needs an optional part: pip install 'vaultsync[relay]'") from None
    _advise(config)

    def announce(url: str) -> None:
        say(f"A relay at {url}. Connect a vault to it: vaultsync connect VAULT {url}")
        sys.stdout.flush()

    serve(config, announce=announce)


def _advise(config: RelayConfig) -> None:
    """What somebody should know who lets other machines in."""
    if config.is_local:
        return
    if not config.names and config.is_anywhere:
        warn(
            "it answers to localhost only, whichever address it listens on: say --name HOST for each name or address "
            "that devices know it by"
        )
    if config.certificate is None:
        note(
            "Without --cert it speaks plain HTTP: contents stay sealed, but whoever listens sees who syncs and when. "
            "Put a proxy with TLS in front of it, and keep this port from the network."
        )


COMMANDS: Final[dict[str, Callable[..., None]]] = {"relay": relay}
