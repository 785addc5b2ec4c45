"""The peers by name. Nothing is imported before a child process asks for the one that it measures."""

from __future__ import annotations

from importlib import import_module, metadata

from benchmarks.peers.port import Peer

__all__ = ["NAMES", "VAULTSYNC", "available", "load", "versions"]

VAULTSYNC = "vaultsync"
NAMES = (VAULTSYNC, "automerge", "loro", "pycrdt", "keepass", "sqlite", "msgpack")
_MODULES = {
    VAULTSYNC: "vaultsync_peer",
    "automerge": "automerge_peer",
    "loro": "loro_peer",
    "pycrdt": "pycrdt_peer",
    "keepass": "keepass_peer",
    "sqlite": "sqlite_peer",
    "msgpack": "msgpack_peer",
}


def load(name: str) -> Peer:
    """The peer of that name. Raises `ImportError` when what it needs is not installed."""
    peer: Peer = import_module(f"benchmarks.peers.{_MODULES[name]}").PEER
    return peer


def available(name: str) -> str | None:
    """Why a peer cannot be measured here; ``None`` when it can."""
    try:
        load(name)
    except ImportError as error:
        return f"not installed ({error.name or error}); pip install '.[bench]'"
    return None


def versions(peer: Peer) -> str:
    """The distributions behind a peer, with their versions."""
    found = []
    for package in peer.packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} (of this repository)")
    return ", ".join(found)
