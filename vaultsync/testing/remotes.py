"""Remotes for tests: one in memory, and one around any other that misbehaves in ways replayable from a seed."""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from vaultsync.errors import ObjectMissing, RemoteRefused, RemoteUnavailable
from vaultsync.remote.port import Remote, check_name, check_prefix

__all__ = ["Faults", "FaultyRemote", "LyingRemote", "MemoryRemote"]

_TICK_SECONDS = 0.005
_T = TypeVar("_T")


class MemoryRemote:
    """Objects in a dictionary. Thread-safe; share one object between all the vaults of a test.

    ``orderly``: a listing shows everything that was put before it. ``objects`` may be read and damaged by tests.
    ``readonly`` makes writing raise ``RemoteRefused``,
    ``present = False`` makes everything raise ``RemoteUnavailable``.
    """

    orderly = True

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.readonly = False
        self.present = True
        self._lock = threading.Lock()
        self._told: weakref.WeakKeyDictionary[threading.Event, dict[str, dict[str, int]]] = weakref.WeakKeyDictionary()

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``."""
        check_name(name)
        with self._lock:
            self._check(writing=True)
            if self.objects.setdefault(name, bytes(data)) != data:
                raise RemoteRefused(f"{name} already holds something else; nothing was changed")

    def get(self, name: str) -> bytes:
        """See ``Remote.get``."""
        check_name(name)
        with self._lock:
            self._check()
            if name not in self.objects:
                raise ObjectMissing(f"no object {name}")
            return self.objects[name]

    def list(self, prefix: str) -> list[str]:
        """See ``Remote.list``."""
        prefix = check_prefix(prefix)
        with self._lock:
            self._check()
            return sorted(name for name in self.objects if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """See ``Remote.delete``."""
        check_name(name)
        with self._lock:
            self._check(writing=True)
            self.objects.pop(name, None)

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """See ``Remote.wait``."""
        prefix = check_prefix(prefix)
        end = time.monotonic() + timeout
        while not wake.is_set():
            with self._lock:
                self._check()
                now = {name: len(data) for name, data in self.objects.items() if name.startswith(prefix)}
                told = self._told.setdefault(wake, {})
                if told.get(prefix) != now:
                    told[prefix] = now
                    return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            wake.wait(min(_TICK_SECONDS, left))
        return False

    def close(self) -> None:
        """See ``Remote.close``. The objects stay: other vaults may share them."""

    def _check(self, *, writing: bool = False) -> None:
        if not self.present:
            raise RemoteUnavailable("the remote is away")
        if writing and self.readonly:
            raise RemoteRefused("the remote is read-only")


class LyingRemote:
    """``inner`` as an operator with intentions shows it. One for each device makes it show them different things.

    ``hidden`` are names that are neither listed nor given. Putting one shows it again, unless the remote is
    ``stubborn``: then it says yes and goes on hiding.
    """

    def __init__(self, inner: Remote) -> None:
        self.inner = inner
        self.orderly = getattr(inner, "orderly", False)
        self.hidden: set[str] = set()
        self.stubborn = False

    def withhold(self, which: Callable[[str], bool]) -> int:
        """Hide whatever is there now and matches; returns how much that is."""
        found = {name for name in self.inner.list("") if which(name)} - self.hidden
        self.hidden |= found
        return len(found)

    def remember(self) -> frozenset[str]:
        """What is shown now, for `roll_back`."""
        return frozenset(self.list(""))

    def roll_back(self, to: frozenset[str]) -> int:
        """Hide what was not there then; returns how much that is."""
        return self.withhold(lambda name: name not in to)

    def confess(self) -> None:
        """Hide nothing any more."""
        self.hidden.clear()
        self.stubborn = False

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``."""
        self.inner.put(name, data)
        if not self.stubborn:
            self.hidden.discard(name)

    def get(self, name: str) -> bytes:
        """See ``Remote.get``."""
        if name in self.hidden:
            raise ObjectMissing(f"no object {name}")
        return self.inner.get(name)

    def list(self, prefix: str) -> list[str]:
        """See ``Remote.list``."""
        return [name for name in self.inner.list(prefix) if name not in self.hidden]

    def delete(self, name: str) -> None:
        """See ``Remote.delete``."""
        self.inner.delete(name)

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """See ``Remote.wait``."""
        return self.inner.wait(prefix, timeout, wake)

    def close(self) -> None:
        """See ``Remote.close``."""


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong, as probabilities of 0 to 1 a call (``hide``: an object put; ``drop``: a name listed).

    ``unavailable``: the call raises ``RemoteUnavailable`` and nothing happened. ``lost_ack``: a put or delete happened
    and raises all the same. ``vanish``: the remote goes away for the next one to four calls. ``hide``: an object put is
    not seen by the next one to four listings and reads. ``drop``: a name is left out of a listing. ``repeat``: a
    listing repeats some names. ``shuffle``: a listing is out of order. ``cut``: a read gives only a beginning.
    ``again``: a put is done twice.
    """

    unavailable: float = 0.0
    lost_ack: float = 0.0
    vanish: float = 0.0
    hide: float = 0.0
    drop: float = 0.0
    repeat: float = 0.0
    shuffle: float = 0.0
    cut: float = 0.0
    again: float = 0.0

    @classmethod
    def all(cls, rate: float) -> Faults:
        """Everything at one rate."""
        return cls(*[rate] * len(cls.__dataclass_fields__))


class FaultyRemote:
    """``inner`` with faults. The same seed and the same calls (from one thread) give the same faults.

    ``plan`` forces a fault at chosen calls, counted from 0: call number -> name of a field of ``Faults``. ``log`` holds
    one line a call; it and the seed, which ``repr`` shows, replay a failure. ``calm()`` ends all faults but keeps
    counting; ``present`` switches the remote off and on by hand.
    """

    def __init__(
        self, inner: Remote, seed: int, faults: Faults | None = None, *, plan: Mapping[int, str] | None = None
    ) -> None:
        self.inner = inner
        self.seed = seed
        self.faults = faults if faults is not None else Faults.all(0.1)
        self.plan = dict(plan or {})
        self.log: list[str] = []
        self.present = True
        self._random = random.Random(seed)
        self._away = 0
        self._hidden: dict[str, int] = {}  # name -> looks that do not see it yet
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"FaultyRemote({self.inner!r}, seed={self.seed}, calls={len(self.log)})"

    def calm(self) -> None:
        """No more faults: what was hidden is seen, what was away is back."""
        self.faults, self.plan, self.present, self._away = Faults(), {}, True, 0
        self._hidden.clear()

    def put(self, name: str, data: bytes) -> None:
        """See ``Remote.put``."""
        with self._lock:
            self._begin(f"put {name}")
            if self._strikes("hide"):
                self._hidden[name] = self._random.randint(1, 4)
            self._acknowledge(lambda: self.inner.put(name, data))

    def get(self, name: str) -> bytes:
        """See ``Remote.get``."""
        with self._lock:
            self._begin(f"get {name}")
            if self._unseen(name):
                raise ObjectMissing(f"no object {name} (yet)")
            data = self.inner.get(name)
            return data[: self._random.randrange(len(data))] if data and self._strikes("cut") else data

    def list(self, prefix: str) -> list[str]:
        """See ``Remote.list``; may be in any order, with repetitions and incomplete, which that allows."""
        with self._lock:
            self._begin(f"list {prefix}")
            found = [name for name in self.inner.list(prefix) if not self._unseen(name) and not self._strikes("drop")]
            if found and self._strikes("repeat"):
                found += self._random.choices(found, k=3)
            if self._strikes("shuffle"):
                self._random.shuffle(found)
            return found

    def delete(self, name: str) -> None:
        """See ``Remote.delete``."""
        with self._lock:
            self._begin(f"delete {name}")
            self._acknowledge(lambda: self.inner.delete(name))

    def wait(self, prefix: str, timeout: float, wake: threading.Event) -> bool:
        """See ``Remote.wait``."""
        with self._lock:
            self._begin(f"wait {prefix}")
        return self.inner.wait(prefix, timeout, wake)

    def close(self) -> None:
        """See ``Remote.close``."""
        self.inner.close()

    def _begin(self, call: str) -> None:
        self.log.append(call)
        if self._away:
            self._away -= 1
            self._fail("away")
        if not self.present:
            self._fail("away")
        if self._strikes("vanish"):
            self._away = self._random.randint(0, 3)
            self._fail("vanished")
        if self._strikes("unavailable"):
            self._fail("unavailable")

    def _acknowledge(self, action: Callable[[], _T]) -> _T:
        if self._strikes("again"):
            action()
        result = action()
        if self._strikes("lost_ack"):
            self._fail("done, and the acknowledgement lost")
        return result

    def _strikes(self, fault: str) -> bool:
        rate: float = getattr(self.faults, fault)
        drawn = self._random.random() < rate  # always drawn: a plan does not shift what the seed gives elsewhere
        return drawn or self.plan.get(len(self.log) - 1) == fault

    def _unseen(self, name: str) -> bool:
        left = self._hidden.pop(name, 0)
        if left > 1:
            self._hidden[name] = left - 1
        return left > 0

    def _fail(self, how: str) -> None:
        self.log[-1] += f": {how}"
        raise RemoteUnavailable(f"{how} (call {len(self.log) - 1}, seed {self.seed})")
