"""A web backend that keeps its notes in a vault: the browser sees an ordinary API, other devices sync underneath.

    VAULT=notes.vault VAULTSYNC_PASSWORD=… uvicorn --app-dir examples --timeout-graceful-shutdown 1 backend:app
    curl -X POST localhost:8000/notes -H 'content-type: application/json' -d '{"title": "Milk"}'
    curl -N localhost:8000/events                     # one line whenever something changed, here or on another device

Needs fastapi and uvicorn. Listen on this machine only, or put logins in front: whoever reaches it reads the notes. The
tests run this file under a real uvicorn.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

import vaultsync as vs

NOTE = vs.EntryType("note", label="Note", fields=[vs.Field("title", vs.text), vs.Field("body", vs.note)])
SCHEMA = vs.Schema("notes-example", version=1, types=[NOTE])


class Note(BaseModel):
    title: str | None = None
    body: str | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    path, password = Path(os.environ["VAULT"]), os.environ["VAULTSYNC_PASSWORD"]
    open_or_create = vs.Vault.open if path.exists() else vs.Vault.create
    vault = app.state.vault = await vs.aio.run(open_or_create, path, schema=SCHEMA, password=password)
    if remote := os.environ.get("REMOTE"):  # file:///…, s3://…, https://relay
        await vs.aio.run(vault.connect, remote)
    yield
    await vs.aio.run(vault.close)


app = FastAPI(title="Notes", lifespan=lifespan)


@app.exception_handler(vs.VaultSyncError)
async def explain(request: Request, error: vs.VaultSyncError) -> JSONResponse:
    """Each error says in one sentence what to do; no message holds a secret."""
    status = 404 if isinstance(error, vs.EntryNotFound) else 400 if isinstance(error, vs.UsageError) else 503
    return JSONResponse({"detail": str(error)}, status_code=status)


def shown(note: vs.Entry) -> dict[str, Any]:
    return {"id": note.id, "title": note.get("title"), "body": note.get("body"), "modified": note.modified}


@app.get("/notes")
async def list_notes(request: Request, search: str = "") -> list[dict[str, Any]]:
    view = request.app.state.vault.view()  # an immutable picture: quick, and never waits for a remote
    return [shown(note) for note in (view.search(search) if search else view.entries)]


@app.post("/notes", status_code=201)
async def add_note(request: Request, note: Note) -> dict[str, Any]:
    return shown(await vs.aio.run(request.app.state.vault.add, "note", **note.model_dump(exclude_none=True)))


@app.get("/notes/{entry_id}")
async def get_note(request: Request, entry_id: str) -> dict[str, Any]:
    return shown(request.app.state.vault.view()[entry_id])


@app.patch("/notes/{entry_id}")
async def edit_note(request: Request, entry_id: str, note: Note) -> dict[str, Any]:
    changed = note.model_dump(exclude_unset=True)  # what was sent, null clears
    return shown(await vs.aio.run(request.app.state.vault.update, entry_id, **changed))


@app.delete("/notes/{entry_id}", status_code=204)
async def delete_note(request: Request, entry_id: str) -> None:
    if request.app.state.vault.view()[entry_id].status is vs.Status.TRASHED:
        raise HTTPException(404, "this note is in the trash already")
    await vs.aio.run(request.app.state.vault.delete, entry_id)


@app.get("/status")
async def status(request: Request) -> dict[str, Any]:
    now = request.app.state.vault.status
    return {"state": now.state.value, "since": now.since_ms, "pending": now.pending, "says": str(now)}


@app.get("/events")
async def events(request: Request) -> StreamingResponse:
    """Server-sent events: what to load again, whoever changed it."""
    changes = vs.aio.changes(request.app.state.vault)  # from here on nothing is missed

    async def lines() -> AsyncIterator[str]:
        async with changes:
            yield ": listening\n\n"
            async for event in changes:
                told = {"kind": event.kind.value, "notes": sorted(event.entries), "all": event.everything}
                yield f"data: {json.dumps(told)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")
