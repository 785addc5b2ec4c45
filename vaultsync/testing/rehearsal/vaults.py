"""The same histories with real vaults: a script that was written over bare documents is played again by vaults with
files, keys and a remote, through the public API alone.

Edits, upgrades and downgrades (a vault closed and opened at another version), upgrade plans and the repairs that a
vault makes by itself after a merge are the library's own here. What must hold at the end is checked in the same way and
counted with the same measure, so that the figures can be compared.

    python -m vaultsync.testing.timelines 7 1 --vaults        one history of a seed; its story, if it fails
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from vaultsync.document.codec import decode_own
from vaultsync.document.layout import ENTRIES
from vaultsync.errors import WrongKind
from vaultsync.schema.cells import Raw, trashed
from vaultsync.schema.types import Schema
from vaultsync.testing.checks import check_incremental
from vaultsync.testing.installation import Installation
from vaultsync.testing.rehearsal.device import Device, Look
from vaultsync.testing.rehearsal.failure import Found
from vaultsync.testing.rehearsal.finale import Finale
from vaultsync.testing.rehearsal.script import Script, Step
from vaultsync.testing.rehearsal.stage import Stage
from vaultsync.testing.rehearsal.truth import Act, Word
from vaultsync.testing.rehearsal.values import show
from vaultsync.testing.rehearsal.world import World, writable
from vaultsync.testing.remotes import MemoryRemote
from vaultsync.testing.vaults import scratch_folder
from vaultsync.vault.vault import Vault
from vaultsync.view.entry import Entry, evaluate
from vaultsync.view.upkeep import repair

__all__ = ["VaultWorld", "play_with_vaults"]


class VaultDevice(Device):
    """An installation with a vault instead of a document. ``ids``: entry number -> the id it has in the vaults."""

    def __init__(self, number: int, shared: dict[Any, Look], installation: Installation, ids: dict[int, str]) -> None:
        super().__init__(number, installation.schema, shared)
        self.installation = installation
        self.ids = ids

    @property
    def vault(self) -> Vault:
        """The open vault."""
        return self.installation.vault

    def raw(self, number: int) -> Raw | None:
        """An entry as it is stored."""
        entry_id = self.ids.get(number)
        return None if entry_id is None else self.vault._ledger.engine.read(ENTRIES, entry_id)

    def look(self, number: int, schema: Schema | None = None) -> Look:
        """An entry as the vault shows it, or would at another version."""
        schema, raw = schema or self.schema, self.raw(number) or {}
        place = (number, id(schema), frozenset(raw.items()))
        if (found := self._shared.get(place)) is None:
            context = self.vault.view().context
            found = self._shared[place] = Look(evaluate(self.ids.get(number, ""), raw, schema, context))
        return found

    def alone(self, number: int) -> Entry:
        """What the vault's own view holds."""
        return self.vault.view()[self.ids[number]]

    def count(self, acts: Iterable[Act]) -> None:
        """Which acts are known here by now: those whose changes arrived."""
        engine = self.vault._ledger.engine
        self.saw = sum(act.bit for act in acts if all(engine.has(change) for change in act.changes))

    def written(self) -> bytes:
        """The hash of the last change that this device made."""
        ledger = self.vault._ledger
        return decode_own(ledger.engine.own_changes(ledger.actor, 0)[-1]).hash


