"""What is at hand to be packed is what the journal holds, or nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vaultsync import limits
from vaultsync.document.changes import Change
from vaultsync.store import Tip
from vaultsync.vault.recording import OwnChange
from vaultsync.vault.unsent import Unsent

ACTORS = [b"a" * 16, b"b" * 16]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["edit", "edit", "elsewhere", "pack", "unknown"]),
        st.sampled_from([0, 0, 0, 1]),
        st.integers(1, 4),
    ),
    max_size=20,
)


@given(STEPS, st.integers(0, 400))
def test_what_is_at_hand_is_what_is_recorded(steps: list[tuple[str, int, int]], room: int) -> None:
    unsent = Unsent(room)
    written: list[list[Change]] = [[], []]
    packed = [0, 0]
    for what, who, many in steps:
        new = []
        for _ in range(many if what in ("edit", "elsewhere") else 0):
            seq = len(written[who]) + 1
            new.append(Change(bytes([who, seq]) * 16, (), ACTORS[who], seq, seq, (), bytes([who, seq]) * 20))
            written[who].append(new[-1])
        if what == "edit":
            unsent.add(OwnChange(change, None) for change in new)
        elif what == "pack":
            packed[who] = len(written[who])
            unsent.forget()
        elif what == "unknown":
            unsent.forget()
        for one, actor in enumerate(ACTORS):
            last = written[one][-1].hash if written[one] else b""
            found = unsent.above(Tip(actor, len(written[one]), last, packed[one]))
            assert found in (None, [(change.chunk, None) for change in written[one][packed[one] :]])
        if what == "edit" and packed[who] == len(written[who]) - many and 40 * many <= room:
            assert unsent.above(Tip(ACTORS[who], len(written[who]), written[who][-1].hash, packed[who])) is not None


def test_only_so_much_is_kept() -> None:
    unsent = Unsent()
    large = [
        OwnChange(Change(bytes([seq]) * 32, (), ACTORS[0], seq, seq, (), bytes(limits.UNSENT_AT_HAND_BYTES // 3)), None)
        for seq in range(1, 6)
    ]
    unsent.add(large)
    last = large[-1].change.hash
    assert unsent.above(Tip(ACTORS[0], 5, last, 1)) is None
    assert [len(chunk) for chunk, _ in unsent.above(Tip(ACTORS[0], 5, last, 2)) or ()] == [
        len(large[0].change.chunk)
    ] * 3
