"""Interleavings of the core, each a test with a name."""

from __future__ import annotations

import pytest

from tests.sync.history import EVERYTHING, VAULT, Shell, chain_id, listed, make, row, shell, tip
from vaultsync.errors import (
    BadSignature,
    MalformedChange,
    MalformedEnvelope,
    MissingDependencies,
    ObjectMissing,
    RemoteUnavailable,
    Revoked,
    StoreFailed,
    UnknownChain,
    UpdateRequired,
    UsageError,
)
from vaultsync.limits import FETCH_BATCH, MAX_GROUP_ENVELOPES, RECENT_ENVELOPES, SYNC_WINDOW
from vaultsync.sync import Core, Finding, FindingKind, WaitsFor, names
from vaultsync.sync.events import (
    NO_ENVELOPE,
    Advanced,
    Applied,
    Failed,
    Group,
    Holds,
    Incomplete,
    Interrupted,
    Known,
    Listed,
    Named,
    Opened,
    Pardoned,
    Put,
    RosterChanged,
    Sealed,
    Tip,
)

A, B = chain_id("a"), chain_id("b")


def kinds(one: Shell) -> list[FindingKind]:
    return [finding.kind for finding in one.findings]


# ---- pulling ---------------------------------------------------------------------------------------------------------


def test_nothing_listed_is_nothing_to_do() -> None:
    core = Core(VAULT, {})
    core.receive(Listed(EVERYTHING, []))
    assert not core.decide()
    assert core.waiting() == ()


def test_a_chain_arrives_in_order() -> None:
    envs = row("a", 200)
    one = shell(*envs).sync()
    assert one.applied == envs
    assert one.core.tips() == tip(envs[-1])
    assert one.core.waiting() == ()
    assert one.fetched == [env.name for env in envs]


def test_fetches_come_in_bounded_batches_and_every_chain_gets_its_turn() -> None:
    long, short = row("a", 500), row("b", 3)
    core = Core(VAULT, {})
    core.receive(listed(*long, *short))
    decision = core.decide()
    assert len(decision.fetch) == FETCH_BATCH
    assert {env.name for env in short} <= set(decision.fetch)
    assert not core.decide()  # nothing is handed out twice


def test_a_second_pass_fetches_nothing_and_compares_nothing() -> None:
    one = shell(*row("a", 100), *row("b", 100)).sync()
    fetched, compared = len(one.fetched), one.compared
    one.sync().sync()
    assert (len(one.fetched), one.compared) == (fetched, compared)


def test_memory_of_an_applied_chain_does_not_grow() -> None:
    one = shell(*row("a", 400)).sync()
    chain = one.core._chains[A]
    assert not any((chain.records, chain.wanted, chain.suspects, chain.at, chain.offered, chain.unexplained))
    assert len(chain.recent) <= RECENT_ENVELOPES
    assert not any((one.core._awaited, one.core._applying, one.core._fresh))


def test_a_pull_that_is_cut_off_resumes() -> None:
    envs = row("a", 10)
    one = shell(*envs)
    one.core.receive(Listed(EVERYTHING, sorted(one.served)))
    first = one.core.decide()
    one.core.receive(envs[0].opened())
    one.core.receive(Interrupted())
    second = one.core.decide()
    assert set(second.fetch) == set(first.fetch) - {envs[0].name}
    assert [unit.names for unit in second.apply] == [(envs[0].name,)]


def test_a_restart_fetches_only_what_is_not_applied() -> None:
    envs = row("a", 10)
    one = shell(*envs, start=tip(envs[6])).hold(*envs[:7]).sync()
    assert one.fetched == [env.name for env in envs[7:]]
    assert one.compared == 1
    assert one.findings == []


def test_another_process_applied_it_meanwhile() -> None:
    envs = row("a", 5)
    core = Core(VAULT, {})
    core.receive(listed(*envs))
    core.decide()
    core.receive(envs[0].opened())
    core.receive(envs[1].opened())
    assert len(core.decide().apply) == 2
    core.receive(Advanced(A, Tip(4, envs[3].env_id)))
    core.receive(Applied([envs[0].name]))  # too late to matter
    core.receive(envs[2].opened())
    core.receive(envs[4].opened({envs[3].change}))
    assert [unit.names for unit in core.decide().apply] == [(envs[4].name,)]


