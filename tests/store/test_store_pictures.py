"""What is known without reading is what reading shows, whatever this process, another one or a failure did."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from vaultsync.errors import DamagedStore
from vaultsync.store import Origin, Reading, Store, Writing

CHAINS = [bytes([number]) * 16 for number in (1, 2)]
REMOTES = ["one", "two"]
KIND = 1
_NUMBER = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("set"), _NUMBER),
    st.tuples(st.just("unset"), _NUMBER),
    st.tuples(st.just("edit"), st.sampled_from(CHAINS)),
    st.tuples(st.just("pack"), st.sampled_from(CHAINS)),
    st.tuples(st.just("own"), st.sampled_from(CHAINS)),
    st.tuples(st.just("foreign"), st.sampled_from(CHAINS)),
    st.tuples(st.just("drop"), _NUMBER),
    st.tuples(st.just("delivered"), st.sampled_from(REMOTES)),
    st.tuples(st.just("lost"), st.sampled_from(REMOTES)),
    st.tuples(st.just("remote"), st.sampled_from(REMOTES)),
    st.tuples(st.just("forget"), st.sampled_from(REMOTES)),
)
TRANSACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ours", "ours", "ours", "theirs", "undone", "partly undone"]),
        st.lists(STEPS, max_size=4),
        st.booleans(),
    ),
    max_size=8,
)


class Undone(Exception):
    """Raised on purpose."""


def shown(source: Store) -> tuple[Any, ...]:
    """Every picture, as `Store` tells it."""
    lacking = {remote: dict(source.outbox(remote)) for remote in REMOTES}
    return dict(source.states()), dict(source.own_tips()), lacking, source.last_places(CHAINS, KIND)


def seen(writing: Reading) -> tuple[Any, ...]:
    """The same, as a transaction tells it."""
    lacking = {remote: set(writing.undelivered_names(remote)) for remote in sorted(writing.remotes())}
    places = {chain: writing.last_place(chain, KIND) for chain in CHAINS}
    return {name: writing.state(name) for name in "0123"}, writing.own_tips(), lacking, places


def blind(writing: Writing) -> Reading:
    """A transaction's rows without what it knows of them."""
    reading = Reading(writing._database)
    reading._tally_row = writing._tally
    return reading


def partly_undone(writing: Writing, number: int) -> None:
    """A value is set, and then that is undone alone."""
    counted = replace(writing._tally)
    with suppress(DamagedStore), writing.optional():
        writing.set_state("0", b"undone %d" % number)
        raise DamagedStore("on purpose")
    writing._tally_row = counted


def step(writing: Writing, what: str, value: Any, number: int) -> None:
    names = sorted(writing.names())
    match what:
        case "set":
            writing.set_state(str(value), b"value %d" % number)
        case "unset":
            writing.set_state(str(value), None)
        case "edit":
            tip = writing.own_tip(value)
            writing.append(value, tip.seq + 1 if tip else 1, number.to_bytes(32, "big"), b"sealed", Origin.OWN)
        case "pack":
            if (tip := writing.own_tip(value)) is not None:
                writing.packed_up_to(value, tip.seq)
        case "own" | "foreign":
            last = writing.last_place(value, KIND)
            seq, name = (last[0] if last else 0) + 1, f"{value.hex()}/{number:06d}"
            writing.put_envelope(name, value, seq, number.to_bytes(32, "big"), KIND, b"d" * number, what == "own")
        case "drop" if names:
            writing.drop_envelope(names[value % len(names)])
        case "delivered" if names:
            writing.mark_delivered(value, names[number % len(names)])
        case "lost" if names:
            writing.mark_undelivered(value, names[number % len(names)])
        case "remote":
            writing.add_remote(value)
        case "forget":
            writing.forget_remote(value)


@settings(deadline=None)
@given(TRANSACTIONS)
def test_what_is_known_is_what_is_stored(transactions: list[tuple[str, list[tuple[str, Any]], bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.vault"
        Store.create(path, header=b"h", slots=[b"slot"]).close()
        with Store.open(path) as store, Store.open(path) as other:
            number = 0
            for whose, steps, asked in transactions:
                writer = other if whose == "theirs" else store
                try:
                    with writer.write() as writing:
                        for what, value in steps:
                            number += 1
                            step(writing, what, value, number)
                            assert seen(writing) == seen(blind(writing))
                        if whose == "partly undone":
                            partly_undone(writing, number)
                            assert seen(writing) == seen(blind(writing))
                        if whose == "undone":
                            raise Undone
                except Undone:
                    pass
                if asked:
                    with Store.open(path) as fresh:
                        assert shown(store) == shown(fresh)


def test_what_is_on_its_way_is_known_however_much_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.vault"
    Store.create(path, header=b"h", slots=[b"slot"]).close()
    with Store.open(path) as store:
        with store.write() as writing:
            writing.add_remote("one")
        assert store.outbox("one") == {}
        names = [f"{number:06d}" for number in range(300)]
        for seq, name in enumerate(names, 1):
            with store.write() as writing:
                writing.put_envelope(name, CHAINS[0], seq, seq.to_bytes(32, "big"), KIND, b"data", True)
            if seq in (1, 256, 257, 300):
                assert list(store.outbox("one")) == names[:seq]
        for sent, name in enumerate(names, 1):
            with store.write() as writing:
                writing.mark_delivered("one", name)
            if sent in (1, 43, 44, 45, 300):
                assert list(store.outbox("one")) == names[sent:]
