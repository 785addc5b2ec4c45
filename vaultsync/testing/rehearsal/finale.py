"""What must hold once everybody knows everything and repairs are quiet.

Agreement: equal documents; twins show the same; what an older version shows is what ``back`` makes of what a newer one
shows. Loss: every word that stands is shown or listed in ``conflicts`` by the newest version, no word that is gone is
shown, and what a person wrote last, undisturbed, reads so at that version. Notices count what the lists hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from vaultsync.schema.cells import trashed
from vaultsync.schema.types import Schema
from vaultsync.testing.rehearsal.device import Look, entry_id
from vaultsync.testing.rehearsal.failure import Found
from vaultsync.testing.rehearsal.families import Family, dropped_fields
from vaultsync.testing.rehearsal.truth import Act
from vaultsync.testing.rehearsal.values import show, words_of
from vaultsync.testing.rehearsal.world import World
from vaultsync.view.chain import only
from vaultsync.view.context import Context
from vaultsync.view.entry import Entry, Status
from vaultsync.view.picture import View

__all__ = ["Finale"]


class Finale:
    """The end of one history. ``leftovers``: fields (``name`` or ``type.name``) that conversions drop knowingly."""

    def __init__(self, world: World, leftovers: Iterable[str] = ()) -> None:
        self.world = world
        self.stage = world.stage
        self.truth = world.truth
        self.leftovers = frozenset(leftovers)
        self.places: dict[tuple[int, str], Schema] = {
            (d.schema.version, d.schema.platform): d.schema for d in world.devices
        }
        for act in world.truth.acts:  # also those at which somebody wrote, and was updated since
            self.places.setdefault(act.place, self.stage.at(*act.place))
        self.newest = world.devices[0]
        self.seen: Counter[str] = Counter()
        self.touched: Counter[str] = Counter()
        """Forms of lenses that something was written through (1) and something had to move to conflicts of (2)."""

    def run(self) -> None:
        """Every check. Raises ``Found``."""
        self.world.story.append("Everybody syncs with everybody")
        rounds = self.world.rest()
        self.world.tally[f"rounds {rounds}"] += 1
        self.same_documents()
        for number in self.world.entries:
            self.entry(number)
        self.notices()
        for form, bits in self.touched.items():
            self.world.tally[f"histories {form}"] += 1
            self.world.tally[f"moved {form}"] += bits > 1
        self.world.tally.update(self.seen)

    def same_documents(self) -> None:
        first, *others = self.world.devices
        for number in self.world.entries:
            for other in others:
                if first.raw(number) != other.raw(number):
                    raise Found("disagree", "documents", f"{self.world.label(number)} differs between devices")

    def entry(self, number: int) -> None:
        raw = self.newest.raw(number) or {}
        looks = {place: self.newest.look(number, schema) for place, schema in self.places.items()}
        for look in looks.values():
            self.stage.check_laws(look)
        entries = {place: look.entry for place, look in looks.items()}
        self.twins(number)
        if trashed(raw) != self.truth.trashed(number):
            said = "is in the trash although an edit was not seen by any delete"
            text = said if trashed(raw) else "is not in the trash although a delete saw every edit"
            raise Found("trash", "trash", f"{self.world.label(number)} {text}")
        if trashed(raw):
            return
        for place, look in looks.items():
            self.versions_agree(place, look, entries)
        if not self.truth.purged(number):
            self.written_last(number, entries)
            self.words(number)
            self.silence(number, entries)
        self.leftover(number)

    def say(self, place: tuple[int, str]) -> str:
        """Who runs that version, for a story."""
        who = [d for d in self.world.devices if (d.schema.version, d.schema.platform) == place]
        return self.world.name(who[0]) if who else f"version {place[0]}"

    def shows(self, entry: Entry, place: tuple[int, str]) -> str:
        """A last line of the story."""
        text = f"{self.say(place)} shows {show(entry.fields)}"
        return text + (f", read-only {show(entry.retired)}" if entry.retired else "")

    # ---- agreement ----------------------------------------------------------------------------------------------
    def twins(self, number: int) -> None:
        pictures: dict[tuple[int, str], tuple[Any, str]] = {}
        for device in self.world.devices[:2]:
            place, entry = (device.schema.version, device.schema.platform), device.alone(number)
            mine = (dict(entry.fields), dict(entry.retired), entry.status, sorted(entry.missing))
            picture, other = pictures.setdefault(place, (mine, self.world.name(device)))
            if picture != mine:
                text = f"{other} and {self.world.name(device)} know the same and show different things"
                fields = [name for name in {*picture[0], *mine[0]} if picture[0].get(name) != mine[0].get(name)]
                raise Found("disagree", (fields or ["entry"])[0], text, show(picture[0]), show(mine[0]))
        self.stage.check_watch()

    def versions_agree(self, place: tuple[int, str], look: Look, entries: dict[tuple[int, str], Entry]) -> None:
        """``back`` of what this version shows is what the older ones show."""
        newer, shape = look.entry, look.entry._judgement.shape
        if not shape.steps:
            return
        climbed = look.climbed
        for i, step in enumerate(climbed.steps):
            old = step.old_values(only(climbed.levels[i], step.lens.old))
            new = step.new_values(only(climbed.levels[i + 1], step.lens.new))
            if step.mirrored and (low := step.back(new)) != old:
                text = (
                    f"lens {step.lens.ends}: {self.say(place)} shows {show(new)}, whose older form is {show(low)}, "
                    f"and older versions have {show(old)}"
                )
                raise Found("disagree", step.lens.ends, text)
            for (version, platform), older in entries.items():
                line = {kind.name for kind in shape.line}
                hidden = Status.HIDDEN in (older.status, newer.status)
                if version >= place[0] or platform != place[1] or hidden or older.type not in line:
                    continue
                active = {field.name for field in older._judgement.shape.active}
                for name in active.intersection(step.lens.old):
                    if older.get(name) != old.get(name):
                        text = (
                            f"lens {step.lens.ends}: {self.say((version, platform))} shows {name} "
                            f"{show(older.get(name))}, and {self.say(place)} takes it for {show(old.get(name))}"
                        )
                        raise Found("disagree", step.lens.ends, text, self.shows(newer, place))

    # ---- loss ---------------------------------------------------------------------------------------------------
    def written_last(self, number: int, entries: dict[tuple[int, str], Entry]) -> None:
        """What somebody wrote, and nobody wrote beside or after, reads so at that version: for every kind."""
        for act in self.truth.of(number):
            entry = entries[act.place]
            active = {field.name for field in entry._judgement.shape.active} if entry.decision.face else ()
            for name, value in act.values.items():
                family = self.stage.families[name]
                if name not in active or not self.truth.undisturbed(act, family):
                    continue
                wanted = value if value not in ((), frozenset()) else None
                if entry.get(name) != wanted and entry.status is not Status.HIDDEN:
                    text = (
                        f"{self.say(act.place)} set {name} to {show(wanted)}, nobody wrote it since, "
                        f"and it shows {show(entry.get(name))}"
                    )
                    raise Found("lost", name, text, self.shows(entry, act.place))

    def words(self, number: int) -> None:
        """Every word that stands can be read, and no word that is gone."""
        entry = self.newest.entry(number)
        if entry.status is Status.HIDDEN:
            return
        here = {field.name for field in entry._judgement.shape.known.values()}
        shown = self.by_family({**entry.fields, **entry.retired})
        listed: dict[Family, frozenset[str]] | None = None
        touched: Counter[str] = Counter()
        for (family, word), last in self.truth.words(number).items():
            if (family, word) in self.truth.doubled or here.isdisjoint(family.fields):
                continue
            said = {act.said[family, word] for act in last}
            if None in said:
                continue
            contested = any(self.truth.contested(act, family) for act in last)
            touched[family.form] |= 1
            self.seen[f"{'contested' if contested else 'clean'} {family.form}"] += 1
            there = word in shown.get(family, ())
            if said == {True} and not there:
                listed = self.by_family_listed(self.newest.alone(number)) if listed is None else listed
                self.missing(entry, family, word, last, word in listed.get(family, ()), contested)
                touched[family.form] |= 2
            if said == {False} and there:
                if not contested:
                    self.came_back(entry, family, word, last)
                self.seen[f"came back {family.form}"] += 1
        for form, bits in touched.items():
            self.touched[form] |= bits

    def missing(self, entry: Entry, family: Family, word: str, last: list[Act], listed: bool, contested: bool) -> None:
        """A word stands and is not shown: it must be listed, unless an older form was written beside it."""
        self.seen[f"{'listed' if listed else 'unlisted'} {family.form}"] += 1
        if listed:
            return
        if contested:
            return
        who = last[0]
        name = next((n for n, value in who.values.items() if word in words_of(value)), "a field")
        place = (self.newest.schema.version, self.newest.schema.platform)
        text = (
            f"{word!r} of {name} (written by {self.say(who.place)}) is lost: nobody removed it, "
            f"{self.say(place)} neither shows it nor lists it among the conflicts"
        )
        raise Found("lost", family.ends or name, text, self.shows(entry, place))

    def came_back(self, entry: Entry, family: Family, word: str, last: list[Act]) -> None:
        place = (self.newest.schema.version, self.newest.schema.platform)
        text = f"{word!r} came back: {self.say(last[0].place)} removed it and nobody wrote it since"
        raise Found("came back", family.ends or min(family.fields), text, self.shows(entry, place))

    def by_family(self, values: dict[str, Any]) -> dict[Family, frozenset[str]]:
        """The words of shown values."""
        found: dict[Family, frozenset[str]] = {}
        for name, value in values.items():
            family = self.stage.families[name]
            found[family] = found.get(family, frozenset()) | words_of(value, numbers=family.numbers)
        return found

    def by_family_listed(self, entry: Entry) -> dict[Family, frozenset[str]]:
        """The words of what ``conflicts`` lists."""
        found: dict[Family, frozenset[str]] = {}
        for name, conflicts in entry.conflicts.items():
            family = self.stage.families[name]
            every = tuple(conflict.value for conflict in conflicts)
            found[family] = found.get(family, frozenset()) | words_of(every, numbers=family.numbers)
        return found

    def leftover(self, number: int) -> None:
        """A conversion that leaves a field behind: it can be read, and nobody who has the new type can edit it."""
        entry = self.newest.entry(number)
        line = entry._judgement.shape.line
        for kind in line[:-1]:
            for name, target in dropped_fields(kind, self.stage.schema).items():
                if name in entry.retired and not self.leftovers & {name, f"{kind.name}.{name}"}:
                    place = (self.newest.schema.version, self.newest.schema.platform)
                    text = (
                        f"the conversion of {kind.name} to {target.name} drops {name}: {show(entry.retired[name])} is "
                        f"a leftover that can't be edited. Add a lens or a field to {target.name}, or, if it is meant, "
                        f"say leftovers=['{kind.name}.{name}']"
                    )
                    raise Found("leftover", f"{kind.name}.{name}", text, self.shows(entry, place))

    # ---- notices ------------------------------------------------------------------------------------------------
    def silence(self, number: int, entries: dict[tuple[int, str], Entry]) -> None:
        """An entry that shows less than the newest version does is not called complete."""
        newest = self.newest.entry(number)
        place = (self.newest.schema.version, self.newest.schema.platform)
        full = self.by_family(dict(newest.fields))
        for (version, platform), entry in entries.items():
            if entry.status is not Status.COMPLETE or platform != place[1]:
                continue
            mine = self.by_family({**entry.fields, **entry.retired})
            for family, words in full.items():
                if not family.opaque and (unseen := words - mine.get(family, frozenset())):
                    text = (
                        f"{self.say((version, platform))} calls {self.world.label(number)} complete and does not show "
                        f"{sorted(unseen)[0]!r}, which {self.say(place)} shows"
                    )
                    raise Found(
                        "notice", family.ends or min(family.fields), text, self.shows(entry, (version, platform))
                    )

    def notices(self) -> None:
        """What every version would tell a person, against its own lists."""
        rows = {entry_id(number): self.newest.raw(number) or {} for number in self.world.entries}
        counted: dict[int, int] = {}
        for (version, platform), schema in self.places.items():
            view = View.build(rows.items(), schema, Context())
            who = self.say((version, platform))
            lists = {
                "hidden": len(view.hidden),
                "flagged": sum(entry.status is Status.FLAGGED for entry in view),
                "archived": len(view.archived),
            }
            told = {notice.kind.value: notice.count for notice in view.notices}
            if told != {kind: count for kind, count in lists.items() if count}:
                raise Found("notice", "count", f"the notices of {who} count {told}, its lists hold {lists}")
            for notice in view.notices:
                if not str(notice) or sum(part.count for part in notice.parts) < notice.count:
                    raise Found("notice", "count", f"a notice of {who} does not explain what it counts: {notice}")
            alive = sum(entry.counted for entry in (*view.entries, *view.hidden, *view.archived, *view.trash))
            if alive != view.counted or counted.setdefault(version, alive) != alive:
                raise Found("notice", "quota", f"{who} counts {view.counted} entries, others of its version differ")
