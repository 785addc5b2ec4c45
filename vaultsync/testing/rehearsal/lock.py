"""``schema.lock``: what was published, in a file beside the application's code, so that nobody edits the past.

Plain JSON, sorted, a line a fact: a review shows what a change of the schema publishes. It holds the declaration of
every type as of every version at which it changed, without labels (those may be corrected any time), and the rule of
every lens. A published version never changes; a new one adds to the file and changes nothing in it.

What counts as published: the versions up to the newest one that ``schema.releases`` names; of a schema that names no
releases, all up to its own. So a version that is still being made may change until it gets its release's name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from vaultsync.errors import UsageError
from vaultsync.schema.published import declarations, drift
from vaultsync.schema.types import Schema
from vaultsync.testing.rehearsal.failure import RehearsalFailed
from vaultsync.testing.rehearsal.watch import lenses_of

__all__ = ["check_lock", "keep_lock", "write_lock"]

_FORMAT: Final = 1


def write_lock(schema: Schema, path: str | Path) -> None:
    """Write down what is published now, whatever the file says: to be reviewed like code. The same schema gives the
    same bytes."""
    Path(path).write_text(_text(_locked(schema)), encoding="utf-8")


def check_lock(schema: Schema, path: str | Path) -> None:
    """``RehearsalFailed`` (kind "lock") naming type, field and what changed, if a published version was edited since;
    versions that are newer than the file are not its business. ``UsageError`` if there is no such lock."""
    locked = _read(Path(path))
    if locked["schema"] != schema.name:
        raise RehearsalFailed("lock", schema.name, f"{path} locks schema {locked['schema']!r}, not {schema.name!r}")
    newest = locked["version"]
    if newest > schema.version:
        text = f"{path} locks version {newest} of {schema.name}, and this is {schema.version}: versions never go back"
        raise RehearsalFailed("lock", schema.name, text)
    changes = _changes(schema.at(newest), locked["types"])
    if changes:
        head = f"{len(changes)} published declaration{'s' if len(changes) > 1 else ''} of {schema.name} changed"
        advice = "Put the change into a new version; what devices in the world run cannot be edited."
        text = "\n  ".join([f"{head} ({path}):", *(change for _, change in changes), advice])
        raise RehearsalFailed("lock", changes[0][0], text)


def keep_lock(schema: Schema, path: Path) -> str:
    """What ``rehearse`` does with a lock: write it, or check it and add what was published since. Says which."""
    if not path.exists():
        write_lock(schema, path)
        return f"lock {path} written: keep it under version control"
    check_lock(schema, path)
    if _released(schema) > _read(path)["version"]:
        write_lock(schema, path)
        return f"lock {path} now holds version {_released(schema)}"
    return f"lock {path} holds"


def _released(schema: Schema) -> int:
    named = [version for version in schema.releases if version <= schema.version]
    return max(named, default=schema.version)


def _locked(schema: Schema) -> dict[str, Any]:
    newest = schema.at(_released(schema))
    return {"format": _FORMAT, "schema": schema.name, "version": newest.version, "types": _types(newest)}


def _types(schema: Schema) -> dict[str, Any]:
    """``type@version`` -> its declaration without labels, with the rules of its lenses."""
    made = {}
    for name, text in declarations(schema).items():
        declared = json.loads(text)
        kind = schema.types[declared["type"]]
        rules = {(lens.old, lens.new): lens.rule for lens in lenses_of(kind)}
        del declared["label"]
        for field in declared["fields"]:
            del field["label"]
        for lens in (*declared["lenses"], *((declared["converts"] or {}).get("lenses", []))):
            lens["rule"] = rules[tuple(lens["old"]), tuple(lens["new"])]
        made[name] = declared
    return made


def _text(locked: dict[str, Any]) -> str:
    return json.dumps(locked, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _read(path: Path) -> dict[str, Any]:
    try:
        locked = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no lock {path}: write_lock(schema, path) makes one") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no lock: {error}") from None
    match locked:
        case {"format": int(number), "schema": str(), "version": int(), "types": dict()} if number <= _FORMAT:
            return dict(locked)
    raise UsageError(f"{path} is no lock that this version of VaultSync reads")


def _changes(schema: Schema, types: dict[str, Any]) -> list[tuple[str, str]]:
    """(type, what changed) for every published declaration that is not what the file says."""
    found: dict[str, tuple[str, list[str]]] = {}
    stored = {name: json.dumps(_labelled(declared)) for name, declared in types.items()}
    for each in drift(schema, stored):
        found[f"{each.type}@{each.version}"] = (each.type, list(each.details))
    ours = _types(schema)
    for name, declared in ours.items():
        _, details = found.setdefault(name, (declared["type"], []))
        if name not in types:
            details.append("nothing was published in this version")
        elif not details and declared != types[name]:
            details += _rules(declared, types[name]) or ["it differs"]
    return [
        (kind, f"{name.replace('@', ' as of version ')}: {'; '.join(details)}")
        for name, (kind, details) in sorted(found.items())
        if details
    ]


def _labelled(declared: Any) -> Any:
    """With labels, which a declaration must have and the comparison leaves out."""
    fields = [{**field, "label": field["name"]} for field in declared["fields"]]
    return {**declared, "label": declared["type"], "fields": fields}


def _rules(ours: Any, theirs: Any) -> list[str]:
    """Lenses that connect the same fields by another rule."""
    found = []
    pairs = list(zip(ours["lenses"], theirs["lenses"], strict=False))
    if ours["converts"] and theirs["converts"]:
        pairs += zip(ours["converts"]["lenses"], theirs["converts"]["lenses"], strict=False)
    for one, two in pairs:
        if one.get("rule") != two.get("rule"):
            ends = f"{'+'.join(one['old'])} -> {'+'.join(one['new'])}"
            found.append(f"lens {ends}: its rule is {one.get('rule')!r} here, was {two.get('rule')!r}")
    return found