def test_a_comparison_answered_after_the_chain_went_on() -> None:
    envs = row("a", 4)
    core = Core(VAULT, tip(envs[1]))
    core.receive(listed(*envs))
    decision = core.decide()
    assert decision.compare == (A,)
    for env in envs[2:]:
        core.receive(env.opened({envs[1].change}))
    for unit in core.decide().apply:
        core.receive(Applied(unit.names))
    core.receive(Holds(A, [env.name for env in envs]))
    assert not core.decide()  # envelopes 3 and 4 were not asked about


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_a_gap_waits_and_is_no_finding() -> None:
    envs = row("a", 5)
    one = shell(envs[0], *envs[2:]).sync().sync().sync()
    assert one.applied == envs[:1]
    (waiting,) = one.core.waiting()
    assert (waiting.reason, waiting.seq, waiting.behind, waiting.name) == (WaitsFor.ENVELOPE, 2, 3, None)
    assert one.findings == []
    assert "waiting for an earlier envelope" in str(waiting)
    one.serve(envs[1]).sync()
    assert one.applied == envs
    assert one.core.waiting() == ()


def test_a_gap_wider_than_the_window_closes() -> None:
    envs = row("a", 3 * SYNC_WINDOW)
    one = shell(*envs[-5:]).sync()
    assert one.fetched == []
    one.serve(*envs).sync()
    assert one.applied == envs


def test_a_change_waits_for_another_chains() -> None:
    first = make("b")
    second = make("a", 1, b"\0" * 32, first)
    one = shell(second).sync()
    (waiting,) = one.core.waiting()
    assert (waiting.reason, waiting.missing) == (WaitsFor.CHANGES, (first.change,))
    assert one.core.missing() == {first.change}
    one.serve(first).sync()
    assert one.applied == [first, second]
    assert one.fetched == [second.name, first.name]  # opened once, kept


def test_a_dependency_that_came_by_another_way() -> None:
    first = make("b")
    second = make("a", 1, b"\0" * 32, first)
    one = shell(second).sync()
    one.document.add(first.change)
    one.core.receive(Known(one.core.missing() & one.document))
    one.settle()
    assert one.applied == [second]
    assert one.core.missing() == frozenset()


def test_a_half_written_file_is_tried_again_with_every_listing() -> None:
    envs = row("a", 3)
    one = shell(*envs)
    one.served[envs[1].name] = None
    for _ in range(3):
        one.sync()
        (waiting,) = one.core.waiting()
        assert (waiting.reason, waiting.name, waiting.behind) == (WaitsFor.COMPLETION, envs[1].name, 2)
    assert one.fetched.count(envs[1].name) == 3
    assert one.quarantined == {}
    one.serve(envs[1]).sync()
    assert one.applied == envs


@pytest.mark.parametrize("error", [ObjectMissing("gone"), RemoteUnavailable("away"), StoreFailed("full")])
def test_what_could_not_be_fetched_is_tried_again(error: Exception) -> None:
    (env,) = row("a", 1)
    one = shell(env)
    one.refuses[env.name] = error  # type: ignore[assignment]
    assert one.sync().applied == []
    one.refuses.clear()
    assert one.sync().applied == [env]


def test_bytes_of_another_envelope_under_a_name_are_incomplete() -> None:
    one, two = row("a", 2)
    core = Core(VAULT, {})
    core.receive(listed(one))
    core.decide()
    core.receive(Opened(one.name, two.env_id, one.prev))
    assert core.waiting()[0].reason is WaitsFor.COMPLETION
    assert not core.decide()


def test_a_newer_format_waits_for_an_update_and_delays_nobody() -> None:
    envs, others = row("a", 3), row("b", 3)
    one = shell(*envs, *others)
    one.refuses[envs[1].name] = UpdateRequired("format 9")
    one.sync().sync()
    assert one.applied[-1] == others[-1]
    (waiting,) = one.core.waiting()
    assert (waiting.reason, waiting.seq) == (WaitsFor.UPDATE, 2)
    assert one.fetched.count(envs[1].name) == 1
    assert one.quarantined == {}


