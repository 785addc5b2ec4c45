"""QR codes of short texts, for a screen to show and a camera to read. Needs the extra ``qr``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from vaultsync.errors import ExtraMissing

if TYPE_CHECKING:
    from segno import QRCode

__all__ = ["svg", "terminal"]


def _made(text: str) -> QRCode:
    try:
        import segno
    except ImportError:
        raise ExtraMissing("QR codes need an optional part: pip install 'vaultsync[qr]'") from None
    return segno.make_qr(text, error="m")


def svg(text: str, *, scale: int = 4) -> str:
    """An SVG document, ``scale`` units a module, dark on white so that it can be read on any background."""
    buffer = io.BytesIO()
    _made(text).save(buffer, kind="svg", scale=scale, light="#fff", xmldecl=False)
    return buffer.getvalue().decode("utf-8")


def terminal(text: str) -> str:
    """Lines of block characters and colour codes, two modules high each."""
    buffer = io.StringIO()
    _made(text).terminal(buffer, compact=True, border=2)
    return buffer.getvalue()
