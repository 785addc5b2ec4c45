"""Changes as the rest of the package meets them: the codec, the gate, and what an envelope carries.

::

    codec   bytes of one change  <->  Change          bounded, canonical
    gate    Change + what is known ->  what it touches, or MalformedChange
    pack    changes of one actor <->  one string of bytes, sent in an envelope

Nothing here needs the engine.
"""

from __future__ import annotations

from .codec import Action, Change, Looks, Op, OpId, Scalar, chunk_hash, decode, encode
from .gate import ChangeInfo, Known, Past, Touched, check
from .layout import Place
from .pack import pack, unpack, unpack_changes

__all__ = [
    "Action",
    "Change",
    "ChangeInfo",
    "Known",
    "Looks",
    "Op",
    "OpId",
    "Past",
    "Place",
    "Scalar",
    "Touched",
    "check",
    "chunk_hash",
    "decode",
    "encode",
    "pack",
    "unpack",
    "unpack_changes",
]