def test_an_unknown_chain_waits_for_the_roster() -> None:
    envs, others = row("a", 100), row("b", 3)
    one = shell(*envs, *others)
    one.refuses.update((env.name, UnknownChain("who?")) for env in envs)
    one.sync()
    assert one.applied == others
    assert one.core.waiting()[0].reason is WaitsFor.ROSTER
    fetched = len(one.fetched)
    one.sync()
    assert len(one.fetched) <= fetched + 1  # one try a listing
    one.refuses.clear()
    one.core.receive(RosterChanged())
    assert one.settle().applied == [*others, *envs]


def test_a_chain_that_the_roster_lacks_is_not_even_fetched() -> None:
    envs = row("a", 3)
    one = shell(*envs, roster=[B]).sync()
    assert one.fetched == []
    assert one.core.waiting()[0].reason is WaitsFor.ROSTER
    assert one.core.prefixes() == [names.chain_prefix(VAULT, A), names.chain_prefix(VAULT, B)]
    one.core.receive(RosterChanged([A, B]))
    assert one.settle().applied == envs


# ---- groups ----------------------------------------------------------------------------------------------------------


def batch(count: int, *, said: int | None = None, chain: str = "a") -> list:
    made: list = []
    for index in range(count):
        group = Group(b"g", index, said if said is not None else count)
        made.append(make(chain, index + 1, made[-1] if made else b"\0" * 32, group=group))
    return made


def test_a_group_is_applied_whole() -> None:
    envs = batch(4)
    one = shell(*envs[:3]).sync()
    assert one.applied == []
    assert one.core.waiting()[0].reason is WaitsFor.GROUP
    one.serve(envs[3]).sync()
    assert one.units == [tuple(env.name for env in envs)]


def test_a_group_larger_than_the_window() -> None:
    envs = batch(SYNC_WINDOW * 2 + 5)
    assert shell(*envs).sync().units == [tuple(env.name for env in envs)]


def test_a_group_waits_for_what_any_of_it_depends_on() -> None:
    first = make("b")
    head = make("a", 1, group=Group(b"g", 0, 2))
    tail = make("a", 2, head, first, group=Group(b"g", 1, 2))
    one = shell(head, tail).sync()
    assert one.applied == []
    assert one.core.waiting()[0].missing == (first.change,)
    one.serve(first).sync()
    assert one.units == [(first.name,), (head.name, tail.name)]


@pytest.mark.parametrize(
    "group",
    [(1, 2), (2, 2), (-1, 2), (0, 0), (0, MAX_GROUP_ENVELOPES + 1)],
)
def test_an_impossible_group_is_set_aside(group: tuple[int, int]) -> None:
    other = row("b", 1)
    one = shell(make("a", 1, group=Group(b"g", *group)), *other).sync()
    assert isinstance(next(iter(one.quarantined.values())), MalformedEnvelope)
    assert one.applied == other


def test_a_group_that_its_chain_does_not_continue_is_not_applied() -> None:
    head = make("a", 1, group=Group(b"g", 0, 2))
    stray = make("a", 2, head, group=Group(b"h", 1, 2))
    one = shell(head, stray).sync()
    assert one.applied == []
    assert list(one.quarantined) == [stray.name]
    right = make("a", 2, head, group=Group(b"g", 1, 2), salt="right")
    one.serve(right).sync()
    assert one.applied == [head, right]


def test_a_group_refused_in_the_middle_leaves_nothing() -> None:
    envs = batch(3)
    one = shell(*envs, *row("b", 2))
    one.gate[envs[1].name] = MalformedChange("no")
    one.sync()
    assert {env.chain for env in one.applied} == {B}
    assert list(one.quarantined) == [envs[1].name]


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_a_refused_envelope_stops_its_own_chain_only() -> None:
    envs, others = row("a", 5), row("b", 5)
    one = shell(*envs, *others)
    one.refuses[envs[2].name] = MalformedEnvelope("no")
    one.sync().sync()
    assert set(one.applied) == {*envs[:2], *others}
    assert isinstance(one.quarantined[envs[2].name], MalformedEnvelope)
    assert one.core.waiting()[0].reason is WaitsFor.REFUSED
    assert one.fetched.count(envs[2].name) == 1


