"""The two metrics of the Turing benchmark on cases worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.regime.annotations import covering, f1

FOUR = {"a": [10, 20], "b": [11, 20], "c": [10], "d": [0, 5]}


def test_a_change_point_is_right_if_anybody_marked_it():
    # precision 3/3; every annotator finds all of theirs: 10 and 11 within the margin of 10, 5 of 10, 0 of 0
    assert f1(FOUR, [10, 20]) == 1.0


def test_a_change_that_nobody_marked_costs_precision():
    # found {0, 10, 40}: 2/3 precise; recall (3/3 + 1/2) / 2 with marks {0} missing nothing and {0, 20}
    assert f1({"a": [10], "b": [20]}, [10, 40]) == pytest.approx(2 * (2 / 3) * (3 / 4) / (2 / 3 + 3 / 4))


def test_every_annotator_has_the_same_say_in_what_was_missed():
    # precision 2/2, recall (1/1 + 2/2 + 1/2) / 3 = 5/6
    assert f1({"a": [], "b": [10], "c": [50]}, [10]) == pytest.approx(10 / 11, abs=1e-15)
    # precision 1/1, recall (1 + 1/2 + 1/2) / 3 = 2/3
    assert f1({"a": [], "b": [10], "c": [50]}, []) == pytest.approx(0.8, abs=1e-15)


def test_two_marked_points_do_not_share_one_found_point():
    # marks {0, 10, 12} against {0, 11}: 10 takes 11, 12 has none left; precision 2/2, recall 2/3
    assert f1({"a": [10, 12]}, [11]) == pytest.approx(0.8, abs=1e-15)


def test_marked_points_choose_in_the_order_of_time_and_the_nearest():
    # 117 takes 120, which is nearer than 113; 123 is left without: precision 2/3, recall 2/3
    assert f1({"a": [117, 123]}, [113, 120]) == pytest.approx(2 / 3, abs=1e-15)
    # 12 is as near to 10 as to 14 and takes the earlier, so 17 finds 14: all have partners
    assert f1({"a": [12, 17]}, [10, 14]) == 1.0


def test_the_trivial_change_point_can_be_taken_by_a_mark_of_its_own_only():
    # marks {0, 3}: 0 takes 0 before 3 can; recall 1/2, precision 1/1
    assert f1({"a": [3]}, []) == pytest.approx(2 / 3, abs=1e-15)


def test_the_margin_is_inclusive():
    assert f1({"a": [20]}, [25]) == 1.0
    assert f1({"a": [20]}, [26]) == 0.5
    assert f1({"a": [20]}, [21], margin=0) == 0.5


def test_covering_of_four_annotators_worked_by_hand():
    # a: exact, 1.  b: 10 (10/10) + 35 (25/35) = 35, over 45.  c: 5 (5/10) + 40 (25/40) = 27.5, over 45.
    covered = covering({"a": [10, 20], "b": [10], "c": [0, 5]}, [10, 20], length=45)
    assert covered == pytest.approx((1 + 35 / 45 + 27.5 / 45) / 3, abs=1e-15)
    assert covered == pytest.approx(0.796296, abs=1e-6)


def test_covering_of_nothing_found_is_the_sum_of_squared_shares():
    assert covering({"a": [30]}, [], length=100) == pytest.approx(0.3**2 + 0.7**2, abs=1e-15)


points = st.lists(st.integers(1, 59), max_size=6)


@given(st.dictionaries(st.text(max_size=2), points, min_size=1, max_size=4), points, st.randoms())
def test_scores_lie_in_the_unit_interval_whatever_the_order(annotations, changes, random):
    score, share = f1(annotations, changes), covering(annotations, changes, length=60)
    assert 0.0 < score <= 1.0
    assert 0.0 < share <= 1.0 + 1e-12
    shuffled = [*changes, *changes, 0]
    random.shuffle(shuffled)
    assert f1(annotations, shuffled) == score
    assert covering(annotations, shuffled, length=60) == share


@given(points)
def test_agreement_with_oneself_is_complete(changes):
    assert f1({"a": changes}, changes) == 1.0
    assert covering({"a": changes}, changes, length=60) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: f1({}, [1]), "at least one annotator"),
        (lambda: covering({}, [1], length=5), "at least one annotator"),
        (lambda: f1({"a": [-1]}, []), "an index from 0, got -1"),
        (lambda: f1({"a": [1]}, [2], margin=-1), "margin must not be negative"),
        (lambda: covering({"a": [5]}, [], length=5), "an index below 5, got 5"),
        (lambda: covering({"a": [2]}, [9], length=5), "an index below 5, got 9"),
        (lambda: covering({"a": [2]}, [], length=0), "length must be at least 1"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
