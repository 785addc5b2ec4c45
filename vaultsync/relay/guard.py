"""Whatever happens becomes an answer, a count and a line in the log."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vaultsync.relay.metrics import Metrics, log, log_request
from vaultsync.relay.requests import Refusal
from vaultsync.relay.storage import Replayed, StorageAway

__all__ = ["guarded", "nowhere"]


async def nowhere(request: Request, error: Exception) -> Response:
    """What no route takes."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        answer = refused(Refusal(405, "method", "this path is for other methods"))
        answer.headers.update(error.headers or {})
        return answer
    return refused(Refusal(404, "path", "a relay has no such path"))


async def guarded(
    metrics: Metrics, route: str, answer: Callable[[Request], Awaitable[Response]], request: Request
) -> Response:
    """Whatever happens becomes an answer, a count and a line in the log."""
    started, code = time.perf_counter(), ""
    try:
        response = await answer(request)
    except Refusal as refusal:
        code, response = refusal.code, refused(refusal)
    except Replayed:
        code, response = "replayed", refused(Refusal(401, "replayed", "this request was carried out before"))
    except StorageAway:
        code, response = "away", refused(Refusal(503, "away", "the database does not answer", after=1.0))
    except Exception:
        log.exception("bug")
        code, response = "bug", refused(Refusal(500, "bug", "the relay failed; its log says where"))
    if code:
        metrics.refused[code] += 1
    seconds = time.perf_counter() - started
    sent = len(response.body) if isinstance(response.body, bytes) else 0
    metrics.count(f"{request.method} {route}", response.status_code, seconds)
    log_request(
        f"{request.method} {route}",
        response.status_code,
        seconds,
        int(request.headers.get("content-length", "0")[:12] or 0) if "content-length" in request.headers else 0,
        sent,
        code,
    )
    response.headers["cache-control"] = "no-store"
    response.headers["x-content-type-options"] = "nosniff"
    return response


def refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": str(math.ceil(refusal.after))} if refusal.after else {}
    if refusal.status in (400, 411, 413):
        headers["Connection"] = "close"  # the rest of a body that nobody reads
    return JSONResponse({"error": refusal.code, "message": str(refusal)}, refusal.status, headers)