def test_what_the_gate_refuses_takes_back_what_was_handed_out_with_it() -> None:
    envs, others = row("a", 3), row("b", 3)
    one = shell(*envs, *others)
    one.gate[envs[0].name] = MalformedChange("no")
    one.sync()
    assert one.applied == others
    assert list(one.quarantined) == [envs[0].name]


def test_an_apply_that_lacks_changes_after_all_waits_for_them() -> None:
    (env,) = row("a", 1)
    one = shell(env)
    one.gate[env.name] = MissingDependencies((b"m" * 32,))
    one.sync()
    assert one.core.missing() == {b"m" * 32}
    assert one.core.waiting()[0].reason is WaitsFor.CHANGES
    one.gate.clear()
    one.core.receive(Known([b"m" * 32]))
    assert one.settle().applied == [env]


def test_quarantine_survives_a_restart_and_needs_no_fetch() -> None:
    envs = row("a", 3)
    one = shell(*envs, start=tip(envs[0]), quarantined=[envs[1].name]).hold(envs[0]).sync()
    assert envs[1].name not in one.fetched
    assert one.core.waiting()[0].reason is WaitsFor.REFUSED
    assert one.quarantined == {}


def test_a_bad_signature_may_be_better_next_time_and_is_released() -> None:
    envs = row("a", 2)
    one = shell(*envs)
    one.refuses[envs[0].name] = BadSignature("no")
    one.sync().sync()
    assert list(one.quarantined) == [envs[0].name]
    one.refuses.clear()
    one.sync()
    assert one.quarantined == {}
    assert one.applied == envs


@pytest.mark.parametrize("stored", [True, False])
def test_what_is_pardoned_is_fetched_again_though_its_quarantine_was_not_stored_yet(stored: bool) -> None:
    envs = row("a", 2)
    core = Core(VAULT, {})
    core.receive(listed(*envs))
    core.decide()
    core.receive(Failed(envs[0].name, Revoked("past the end")))
    if stored:
        assert [one.name for one in core.decide().quarantine] == [envs[0].name]
    core.receive(Pardoned([envs[0].name]))
    decision = core.decide()
    assert (decision.fetch, decision.release, decision.quarantine) == ((envs[0].name,), (envs[0].name,), ())
    core.receive(Pardoned([envs[0].name, "no envelope"]))
    assert not core.decide()


def test_garbage_under_many_names_of_a_place_does_not_block_the_true_one() -> None:
    envs = row("a", 3)
    one = shell(*envs)
    for salt in range(300):
        one.served[make("a", 1, salt=str(salt)).name] = None
    assert one.sync().applied == envs
    assert one.findings == []


def test_a_true_envelope_among_garbage_is_not_taken_for_its_own_rival() -> None:
    envs = row("a", 3 * RECENT_ENVELOPES)
    by_name = {env.name: env for env in envs}
    core = Core(VAULT, {})
    core.receive(listed(*envs, *(make("a", 1, salt=str(salt)) for salt in range(5))))
    asked: list[str] = []
    while core.tips() != tip(envs[-1]):  # one answer at a time, the garbage never
        decision = core.decide()
        assert decision.findings == ()
        asked += decision.fetch
        for unit in decision.apply:
            core.receive(Applied(unit.names))
        following = envs[core.tips()[A].seq if core.tips() else 0 :][:1]
        for env in following:
            core.receive(env.opened(known.change for known in envs[: env.seq - 1]))
    asked += core.decide().fetch
    assert len(asked) == len(set(asked)) == len(by_name) + 5


def test_what_lies_on_another_branch_waits_like_any_other() -> None:
    first, elsewhere = make("a"), make("b")
    rival = make("a", 1, NO_ENVELOPE, elsewhere, salt="rival")
    one = shell(first, rival).sync()
    assert one.applied == [first]
    assert one.core.missing() == {elsewhere.change}
    one.serve(elsewhere).sync()
    assert one.beside == [rival]
    assert (one.core.missing(), one.quarantined) == (frozenset(), {})


# ---- forks -----------------------------------------------------------------------------------------------------------


