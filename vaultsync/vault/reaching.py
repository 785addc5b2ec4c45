"""From an address to the remote that a vault syncs with: folders, object stores and WebDAV.

A relay needs requests signed with a member's access keys, which vaults do not keep yet: its addresses are refused here,
in one sentence, rather than half way through a sync.
"""

from __future__ import annotations

from vaultsync.errors import UnsupportedRemote
from vaultsync.remote import Remote, open_remote

__all__ = ["create_remote", "reach"]


def reach(url: str) -> Remote:
    """The remote at an address that a vault is connected to already. Raises `UnsupportedRemote`, `ExtraMissing`."""
    return open_remote(_supported(url))


def create_remote(url: str) -> Remote:
    """The same for a first connection: makes a folder ready. Raises `RemoteError` too."""
    return open_remote(_supported(url), create=True)


def _supported(url: str) -> str:
    if url.lower().startswith(("http://", "https://")):
        raise UnsupportedRemote(
            "syncing through a relay (http://, https://) is not supported by this version: use a folder "
            "(file:///path), an object store (s3://, gs://, az://) or WebDAV (dav+https://)"
        )
    return url
