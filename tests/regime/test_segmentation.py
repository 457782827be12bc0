"""The state machine from posterior to label."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.regime import Segmentation, SegmentationRule

ANY = st.one_of(
    st.floats(0, 1),
    st.floats(0, 400),
    st.floats(),
    st.sampled_from([0.9, 0.95, 1.0, 2.0, 25.0]),
)
BAR = st.tuples(ANY, ANY, ANY, ANY, ANY)
CALM, NORMAL, STRESSED = 0.5, 1.0, 2.0


def quiet(ratio, ess=100.0):
    return (0.01, 300.0, ratio, 1.0, ess)


def alarm(run_length, ratio=NORMAL, ess=100.0):
    return (0.99, float(run_length), ratio, 1.0, ess)


def walk(bars, machine=None):
    machine = machine or Segmentation()
    return [machine.step(*bar) for bar in bars]


@given(st.lists(BAR, max_size=120), st.integers(1, 30), st.integers(1, 4))
def test_there_is_at_most_one_switch_in_any_cooldown_whatever_the_inputs(bars, cooldown, dwell):
    segments = walk(bars, Segmentation(SegmentationRule(cooldown=cooldown, dwell=dwell)))
    switches = [t for t, segment in enumerate(segments) if segment.switched]
    assert all(b - a >= cooldown for a, b in itertools.pairwise(switches))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.95]),
            st.sampled_from([0.0, 3.0, 200.0]),
            st.sampled_from([CALM, 0.8, NORMAL, 1.3, STRESSED, math.nan]),
            st.just(1.0),
            st.sampled_from([5.0, 50.0]),
        ),
        min_size=40,
        max_size=200,
    )
)
def test_labels_and_switches_keep_their_rules_on_plausible_inputs(bars):
    rule = SegmentationRule(cooldown=8)
    segments = walk(bars, Segmentation(rule))
    switches = [t for t, segment in enumerate(segments) if segment.switched]
    assert all(b - a >= rule.cooldown for a, b in itertools.pairwise(switches))
    for t, (bar, segment) in enumerate(zip(bars, segments, strict=True)):
        assert 0.0 <= segment.confidence <= 1.0
        if bar[4] < rule.evidence:
            assert segment.label == "transition"
        if t and segment.label != segments[t - 1].label and segment.label != "transition":
            assert all(asked[4] >= rule.evidence for asked in bars[t - rule.dwell + 1 : t + 1])
        if segment.cause == "alarm":
            assert all(asked[0] >= rule.threshold for asked in bars[t - rule.dwell + 1 : t + 1])


@given(st.lists(BAR, max_size=60), st.integers(0, 60))
def test_a_restored_machine_answers_the_same(bars, cut):
    machine = Segmentation(SegmentationRule(cooldown=5, dwell=2))
    walk(bars[:cut], machine)
    restored = Segmentation.from_state(json.loads(json.dumps(machine.state(), allow_nan=False)))
    assert repr(walk(bars[cut:], machine)) == repr(walk(bars[cut:], restored))
    assert machine.state() == restored.state()


def test_an_alarm_needs_its_dwell():
    segments = walk([quiet(1.0)] * 30 + [alarm(5), alarm(6), quiet(1.0), alarm(8), alarm(9), alarm(10)])
    assert [t for t, s in enumerate(segments) if s.switched] == [35]
    assert segments[35].cause == "alarm"
    assert segments[35].bars_since_switch == 0


def test_one_change_alarms_once_and_a_later_one_again():
    lasting = [alarm(r) for r in range(5, 60)]  # a posterior that keeps saying: the same recent birth
    segments = walk([quiet(1.0)] * 30 + lasting)
    assert sum(s.switched for s in segments) == 1
    again = walk([quiet(1.0)] * 30 + lasting + [alarm(2), alarm(3), alarm(4)])
    assert sum(s.switched for s in again) == 2


def test_the_beginning_of_the_series_is_not_a_switch():
    segments = walk([alarm(t, ess=float(t)) for t in range(1, 40)])
    assert not any(s.switched for s in segments)


def test_the_first_label_is_not_a_switch():
    segments = walk([quiet(STRESSED)] * 50)
    assert [s.label for s in segments[:4]] == ["transition", "transition", "stressed", "stressed"]
    assert not any(s.switched for s in segments)


def test_a_label_needs_its_dwell_and_then_is_a_switch():
    segments = walk([quiet(NORMAL)] * 30 + [quiet(STRESSED)] * 2 + [quiet(NORMAL)] + [quiet(STRESSED)] * 5)
    assert [s.label for s in segments[30:]] == ["normal"] * 5 + ["stressed"] * 3
    assert [t for t, s in enumerate(segments) if s.switched] == [35]
    assert segments[35].cause == "label"
    assert [s.bars_in_label for s in segments[35:]] == [1, 2, 3]


def test_a_label_is_entered_and_left_at_different_bounds():
    def label_after(*ratios):
        return walk([quiet(r) for ratio in ratios for r in [ratio] * 5])[-1].label

    assert label_after(1.0, 1.4) == "normal"
    assert label_after(1.5, 1.4) == "stressed"
    assert label_after(1.5, 1.25) == "stressed"
    assert label_after(1.5, 1.24) == "normal"
    assert label_after(1.0, 0.8) == "normal"
    assert label_after(0.75, 0.8) == "calm"
    assert label_after(0.75, 0.85) == "calm"
    assert label_after(0.75, 0.86) == "normal"
    assert label_after(2.0, 0.5) == "calm"
    assert label_after(0.5, 2.0) == "stressed"


def test_a_label_change_in_the_cooldown_is_in_force_at_once_and_announced_after_it():
    bars = [quiet(NORMAL)] * 30 + [quiet(STRESSED)] * 5 + [quiet(CALM)] * 40
    segments = walk(bars)
    assert [t for t, s in enumerate(segments) if s.switched] == [32, 53]
    assert segments[37].label == "calm"


def test_a_label_that_comes_back_in_the_cooldown_is_not_announced():
    bars = [quiet(NORMAL)] * 30 + [quiet(STRESSED)] * 5 + [quiet(CALM)] * 5 + [quiet(STRESSED)] * 40
    assert [t for t, s in enumerate(walk(bars)) if s.switched] == [32]


def test_too_little_evidence_is_a_transition_until_it_returns():
    bars = [quiet(NORMAL)] * 10 + [quiet(STRESSED, ess=19.9)] * 10 + [quiet(STRESSED)] * 4
    labels = [s.label for s in walk(bars)]
    assert labels[10:20] == ["transition"] * 10
    assert labels[20:] == ["transition", "transition", "stressed", "stressed"]


def test_nan_is_no_evidence():
    nan = math.nan
    settled = [quiet(NORMAL)] * 10
    assert not any(s.switched for s in walk(settled + [(nan, 3.0, NORMAL, 1.0, 50.0)] * 30))
    assert not any(s.switched for s in walk(settled + [(0.99, nan, NORMAL, 1.0, 50.0)] * 30))
    assert walk([*settled, *[(0.0, 90.0, nan, 1.0, 50.0)] * 9])[-1].label == "normal"
    assert walk([*settled, *[(0.0, 90.0, 5.0, 0.0, 50.0)] * 9])[-1].label == "normal"
    last = walk([*settled, (nan, nan, nan, nan, nan)])[-1]
    assert last.label == "transition"
    assert last.confidence == 0.0


def test_confidence_rises_with_evidence_and_falls_with_doubt():
    rule = SegmentationRule()
    sure = Segmentation(rule).step(0.0, 90.0, 1.0, 1.0, 20.0).confidence
    assert sure == pytest.approx(0.5)
    assert Segmentation(rule).step(0.5, 90.0, 1.0, 1.0, 20.0).confidence == 0.0
    assert Segmentation(rule).step(0.0, 90.0, 1.0, 1.0, 200.0).confidence > sure


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"dwell": 0}, "dwell"),
        ({"cooldown": 0}, "cooldown"),
        ({"horizon": 0}, "horizon"),
        ({"calm_exit": 1.3}, "bands"),
        ({"stressed_exit": 1.6}, "bands"),
        ({"evidence": -1.0}, "evidence"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        SegmentationRule(**change)


def test_a_state_of_another_shape_is_refused():
    state = Segmentation().state()
    state["memory"].pop("bar")
    with pytest.raises(ValueError, match="memory"):
        Segmentation.from_state(state)
