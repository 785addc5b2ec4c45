"""``vaultsync upgrade``: what becomes of entries of types that this release no longer supports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vaultsync.cli import asking
from vaultsync.cli.output import line, note, print_json, say, table, working
from vaultsync.cli.session import Json, Misused, Session, on_vault, sync_quietly
from vaultsync.errors import ExportFirst, UsageError
from vaultsync.view.words import count, listing

if TYPE_CHECKING:
    import vaultsync as vs

__all__ = ["COMMANDS"]

_MOST_TITLES: Final = 20
_SYNC_PATIENCE: Final = 60.0


@on_vault()
def upgrade(
    session: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be done.")] = False,
    export: Annotated[
        str | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Save what would be deleted to a file that is not there yet, and do nothing else.",
            show_default=False,
        ),
    ] = None,
    type: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only entries of this type; may be repeated.", show_default=False),
    ] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Delete what no export holds.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Convert or delete entries of types that this release no longer supports.

    Until then they stay archived: readable, in sync with older devices, and not counted for limits. First look:
    [bold]vaultsync upgrade ann.vault --dry-run[/]. Then save what can only be deleted ([bold]--export FILE[/]), and
    run it.
    """
    if dry_run and (export is not None or discard):
        raise Misused("--dry-run does nothing, so it goes with neither --export nor --discard")
    if export is not None and discard:
        raise Misused("--export only saves; run `vaultsync upgrade` once more to delete what was saved")
    with session.opened() as vault:
        plan = vault.upgrade_plan()
        plans = _chosen(plan, type or None)
        if dry_run:
            _show(plan, plans, vault, json=json)
        elif export is not None:
            _export(plan, export, type or None, json=json)
        else:
            _apply(plan, plans, type or None, vault, discard=discard, yes=yes, json=json)


def _chosen(plan: vs.UpgradePlan, types: list[str] | None) -> list[vs.TypePlan]:
    if types is None:
        return list(plan.types)
    known = [each.type for each in plan.types]
    for name in types:
        if name not in known:
            there = f"; there are of {listing(known, most=9)}" if known else ""
            raise UsageError(f"no entries of type {name[:40]!r} are archived here{there}")
    return [each for each in plan.types if each.type in types]


# ---- the dry run ----------------------------------------------------------------------------------------------------
def _show(plan: vs.UpgradePlan, plans: list[vs.TypePlan], vault: vs.Vault, *, json: bool) -> None:
    view = vault.view()
    if json:
        print_json(
            {
                "convert": sum(len(each.convert) for each in plans),
                "delete": sum(len(each.delete) for each in plans),
                "stay": sum(len(each.stay) for each in plans),
                "types": [_json(each) for each in plans],
            }
        )
        return
    if not plans:
        say(str(plan))
        return
    table(("Type", "Entries", "What becomes of them", "Other devices"), [row for each in plans for row in _rows(each)])
    for each in plans:
        _titles("would be deleted", each.delete, each.label, view)
        _titles("would stay archived", each.stay, each.label, view)
    say()
    if any(each.stay for each in plans):
        note("What stays archived is for another device, or a newer release: this one must not or cannot convert it.")
    if any(each.delete for each in plans):
        note("Save what would be deleted: --export FILE. Then run it without --dry-run.")
    elif any(each.convert for each in plans):
        note("Run it without --dry-run to convert them.")


def _rows(plan: vs.TypePlan) -> list[tuple[str, str, str, str]]:
    rows = []
    if plan.convert:
        others = f"{listing(plan.blind)} will stop showing {_them(plan.convert)}" if plan.blind else ""
        if plan.keeps_old:
            others = others or "older ones go on showing them as before"
        rows.append((f"{len(plan.convert):,}", f"become {plan.to_label} ({plan.to})", others))
    if plan.delete:
        others = f"deleted on {listing(plan.bereft)} too, where they can still be edited" if plan.bereft else ""
        rows.append((f"{len(plan.delete):,}", "can only be deleted", others))
    if plan.stay:
        rows.append((f"{len(plan.stay):,}", "stay archived", ""))
    label = f"{plan.label} ({plan.type})"
    return [(label if i == 0 else "", *row) for i, row in enumerate(rows)]


def _titles(what: str, entry_ids: tuple[str, ...], label: str, view: vs.View) -> None:
    if not entry_ids:
        return
    titles = [line(view[entry_id].title or "Untitled", 60) for entry_id in entry_ids[:_MOST_TITLES]]
    if len(entry_ids) > _MOST_TITLES:
        titles.append(f"and {len(entry_ids) - _MOST_TITLES:,} more")
    say()
    say(f"{count(len(entry_ids), 'entry')} of type {label} {what}:")
    for title in titles:
        say(f"  {title}")


def _json(plan: vs.TypePlan) -> dict[str, Any]:
    return {
        "type": plan.type,
        "label": plan.label,
        "to": plan.to,
        "to_label": plan.to_label,
        "keeps_old": plan.keeps_old,
        "convert": list(plan.convert),
        "delete": list(plan.delete),
        "stay": list(plan.stay),
        "stop_showing": list(plan.blind),
        "lose": list(plan.bereft),
    }


def _them(entry_ids: tuple[str, ...]) -> str:
    return "it" if len(entry_ids) == 1 else "them"


# ---- doing it -------------------------------------------------------------------------------------------------------
def _export(plan: vs.UpgradePlan, path: str, types: list[str] | None, *, json: bool) -> None:
    number = plan.export(path, types)
    if json:
        print_json({"path": str(Path(path).absolute()) if number else None, "entries": number})
    elif number:
        say(f"{count(number, 'entry')} saved to {path}.")
        note("It holds every secret in the clear, and only you may read it. Attached files are not in it.")
    else:
        say("Nothing would be deleted, so there is nothing to save.")


def _apply(
    plan: vs.UpgradePlan,
    plans: list[vs.TypePlan],
    types: list[str] | None,
    vault: vs.Vault,
    *,
    discard: bool,
    yes: bool,
    json: bool,
) -> None:
    converting = sum(len(each.convert) for each in plans)
    deleting = sum(len(each.delete) for each in plans)
    if not converting and not deleting:
        if json:
            print_json({"changed": 0})
        else:
            say("\n".join(map(str, plans)) or str(plan))
        return
    try:
        if not discard:
            plan.check(types)
    except ExportFirst as error:
        what = str(error).rpartition(": ")[0]
        raise ExportFirst(f"{what}: save with --export FILE first, or add --discard") from None
    if not yes and not _confirmed(plans, discard=discard and deleting > 0):
        raise UsageError("nothing was done: it was not confirmed (--yes does it without asking)")
    with working("Upgrading") as tell:

        def progress(done: int, total: int) -> None:
            tell(f"Upgrading: {done:,} of {total:,}")

        changed = plan.apply(types, discard=discard, progress=progress)
    sync_quietly(vault, patience=_SYNC_PATIENCE)
    if json:
        print_json({"changed": changed})
        return
    say(f"{count(changed, 'entry')} upgraded.")
    if deleting:
        note("What was deleted is in the trash: `vaultsync restore` brings it back.")


def _confirmed(plans: list[vs.TypePlan], *, discard: bool) -> bool:
    question = "; ".join(map(str, plans))
    unsaved = ", without having been saved" if discard else ""
    return asking.confirm(f"{line(question)}{unsaved}. Go on?")


COMMANDS: Final[dict[str, Callable[..., None]]] = {"upgrade": upgrade}
