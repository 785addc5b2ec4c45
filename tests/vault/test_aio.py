"""Vaults in asyncio programs: nothing lost, nothing held up, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

import vaultsync as vs
from vaultsync.testing import MemoryRemote, MemoryVault, memory_vault

SCHEMA = vs.Schema(
    "notes", version=1, platform="linux", types=[vs.EntryType("note", fields=[vs.Field("title", vs.text)])]
)


@pytest.fixture
def vault() -> Iterator[MemoryVault]:
    made = memory_vault(SCHEMA, device="Laptop")
    yield made
    made.close()


async def edited_until(changes: vs.aio.Changes, wanted: frozenset[str]) -> set[str]:
    seen: set[str] = set()
    while not wanted <= seen:
        event = await asyncio.wait_for(anext(changes), 20)
        if event.kind is vs.EventKind.EDITED:
            seen |= event.entries
    return seen


def test_events_arrive_while_the_loop_runs_on(vault: MemoryVault) -> None:
    async def main() -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.001)

        beating = asyncio.create_task(beat())
        async with vs.aio.changes(vault) as changes:
            ids = set()
            for number in range(20):
                ids.add((await vs.aio.run(vault.add, "note", title=f"{number}")).id)
            assert await edited_until(changes, frozenset(ids)) == ids
        beating.cancel()
        assert beats > 5

    asyncio.run(main())


def test_nothing_is_lost_between_steps_or_when_steps_are_cancelled(vault: MemoryVault) -> None:
    """Steps that are cancelled at any moment, while another thread edits."""
    ids: set[str] = set()
    enough = threading.Event()

    def edit() -> None:
        """Until steps were cancelled between edits, however fast the machine is at either just now."""
        while len(ids) < 300 or not (enough.is_set() or len(ids) > 20_000):
            ids.add(vault.add("note", title=f"{len(ids)}").id)

    async def main() -> None:
        changes = vs.aio.changes(vault, most=8)
        writer = threading.Thread(target=edit)
        writer.start()
        seen: set[str] = set()
        cancelled = 0
        end = time.monotonic() + 30
        while writer.is_alive() or not ids <= seen:
            if time.monotonic() >= end:
                enough.set()
                raise AssertionError(f"lost: {len(ids - seen)} of {len(ids)}")
            step = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0 if cancelled % 3 else 0.0005)
            if not step.done():
                step.cancel()
                cancelled += 1
                if cancelled > 20:
                    enough.set()
            with suppress(asyncio.CancelledError):
                event = await step
                seen |= event.entries
                assert len(changes._pile) <= 8 + 6, "bounded, however slow the reader is"
        assert cancelled > 20
        assert seen == ids
        await changes.aclose()

    asyncio.run(main())


def test_it_ends_with_the_vault_and_after_what_was_told() -> None:
    async def main() -> None:
        vault = memory_vault(SCHEMA)
        changes = vs.aio.changes(vault)
        entry = await vs.aio.run(vault.add, "note", title="last words")
        waiting = asyncio.create_task(collect(changes))
        await vs.aio.run(vault.close)
        events = await asyncio.wait_for(waiting, 20)
        assert any(entry.id in event.entries for event in events)
        with pytest.raises(StopAsyncIteration):
            await anext(changes)

    async def collect(changes: vs.aio.Changes) -> list[vs.Event]:
        return [event async for event in changes]

    asyncio.run(main())


def test_closing_it_ends_a_step_that_waits(vault: MemoryVault) -> None:
    async def main() -> None:
        changes = vs.aio.changes(vault)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.01)
        await changes.aclose()
        await changes.aclose()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, 20)

    asyncio.run(main())


def test_one_that_is_forgotten_and_a_loop_that_is_closed_leave_nothing_behind(vault: MemoryVault) -> None:
    async def main() -> vs.aio.Changes:
        async for _ in vs.aio.changes(vault):
            break
        gc.collect()
        assert not vault._bus._subscribers
        return vs.aio.changes(vault)

    threading.Timer(0.1, lambda: vault.add("note", title="x")).start()
    kept = asyncio.run(main())
    vault.add("note", title="after the loop is gone")
    time.sleep(0.05)
    del kept
    gc.collect()
    assert not vault._bus._subscribers


def test_a_cancelled_edit_is_over_when_the_cancellation_is_seen(vault: MemoryVault) -> None:
    async def main() -> None:
        began, finished = threading.Event(), threading.Event()

        def slowly() -> None:
            with vault.batch():
                began.set()
                time.sleep(0.3)
                vault.add("note", title="x")
            finished.set()

        task = asyncio.create_task(vs.aio.run(slowly))
        await asyncio.to_thread(began.wait)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()  # twice
        with pytest.raises(asyncio.CancelledError):
            await task
        assert finished.is_set()
        assert len(vault.view()) == 1
        with pytest.raises(vs.UnknownField):
            await vs.aio.run(vault.add, "note", nonsense=1)

    asyncio.run(main())


class Hanging(MemoryRemote):
    go = threading.Event()
    hang = False

    def list(self, prefix: str) -> list[str]:
        if self.hang:
            self.go.wait(20)
        return super().list(prefix)


def test_syncing_is_awaited_and_may_be_cancelled_at_a_remote_that_hangs() -> None:
    remote = Hanging()
    vault = memory_vault(SCHEMA, remote=remote)

    async def main() -> None:
        vault.add("note", title="x")
        progress: list[vs.Progress] = []
        report = await vs.aio.sync(vault, progress=progress.append)
        assert report.sent > 0
        assert progress
        remote.present = False
        with pytest.raises(vs.RemoteUnavailable):
            await vs.aio.sync(vault)
        remote.present, remote.hang = True, True
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(vs.aio.sync(vault), 0.1)

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 10, "the program ends although the remote hangs"
    remote.go.set()
    vault.close()
