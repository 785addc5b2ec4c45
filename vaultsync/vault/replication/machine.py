"""Which machine this is, for telling a copied vault file from its original."""

from __future__ import annotations

import contextlib
import sys
from functools import cache
from pathlib import Path

__all__ = ["machine_id"]


@cache
def machine_id() -> str:
    """A name of this machine that survives restarts; empty where there is none."""
    with contextlib.suppress(OSError, AttributeError, ImportError, ValueError):
        if sys.platform == "win32":
            import winreg

            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
                return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        if sys.platform == "darwin":
            import ctypes
            import ctypes.util
            import uuid

            raw, wait = (ctypes.c_ubyte * 16)(), (ctypes.c_long * 2)(1, 0)
            library = ctypes.CDLL(ctypes.util.find_library("c"))
            return str(uuid.UUID(bytes=bytes(raw))) if library.gethostuuid(raw, wait) == 0 else ""
        for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
            if (text := Path(path).read_text().strip()) and text != "uninitialized":
                return text
    return ""