class VaultWorld(World):
    """One script, played by vaults that share a remote."""

    def __init__(self, stage: Stage, script: Script, seed: str) -> None:
        super().__init__(stage, script.cast, conflicts=True)
        self.folder = scratch_folder()
        self.remote = MemoryRemote()
        shared: dict[Any, Look] = {}
        ids: dict[int, str] = {}
        self.vaults: list[VaultDevice] = []
        code = ""
        for number, place in enumerate(script.cast.places):
            name = script.cast.label(number, place[0]).partition(" ")[0]
            made = Installation(name, seed, stage.at(*place), self.remote, self.folder)
            if code:
                made.join(code)
            else:
                code = made.found()
                made.vault.sync()
            self.vaults.append(VaultDevice(number, shared, made, ids))
        self.ids = ids
        self.devices = list(self.vaults)

    def close(self) -> None:
        """Close every vault and remove its file."""
        for device in self.vaults:
            device.installation.close_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _noted(
        self,
        device: VaultDevice,
        step: Step,
        values: Mapping[str, Any],
        said: Mapping[Word, bool | None],
        wrote: Iterable[str] = (),
    ) -> None:
        """The act that a person just did through the vault."""
        self._record(device, step.kind, step.entry, [device.written()], values, said, wrote)
        check_incremental(device.vault)

    # ---- steps --------------------------------------------------------------------------------------------------
    def _add(self, device: VaultDevice, step: Step) -> bool:  # type: ignore[override]
        kind = device.schema.active(step.type)
        if kind is None or step.entry in self.entries:
            return False
        values = self._fitting(device, kind.name, step.values)
        try:
            entry = device.vault.add(kind.name, **values)
        except WrongKind as error:
            self._refused(error, device)
            return False
        self.entries[step.entry], self.ids[step.entry] = kind.name, entry.id
        self.story.append(f"{self.name(device)} adds {self.label(step.entry)} with {show(values)}")
        said: dict[Word, bool | None] = {}
        self._twice(entry)
        for name, value in values.items():
            said |= self._said(name, device.schema.kinds[name], None, value, ())
        self._noted(device, step, values, said)
        self._reads(device, entry, values)
        return True

    def _set(self, device: VaultDevice, step: Step) -> bool:  # type: ignore[override]
        if device.raw(step.entry) is None:
            return False
        before = device.alone(step.entry)
        values = writable(before, step.values)
        if not values:
            return False
        listed = self._listed(before)
        try:
            after = device.vault.update(before, **values)
        except WrongKind as error:
            self._refused(error, device)
            return False
        self.story.append(f"{self.name(device)} sets {self._sentence(values, step.entry)}")
        self._reads(device, after, values, before)
        if after.raw == before.raw:
            return False
        said: dict[Word, bool | None] = {}
        for name, value in values.items():
            family = self.stage.families[name]
            said |= self._said(name, before._kind(name), before.get(name), value, listed.get(family, ()))
        self._untouched(device, before, after)
        self._twice(after)
        self._noted(device, step, values, said)
        return True

    def _remove(self, device: VaultDevice, step: Step, word: str) -> bool:  # type: ignore[override]
        raw = device.raw(step.entry)
        if raw is None or (trashed(raw) and step.kind == "delete"):
            return False
        getattr(device.vault, step.kind)(self.ids[step.entry])
        if device.raw(step.entry) == raw:
            return False
        self.story.append(f"{self.name(device)} {word} {self.label(step.entry)}")
        self._noted(device, step, {}, {}, raw if step.kind == "purge" else {})
        return True

    def _restore(self, device: VaultDevice, step: Step) -> bool:  # type: ignore[override]
        raw = device.raw(step.entry)
        if raw is None or not trashed(raw):
            return False
        device.vault.restore(self.ids[step.entry])
        self.story.append(f"{self.name(device)} restores {self.label(step.entry)}")
        self._noted(device, step, {}, {})
        return True

    def _convert(self, device: VaultDevice, step: Step) -> bool:  # type: ignore[override]
        """The upgrade plan of everything that has a successor."""
        plan = device.vault.upgrade_plan()
        types = [each.type for each in plan.types if each.convert and not each.delete]
        if not types or not plan.apply(types):
            return False
        self.story.append(f"{self.name(device)} applies its upgrade plan: {', '.join(types)}")
        self.tally["conversions"] += 1
        check_incremental(device.vault)
        return True

    def _update(self, device: VaultDevice, step: Step) -> bool:  # type: ignore[override]
        if step.version == device.schema.version:
            return False
        self.tally["upgrades" if step.version > device.schema.version else "downgrades"] += 1
        device.schema = device.installation.schema = self.stage.at(step.version, device.schema.platform)
        device.installation.close_all()
        device.installation.open()
        self.story.append(f"{self.name(device)} is updated to {step.version}")
        check_incremental(device.vault)
        return True

    def _sync(self, device: VaultDevice, step: Step) -> bool:  # type: ignore[override]
        """Through the remote: whoever hears of one device hears of everything that lies there."""
        other = self.vaults[step.other]
        if other is device:
            return False
        for each in (other, device):
            each.vault.sync()
            each.count(self.truth.acts)
            check_incremental(each.vault)
        self.story.append(f"{self.name(other)} and {self.name(device)} sync")
        return True

    def rest(self) -> int:
        """Everybody syncs until nothing comes any more; then nobody may have anything to repair."""
        for _ in range(4 * len(self.vaults) + 8):
            reports = [device.vault.sync() for device in self.vaults]
            if not any(report.sent or report.received for report in reports):
                break
        else:
            raise Found("unrest", "repairs", "the vaults never come to rest")
        for device in self.vaults:
            device.count(self.truth.acts)
            for number in self.entries:
                if left := repair(device.raw(number) or {}, device.schema):
                    text = f"{self.name(device)} still has {sorted(left)} of {self.label(number)} to repair"
                    raise Found("unrest", "repairs", text)
            check_incremental(device.vault)
        self.tally["repairs"] += sum(
            revision.event == "upkeep"
            for entry_id in self.ids.values()
            for revision in self.vaults[0].vault.history(entry_id)
        )
        return 0


def play_with_vaults(stage: Stage, script: Script, seed: str, leftovers: Iterable[str] = ()) -> Counter[str]:
    """Play a script with vaults; returns what it consisted of. ``seed``: of its timeline, ``/``, its number there.
    Raises ``AssertionError`` with seed and story."""
    world = VaultWorld(stage, script, seed)
    try:
        for step in script.steps:
            if world.perform(step):
                world.tally[f"act {step.kind}"] += 1
        Finale(world, leftovers).run()
    except Found as found:
        story = "\n".join(f"{n:3}. {line}" for n, line in enumerate([*world.story, *found.shows], 1))
        timeline, _, number = seed.rpartition("/")
        again = f"python -m vaultsync.testing.timelines {timeline} {int(number) + 1} --vaults"
        raise AssertionError(f"{found.kind}: {found.text}\n{story}\n\nseed {seed}; to see it again: {again}") from found
    finally:
        world.close()
    world.tally["histories"] += 1
    return world.tally
