"""From an address to the remote that a vault syncs with: folders, object stores, WebDAV, and relays.

A relay answers to signed requests only: whoever opens one brings a signer (see ``access``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from vaultsync.remote import Remote, open_remote
from vaultsync.remote.address import is_exposed
from vaultsync.remote.signing import Signer

__all__ = ["EXPOSED", "create_remote", "open_at", "reach"]

_log = logging.getLogger(__name__)

EXPOSED: Final = (
    "the address begins with http://: whoever is between here and the relay sees which objects are exchanged and when, "
    "and can hold them up; what is in them stays sealed. Use https:// for a relay on another machine"
)


def reach(url: str, signer: Signer | None = None) -> Remote:
    """The remote at an address that a vault is connected to already. Raises `UnsupportedRemote`, `ExtraMissing`."""
    return open_remote(url, signer=signer)


def create_remote(url: str, signer: Signer | None = None) -> Remote:
    """The same for a first connection: makes a folder ready. Raises `RemoteError` too."""
    if is_exposed(url):
        _log.warning("%s", EXPOSED)
    return open_remote(url, create=True, signer=signer)


def open_at(opener: Callable[[str], Remote], url: str, signer: Callable[[], Signer], *, create: bool = False) -> Remote:
    """By an application's own ``opener``, or as above with a signer for whoever needs one."""
    if opener is not reach:
        return opener(url)
    return (create_remote if create else reach)(url, signer())
