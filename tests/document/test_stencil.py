"""What changes share is read once and written once, and nobody can tell."""

from __future__ import annotations

from hypothesis import given, settings

from tests.document.model import ACTORS, EXAMPLES, exact, histories, merge_all, play
from vaultsync.document.changes import Change, decode
from vaultsync.document.codec import Looks, decode_own, encode, value_bytes, value_type
from vaultsync.document.pack import _Packer, unpack_changes
from vaultsync.document.stencil import Line, Stencil

many = settings(max_examples=EXAMPLES or 150, deadline=None)


def stencil_of(change: Change) -> Stencil:
    return Stencil(
        change.actor,
        [
            Line(
                op.obj[1] if op.obj else b"",
                op.key,
                op.action,
                value_type(op.value),
                op.preds[0][1] if op.preds else None,
            )
            for op in change.ops
        ],
    )


def written(stencil: Stencil, change: Change) -> tuple[bytes, bytes]:
    ops = change.ops
    return stencil.encode(
        change.seq,
        change.start_op,
        change.deps,
        [op.obj[0] if op.obj else 0 for op in ops],
        [value_bytes(value_type(op.value), op.value) for op in ops],
        [op.preds[0][0] for op in ops if op.preds],
    )


@given(histories)
@many
def test_a_stencil_writes_what_the_codec_writes(history):
    _, made = play(history)
    for change in map(decode, [one.chunk for one in made]):
        if all(len(op.preds) <= 1 for op in change.ops):
            stencil = stencil_of(change)
            assert written(stencil, change) == (change.hash, change.chunk)
            later = change._replace(seq=change.seq + 1_000_000, start_op=change.start_op + 300, deps=(change.hash,) * 2)
            assert written(stencil, later)[1] == encode(later.actor, later.seq, later.start_op, later.deps, later.ops)


@given(histories)
@many
def test_a_pack_gives_the_same_bytes_before_its_maker_looks(history):
    devices, _ = play(history)
    merge_all(devices)
    for actor in ACTORS:
        chunks = devices[0].own_changes(actor, 0)
        if chunks:
            packed = _Packer([decode(chunk) for chunk in chunks]).joined()
            assert [change.chunk for change in unpack_changes(packed, max_bytes=1 << 24)] == chunks


@given(histories)
@many
def test_what_was_read_before_changes_nothing_that_is_read(history):
    _, made = play(history)
    looks: Looks = {}
    for _ in range(2):
        assert exact([decode_own(one.chunk, looks) for one in made]) == exact([decode(one.chunk) for one in made])