def test_two_envelopes_for_one_place_are_a_finding_and_one_is_followed() -> None:
    first, left, right = make("a"), make("a", 2, make("a"), salt="l"), make("a", 2, make("a"), salt="r")
    after = make("a", 3, left), make("a", 3, right)
    one = shell(first, left, right, *after).sync()
    winner = min(left, right, key=lambda env: env.env_id)
    assert one.applied == [first, winner, after[(left, right).index(winner)]]
    assert set(one.beside) == {left, right, *after} - set(one.applied)
    assert FindingKind.EQUIVOCATION in kinds(one)
    assert FindingKind.BROKEN_CHAIN not in kinds(one)
    assert one.quarantined == {}


def test_a_branch_longer_than_the_one_that_is_followed_comes_whole() -> None:
    first = make("a")
    short, long = make("a", 2, first, salt="s"), [make("a", 2, first, salt="l")]
    for seq in range(3, 3 * SYNC_WINDOW):
        long.append(make("a", seq, long[-1]))
    one = shell(first, short).sync()
    one.serve(*long).sync().sync()
    assert (one.applied, one.beside) == ([first, short], long)
    assert one.core.waiting() == ()
    fetched = len(one.fetched)
    sides = {A: {env.env_id: env.seq for env in long}}
    again = shell(first, short, *long, start=tip(short), sides=sides).hold(first, short, *long).sync()
    assert again.fetched == []
    assert len(one.sync().fetched) == fetched


def test_equivocation_below_the_tip_is_noticed_when_it_is_served_later() -> None:
    envs = row("a", 200)
    one = shell(*envs).sync()
    rival = make("a", 3, envs[1], salt="rival")
    one.serve(rival).sync().sync()
    assert one.findings == [Finding(FindingKind.EQUIVOCATION, A, 3, (rival.name,))]
    assert one.beside == [rival]
    one.sync()
    compared = one.compared
    one.sync().sync()
    assert one.compared == compared  # explained, once and for all
    assert one.applied == envs


def test_equivocation_is_noticed_beyond_a_gap() -> None:
    envs = row("a", 200)
    rival = make("a", 150, envs[148], salt="rival")
    one = shell(*envs[100:], rival).sync()
    assert kinds(one) == [FindingKind.EQUIVOCATION]


def test_an_envelope_that_follows_another_branch_is_a_finding() -> None:
    first = make("a")
    unseen = make("a", 1, salt="unseen")
    after = make("a", 2, unseen)
    one = shell(first, after).sync()
    assert one.applied == [first]
    assert kinds(one) == [FindingKind.BROKEN_CHAIN]
    assert one.beside == []
    one.serve(unseen).sync().sync()
    assert one.beside == [unseen, after]


def test_a_first_envelope_with_a_predecessor_is_broken() -> None:
    one = shell(make("a", 1, b"x" * 32)).sync()
    assert kinds(one) == [FindingKind.BROKEN_CHAIN]


def test_a_frontier_that_saw_another_branch() -> None:
    seen, rival = make("a"), make("a", 1, salt="rival")
    one = shell(seen, start=tip(seen)).hold(seen)
    one.serve(make("b", frontier={A: (1, rival.env_id)})).sync()
    assert kinds(one) == [FindingKind.OTHER_BRANCH]


def test_a_frontier_that_saw_another_branch_before_we_got_ours() -> None:
    ours, rival = make("a"), make("a", 1, salt="rival")
    one = shell(make("b", frontier={A: (1, rival.env_id)})).sync()
    assert one.findings == []
    one.serve(ours).sync()
    assert kinds(one) == [FindingKind.OTHER_BRANCH]


def test_ones_own_chain_ahead_of_oneself() -> None:
    envs = row("a", 5)
    one = shell(*envs, start=tip(envs[1]), own=A).hold(*envs[:2]).sync()
    assert kinds(one) == [FindingKind.OWN_CHAIN_AHEAD]
    assert one.applied == envs[2:]


# ---- a remote that lies or loses -------------------------------------------------------------------------------------


def test_a_withheld_envelope_is_waiting_first_and_then_a_finding() -> None:
    envs = row("a", 5)
    witness = make("b", frontier={A: (4, envs[3].env_id)})
    one = shell(envs[0], *envs[2:], witness).sync()
    assert one.findings == []
    assert one.core.waiting()[0].reason is WaitsFor.ENVELOPE
    one.sync()
    assert one.findings == [Finding(FindingKind.WITHHELD, A, 2)]
    assert one.sync().findings == [Finding(FindingKind.WITHHELD, A, 2)]  # said once
    assert one.serve(envs[1]).sync().core.waiting() == ()


