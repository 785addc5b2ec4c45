"""Remotes: where sealed bytes are exchanged. Dumb and never trusted; whatever is clever is in ``vaultsync.sync``."""

from __future__ import annotations

from vaultsync.remote.address import open_remote
from vaultsync.remote.folder import FolderRemote
from vaultsync.remote.port import Remote, check_name, check_prefix, is_name

__all__ = ["FolderRemote", "Remote", "check_name", "check_prefix", "is_name", "open_remote"]
