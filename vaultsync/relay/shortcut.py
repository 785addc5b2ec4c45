"""A way past the routing for what devices ask all the time: looking through all routes is a tenth of such a request."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vaultsync.relay.guard import guarded
from vaultsync.relay.metrics import Metrics

__all__ = ["Application"]

_OFTEN: Final = re.compile(r"/v1/([0-9a-f]{64})/(?:news|objects/(.+))")


class Application(Starlette):
    """``often``: by method, and whether the path is an object's (or else that of the news). All else is routed."""

    def __init__(
        self,
        metrics: Metrics,
        often: Mapping[tuple[str, bool], Callable[[Request], Awaitable[Response]]],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._metrics, self._often = metrics, often

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        found = _OFTEN.fullmatch(scope["path"]) if scope["type"] == "http" else None
        answer = self._often.get((scope["method"], found[2] is not None)) if found else None
        if found is None or answer is None:
            await super().__call__(scope, receive, send)
            return
        scope["path_params"] = {"bucket": found[1], "name": found[2]}
        route = "v1/{bucket}/news" if found[2] is None else "v1/{bucket}/objects/{name:path}"
        response = await guarded(self._metrics, route, answer, Request(scope, receive, send))
        await response(scope, receive, send)