def test_a_withheld_tail_of_a_remote_that_shows_all_it_has_is_a_finding_with_the_second_listing() -> None:
    envs = row("a", 5)
    witness = make("b", frontier={A: (5, envs[4].env_id)})
    one = shell(*envs[:3], witness, orderly=True).sync()
    assert one.findings == []
    (finding,) = one.sync().sync().findings
    assert (finding, finding.by) == (Finding(FindingKind.WITHHELD, A, 4), B)
    assert not one.core.settled(finding)
    again = shell(*envs[:3], witness, orderly=True, start=tip(envs[2]) | tip(witness), claims=one.core.claims())
    assert kinds(again.hold(*envs[:3], witness).sync()) == [FindingKind.WITHHELD]
    one.serve(*envs).sync()
    assert one.core.settled(finding)


def test_a_withheld_tail_is_waiting_only() -> None:
    envs = row("a", 5)
    witness = make("b", frontier={A: (5, envs[4].env_id)})
    one = shell(*envs[:3], witness).sync().sync().sync()
    assert one.findings == []
    (waiting,) = one.core.waiting()
    assert (waiting.reason, waiting.seq, waiting.behind) == (WaitsFor.ENVELOPE, 4, 0)


def test_the_sponsors_frontier_is_waited_for() -> None:
    envs = row("a", 2)
    one = shell()
    one.core.receive(Named({A: (2, envs[1].env_id)}))
    assert one.sync().core.waiting()[0].seq == 1
    assert one.serve(*envs).sync().core.waiting() == ()


def test_a_remote_that_was_rolled_back_is_healed() -> None:
    envs, others = row("a", 50), row("b", 5)
    one = shell(*envs, *others).sync()
    for env in envs[30:]:
        del one.served[env.name]
    one.sync()
    assert one.healed == [env.name for env in envs[30:]]
    assert kinds(one) == [FindingKind.ROLLED_BACK]
    assert one.findings[0].seq == 31
    healed = len(one.healed)
    one.sync().sync()
    assert len(one.healed) == healed


def test_an_emptied_remote_gets_everything_back() -> None:
    envs, others = row("a", 50), row("b", 5)
    one = shell(*envs, *others).sync()
    one.served.clear()
    one.sync()
    assert set(one.healed) == {env.name for env in (*envs, *others)}
    assert kinds(one) == [FindingKind.ROLLED_BACK] * 2


def test_a_new_remote_is_filled_without_a_finding() -> None:
    envs = row("a", 3)
    core = Core(VAULT, tip(envs[2]))
    core.receive(Listed(EVERYTHING, []))
    assert core.decide().compare == (A,)
    everything = [env.name for env in envs]
    core.receive(Holds(A, everything, undelivered=everything))
    decision = core.decide()
    assert list(decision.heal) == everything
    assert decision.findings == ()


def test_what_was_collected_under_a_checkpoint_is_not_missed() -> None:
    envs = row("a", 20)
    one = shell(*envs[10:], start=tip(envs[19], floor=10)).hold(*envs[10:]).sync()
    assert one.healed == []
    assert one.findings == []
    assert one.compared == 1
    one.core.receive(Advanced(A, Tip(20, envs[19].env_id, 15)))
    for env in envs[:15]:
        one.served.pop(env.name, None)
    one.sync().sync()
    assert one.healed == []
    assert one.findings == []


def test_something_offered_once_and_then_gone_is_a_finding() -> None:
    envs = row("a", 3)
    one = shell(*envs)
    one.served[envs[0].name] = None
    one.sync()
    del one.served[envs[0].name]
    assert one.sync().findings == []  # a listing may be incomplete once
    one.sync()
    assert one.findings == [Finding(FindingKind.ROLLED_BACK, A, 1, (envs[0].name,))]


def test_a_chain_is_listed_alone() -> None:
    envs, others = row("a", 3), row("b", 3)
    one = shell(*envs, *others).sync()
    one.core.receive(Listed(names.chain_prefix(VAULT, A), [env.name for env in envs]))
    assert not one.core.decide()  # nothing is concluded about the other chain


