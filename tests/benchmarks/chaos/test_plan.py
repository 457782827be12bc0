"""What a campaign draws: every kind as often as any other, the same feed for the same seed."""

import random
import signal
from collections import Counter

import pytest

from benchmarks.chaos.plan import KINDS, LONG, QUICK, RANDOM, SLEEPS, STRETCHES, Plan, Progress, strike_of
from benchmarks.chaos.world import Feed, World, make_world
from stream_allocator.stream.probe import WINDOWS


def test_every_kind_of_kill_comes_as_often_as_any_other():
    progress = Progress(1, QUICK)
    plan = Plan(progress)
    for _ in range(4 * (len(KINDS) + 1)):
        kind = plan.kind()
        progress.kills[kind] += 1
        plan.over(kind)
    assert progress.kills == Counter(dict.fromkeys((*KINDS, RANDOM), 4))


def test_a_kind_under_way_is_not_dealt_again_before_the_others():
    plan = Plan(Progress(2, QUICK))
    assert len({plan.kind() for _ in range(len(KINDS) + 1)}) == len(KINDS) + 1
    assert {plan.sleep() for _ in range(len(SLEEPS))} == set(SLEEPS)


def test_one_that_did_not_come_to_its_window_is_dealt_once_more():
    progress = Progress(3, QUICK)
    plan = Plan(progress)
    for _ in range(len(KINDS) + 1):
        kind = plan.kind()
        plan.over(kind)
        progress.kills[RANDOM if kind == "mid-step" else kind] += 1
    assert plan.kind() == "mid-step"


def test_every_kind_is_tried_before_one_is_tried_again_when_none_comes_to_its_window():
    progress = Progress(4, QUICK)
    plan = Plan(progress)
    for turn in range(3 * len(KINDS)):
        plan.over(plan.kind())
        progress.kills[RANDOM] += 1
        tried = [progress.tried[kind] for kind in KINDS]
        assert max(tried) - min(tried) <= 1, turn


@pytest.mark.parametrize("kills", [1, 12, 40, 1000, 3000])
def test_a_campaign_of_another_length_has_as_many_sleepers_and_bars_for_each_kill(kills):
    size = LONG.of(kills)
    assert size.kills == kills
    assert size.sleeps / kills == pytest.approx(LONG.sleeps / LONG.kills, abs=1 / kills)
    assert size.bars / kills == pytest.approx(LONG.bars / LONG.kills, abs=1 / kills)
    assert size.sleeps >= 1
    assert 1 <= size.stretch <= max(1, kills // STRETCHES)
    assert LONG.of(LONG.kills) == LONG


def test_a_campaign_is_done_once_all_were_struck_and_all_slept_wherever_it_was():
    progress = Progress(6, QUICK, kills=Counter({RANDOM: QUICK.kills}))
    assert not progress.is_done
    assert 0 < progress.share < 1
    progress.sleeps[RANDOM] += QUICK.sleeps
    assert progress.is_done
    assert progress.share == 1
    progress.kills[RANDOM] += 5
    assert progress.share == 1


def test_the_kinds_of_kill_cover_every_window():
    assert {window for window, *_ in KINDS.values()} == set(WINDOWS)
    dice = random.Random(4)
    for kind, (window, latest, hold, delay) in KINDS.items():
        for _ in range(50):
            strike = strike_of(kind, dice)
            assert (strike.window, strike.signal) == (window, signal.SIGKILL)
            assert 1 <= strike.passage <= latest
            assert 0 <= strike.hold <= hold
            assert 0 <= strike.delay <= delay
    assert strike_of(RANDOM, dice) is None


def test_progress_is_what_was_kept(tmp_path):
    progress = Progress(5, QUICK, kills=Counter({RANDOM: 3}), failures=["one"])
    progress.write(tmp_path / "progress.json")
    back = Progress.read(tmp_path / "progress.json")
    assert back.killed == 3
    assert (back.seed, back.failures, back.kills) == (5, ["one"], progress.kills)
    assert tuple(back.size.widths) == QUICK.widths
    assert back.size.ticks == QUICK.ticks


@pytest.mark.parametrize("start", [0, 250, 300])
def test_a_feeder_that_starts_again_sends_the_same(tmp_path, start):
    world = make_world(tmp_path, "none:1", seed=6, widths=(5, 4))
    whole, again = Feed(world), Feed(world)
    sent = {bar: [list(whole.bar(u, bar)) for u in (0, 1)] for bar in range(310)}
    for bar in range(start, 310):
        assert [list(again.bar(u, bar)) for u in (0, 1)] == sent[bar]
    other = Feed(World(world.path, world.topology, 7))
    assert list(other.bar(0, 0)) != sent[0][0]
