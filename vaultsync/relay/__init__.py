"""A relay: where devices leave sealed objects for each other, and wait for news. ``vaultsync relay`` runs one.

Needs the extra ``relay`` (Starlette and uvicorn), and ``postgres`` where one process is not enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaultsync.errors import ExtraMissing
from vaultsync.relay.config import RelayConfig

if TYPE_CHECKING:
    from vaultsync.relay.app import create_app
    from vaultsync.relay.server import serve

__all__ = ["RelayConfig", "create_app", "serve"]


def __getattr__(name: str) -> Any:
    if name not in ("create_app", "serve"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from vaultsync.relay import app, server
    except ImportError as error:
        if (error.name or "").split(".")[0] in ("starlette", "uvicorn"):
            raise ExtraMissing("a relay needs an optional part: pip install 'vaultsync[relay]'") from None
        raise
    return {"create_app": app.create_app, "serve": server.serve}[name]