# ---- pushing ---------------------------------------------------------------------------------------------------------


def test_own_envelopes_are_put_once_each_in_order() -> None:
    envs = row("a", 3)
    one = shell(start=tip(envs[1]), own=A, outbox=[envs[0].name, envs[1].name]).hold(*envs[:2])
    one.core.receive(Sealed(envs[2].name, envs[2].env_id))
    one.hold(envs[2]).settle()
    assert one.put == [env.name for env in envs]
    one.sync().sync()
    assert one.put == [env.name for env in envs]
    assert one.healed == []
    assert one.findings == []


def test_an_unacknowledged_put_is_repeated_until_a_listing_confirms_it() -> None:
    (env,) = row("a", 1)
    core = Core(VAULT, {}, own=A)
    core.receive(Sealed(env.name, env.env_id))
    assert core.decide().put == (env.name,)
    assert not core.decide()
    core.receive(Interrupted())
    assert core.decide().put == (env.name,)
    core.receive(Interrupted())
    core.receive(listed(env))
    decision = core.decide()
    assert decision.confirmed == (env.name,)
    assert decision.put == ()


def test_a_listing_that_is_late_once_loses_nothing_and_finds_nothing() -> None:
    envs = row("a", 2)
    core = Core(VAULT, {}, own=A)
    for env in envs:
        core.receive(Sealed(env.name, env.env_id))
    core.decide()
    for env in envs:
        core.receive(Put(env.name))
    core.receive(listed(envs[0]))
    while decision := core.decide():
        assert not any((decision.heal, decision.findings, decision.put))
        for chain in decision.compare:
            core.receive(Holds(chain, [env.name for env in envs]))
    core.receive(listed(envs[0]))
    core.decide()
    core.receive(Holds(A, [env.name for env in envs]))
    assert core.decide().heal == (envs[1].name,)  # late twice: put back


def test_an_own_envelope_out_of_order_is_refused() -> None:
    envs = row("a", 3)
    core = Core(VAULT, tip(envs[0]), own=A)
    with pytest.raises(UsageError):
        core.receive(Sealed(envs[2].name, envs[2].env_id))
    with pytest.raises(UsageError):
        core.receive(Sealed(envs[1].name, envs[2].env_id))


# ---- a shell that errs, a remote that babbles ------------------------------------------------------------------------


def test_listings_with_names_that_are_none() -> None:
    envs = row("a", 2)
    prefix = names.chain_prefix(VAULT, A)
    junk = [
        EVERYTHING + "x",
        prefix + "zz",
        prefix + "0" * 12,
        prefix + "000000000001-xyz",
        "..",
        names.envelope_name(b"w" * 16, A, 1, bytes(32)),
        prefix.upper(),
    ]
    core = Core(VAULT, {})
    core.receive(Listed(EVERYTHING, [*junk, *(env.name for env in envs), *junk]))
    assert core.decide().fetch == tuple(env.name for env in envs)
    with pytest.raises(UsageError):
        core.receive(Listed("elsewhere/", []))


def test_late_repeated_and_unasked_events_change_nothing() -> None:
    envs = row("a", 2)
    one = shell(*envs).sync()
    for event in (
        envs[0].opened(),
        Incomplete(envs[0].name),
        Failed(envs[0].name, MalformedEnvelope("no")),
        Applied([envs[0].name]),
        Advanced(A, Tip(1, envs[0].env_id)),
        Holds(A, []),
        Holds(B, []),
        Put(envs[0].name),
        Put("elsewhere"),
        Incomplete("nonsense"),
        RosterChanged(),
        Interrupted(),
        Known([b"k" * 32]),
    ):
        one.core.receive(event)
        assert not one.core.decide()
    assert one.core.tips() == tip(envs[1])


def test_applying_out_of_order_is_an_error_of_the_caller() -> None:
    envs = row("a", 2)
    core = Core(VAULT, {})
    core.receive(listed(*envs))
    core.decide()
    for env in envs:
        core.receive(env.opened())
    core.decide()
    with pytest.raises(UsageError):
        core.receive(Applied([envs[1].name]))
