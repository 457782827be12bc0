"""What a universe and a policy settle for every decision."""

import numpy as np
import worlds

from stream_allocator.decision import box, costs, settled_by


def test_another_policy_settles_other_numbers_and_the_same_is_asked_once():
    universe = worlds.universe()
    cheap = worlds.policy(costs={"linear_bps": 5, "horizon_days": 21})
    dear = worlds.policy(costs={"linear_bps": 10, "horizon_days": 21})
    first, second = settled_by(universe, cheap), settled_by(universe, dear)
    assert np.array_equal(2.0 * first.linear_cost, second.linear_cost)
    assert settled_by(universe, cheap) is first


def test_what_is_settled_is_what_the_policy_says_and_cannot_be_written_to():
    universe = worlds.universe()
    policy = worlds.policy(
        limits={
            "upper": 0.5,
            "assets": {"BBB": {"lower": 0.1, "upper": 0.3}},
            "benchmark": {"weights": {"CCC": 0.25}, "tracking_error": 0.1},
        },
        costs={"assets": {"AAA": {"linear_bps": 7}}},
    )
    settled = settled_by(universe, policy)
    lower, upper = box(universe, policy)
    linear, quadratic = costs(universe, policy)
    a_year = policy.moments.periods_per_year / policy.costs.horizon_days
    assert settled.lower.tolist() == lower.tolist() == [0.0, 0.1, 0.0, 0.0]
    assert settled.upper.tolist() == upper.tolist() == [0.5, 0.3, 0.5, 0.5]
    assert settled.linear_cost.tolist() == (linear * 1e-4 * a_year).tolist()
    assert settled.quadratic_cost.tolist() == (quadratic * 1e-4 * a_year).tolist()
    assert linear[0] == 7.0 != linear[1]
    assert settled.benchmark.tolist() == [0.0, 0.0, 0.25, 0.0]
    assert not any(array.flags.writeable for array in settled if isinstance(array, np.ndarray))
