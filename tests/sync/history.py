"""Made-up histories, and a shell that drives a core against what a made-up remote serves."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vaultsync.errors import VaultSyncError
from vaultsync.sync import Core, Finding, names
from vaultsync.sync.events import (
    NO_ENVELOPE,
    Applied,
    Decision,
    Event,
    Failed,
    Group,
    Holds,
    Incomplete,
    Listed,
    Opened,
    Put,
    Tip,
)

VAULT = b"v" * 16
EVERYTHING = names.envelopes_prefix(VAULT)


def chain_id(letter: str) -> bytes:
    return letter.encode() * 16


@dataclass(frozen=True)
class Env:
    """One made-up envelope, bringing one change."""

    name: str
    chain: bytes
    seq: int
    env_id: bytes
    prev: bytes
    change: bytes
    deps: frozenset[bytes] = frozenset()
    frontier: Mapping[bytes, tuple[int, bytes]] = field(default_factory=dict, compare=False)
    group: Group | None = None

    def opened(self, known: Iterable[bytes] = (), *, follows: bool = False) -> Opened:
        known = frozenset(known)
        return Opened(
            self.name,
            self.env_id,
            self.prev,
            frozenset([self.change]),
            self.deps - known,
            self.frontier,
            self.group,
            follows,
            known=self.change in known,
        )


def make(
    chain: str | bytes,
    seq: int = 1,
    prev: Env | bytes = NO_ENVELOPE,
    *deps: Env,
    salt: str = "",
    frontier: Mapping[bytes, tuple[int, bytes]] | None = None,
    group: Group | None = None,
) -> Env:
    """An envelope of ``chain`` after ``prev`` whose change depends on those of ``deps`` and ``prev``."""
    key = chain_id(chain) if isinstance(chain, str) else chain
    before = prev.env_id if isinstance(prev, Env) else prev
    needs = frozenset(env.change for env in (*deps, *([prev] if isinstance(prev, Env) else [])))
    seed = b"|".join([key, b"%d" % seq, before, salt.encode(), *sorted(needs)])
    env_id = hashlib.sha256(seed).digest()
    change = hashlib.sha256(b"change" + seed).digest()
    name = names.envelope_name(VAULT, key, seq, env_id)
    return Env(name, key, seq, env_id, before, change, needs, frontier or {}, group)


def row(chain: str, count: int, *deps: Env) -> list[Env]:
    """A chain of ``count`` envelopes, the first of which depends on ``deps``."""
    made: list[Env] = []
    for seq in range(1, count + 1):
        made.append(make(chain, seq, made[-1] if made else NO_ENVELOPE, *(deps if seq == 1 else ())))
    return made


def listed(*envs: Env) -> Listed:
    return Listed(EVERYTHING, sorted(env.name for env in envs))


@dataclass
class Shell:
    """Plays the vault: a document that knows changes, a store that holds envelopes, and ``served`` for the remote."""

    core: Core
    served: dict[str, Env | None] = field(default_factory=dict)  # None: garbage under that name
    refuses: dict[str, VaultSyncError] = field(default_factory=dict)  # when opened
    gate: dict[str, VaultSyncError] = field(default_factory=dict)  # when applied
    document: set[bytes] = field(default_factory=set)
    held: dict[bytes, list[str]] = field(default_factory=dict)
    applied: list[Env] = field(default_factory=list)
    beside: list[Env] = field(default_factory=list)  # applied, on branches that are not followed
    units: list[tuple[str, ...]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    quarantined: dict[str, VaultSyncError] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    put: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)
    covered: list[str] = field(default_factory=list)
    compared: int = 0
    steps: int = 0
    bodies: dict[str, Env] = field(default_factory=dict)  # of what was opened
    start: Mapping[bytes, Tip] = field(default_factory=dict)

    def serve(self, *envs: Env) -> Shell:
        self.served.update((env.name, env) for env in envs)
        return self

    def hold(self, *envs: Env) -> Shell:
        """These are applied and stored here already."""
        for env in envs:
            self.held.setdefault(env.chain, []).append(env.name)
            self.document.add(env.change)
        return self

    def sync(self, *, chooser: random.Random | None = None) -> Shell:
        """A whole pass: list, then whatever the core decides until it has nothing more."""
        self.core.receive(Listed(EVERYTHING, sorted(self.served)))
        return self.settle(chooser=chooser)

    def settle(self, *, chooser: random.Random | None = None) -> Shell:
        while decision := self.core.decide():
            self.steps += 1
            assert self.steps < 10_000, "does not end"
            outcomes = self.outcomes(decision)
            if chooser is not None:
                chooser.shuffle(outcomes)
            for outcome in outcomes:
                self.core.receive(outcome)
                if chooser is not None and chooser.random() < 0.2:
                    self.core.receive(outcome)  # told twice
            self.apply(decision)
        return self

    def outcomes(self, decision: Decision) -> list[Event]:
        """Everything but applying."""
        self.findings += decision.findings
        self.covered += decision.covered
        for name in decision.release:
            del self.quarantined[name]
        self.quarantined.update((one.name, one.error) for one in decision.quarantine)
        answers: list[Event] = []
        for chain in decision.compare:
            self.compared += 1
            answers.append(Holds(chain, list(self.held.get(chain, [])), looked=list(self.covered)))
        self.put += decision.put
        self.healed += decision.heal
        for name in (*decision.put, *decision.heal):
            self.served.setdefault(name, None)
            answers.append(Put(name))
        for name in decision.fetch:
            self.fetched.append(name)
            env = self.served.get(name)
            if env is not None:
                self.bodies[name] = env
            if name in self.refuses:
                answers.append(Failed(name, self.refuses[name]))
            else:
                answers.append(self.opened(env) if env is not None else Incomplete(name))
        return answers

    def opened(self, env: Env) -> Opened:
        before = f"{env.seq - 1:012d}-{env.prev[:16].hex()}"
        return env.opened(self.document, follows=any(name.endswith(before) for name in self.held.get(env.chain, ())))

    def apply(self, decision: Decision) -> None:
        for unit in decision.apply:
            envs = [self.bodies[name] for name in unit.names]
            for env in envs:
                if env.name in self.gate:
                    self.core.receive(Failed(env.name, self.gate[env.name]))
                    return
                brought = {other.change for other in envs}
                assert env.deps <= self.document | brought, "applied before what it depends on"
            if unit.side:
                for env in envs:
                    known = {other.env_id for other in (*self.applied, *self.beside) if other.chain == env.chain}
                    collected = 1 < env.seq <= self.start.get(env.chain, Tip(0, b"")).floor + 1
                    assert collected or env.prev in known | {self.before(env), NO_ENVELOPE}, "begins nowhere"
                    self.beside.append(env)
                    self.document.add(env.change)
                    self.held.setdefault(env.chain, []).append(env.name)
                self.units.append(unit.names)
                self.core.receive(Applied(unit.names))
                continue
            for env in envs:
                last = [other for other in self.applied if other.chain == env.chain]
                assert env.prev == (last[-1].env_id if last else self.before(env)), "applied out of its chain's order"
                self.applied.append(env)
                self.document.add(env.change)
                self.held.setdefault(env.chain, []).append(env.name)
            self.units.append(unit.names)
            self.core.receive(Applied(unit.names))

    def before(self, env: Env) -> bytes:
        return self.start.get(env.chain, Tip(0, NO_ENVELOPE)).env_id


def shell(*envs: Env, start: Mapping[bytes, Tip] | None = None, **options: object) -> Shell:
    """A shell around a fresh core, with ``envs`` served."""
    core = Core(VAULT, start or {}, **options)  # type: ignore[arg-type]
    return Shell(core, start=start or {}).serve(*envs)


def tip(env: Env, floor: int = 0) -> dict[bytes, Tip]:
    return {env.chain: Tip(env.seq, env.env_id, floor)}
