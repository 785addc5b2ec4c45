"""``vaultsync remember`` and ``forget``: commands that open a vault without asking, by the system's keyring."""

from __future__ import annotations

from vaultsync.cli.output import note, say
from vaultsync.cli.session import Session, on_vault

__all__ = ["COMMANDS"]


@on_vault()
def remember(session: Session) -> None:
    """Let commands open the vault without asking: the system's keyring keeps a key for it.

    Whoever is logged in as you can then read the vault. Changing the password ends it.
    """
    with session.opened() as vault:
        vault.remember()
    say("Commands on this vault no longer ask for the password.")
    note("End it with: vaultsync forget")


@on_vault()
def forget(session: Session) -> None:
    """Ask for the password again: takes the key out of the keyring and out of the file."""
    with session.opened() as vault:
        done = vault.forget()
    say("Commands ask for the password again." if done else "There was no key in the keyring.")


COMMANDS = {"remember": remember, "forget": forget}
