"""The covariance mixture when assets enter and leave, and when it is saved and restored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_rows import fed, holes, market, returns, same_bits

from stream_allocator.moments.mixture import CovarianceMixture

# -- assets that enter and leave


def test_reindexed_estimate_keeps_what_stays():
    rows = holes(market(200), 0.05)
    estimate = fed(rows)
    same = estimate.reindex(np.arange(5))
    np.testing.assert_allclose(same.matrix(), estimate.matrix(), rtol=1e-12)
    fewer = estimate.reindex([0, 2, 4])
    np.testing.assert_allclose(np.sqrt(np.diag(fewer.matrix())), estimate.volatility()[[0, 2, 4]], rtol=0.1)
    assert fewer.bars == estimate.bars


def test_a_leading_part_of_the_list_keeps_its_covariance():
    estimate = fed(market(200))
    # the weights of the experts are found again, from what those three say
    np.testing.assert_allclose(estimate.reindex([0, 1, 2]).matrix(), estimate.matrix()[:3, :3], rtol=0.1)


def test_a_newcomer_is_learnt_and_the_others_go_on():
    rows = market(500, 4, seed=8)
    estimate = fed(rows[:300, :3]).reindex([-1, 0, 1, 2])
    for row in rows[300:, [3, 0, 1, 2]]:
        estimate.update(row)
        assert np.isfinite(estimate.matrix()).all()
    whole = fed(rows)
    np.testing.assert_allclose(estimate.volatility(), whole.volatility()[[3, 0, 1, 2]], rtol=0.35)
    assert (
        np.abs(estimate.correlation() - whole.correlation()[np.ix_([3, 0, 1, 2], [3, 0, 1, 2])]).max() < 0.2
    )


def test_only_newcomers_start_afresh():
    assert fed(market(100)).reindex([-1, -1]).bars == 0


@pytest.mark.parametrize("index", [[], [[0]], [0, 0], [3], [-2]])
def test_an_index_that_does_not_name_positions_is_refused(index):
    with pytest.raises(ValueError, match="index"):
        fed(market(3, 3)).reindex(np.array(index, int))


# -- state


@settings(max_examples=20, deadline=None)
@given(returns(), st.integers(0, 75))
def test_a_restored_estimate_goes_on_with_the_same_bits(rows, cut):
    estimate = fed(rows[:cut])
    restored = CovarianceMixture.from_state(estimate.state())
    same_bits(estimate, restored)
    fed(rows[cut:], estimate)
    fed(rows[cut:], restored)
    same_bits(estimate, restored)
    assert estimate.matrix().tobytes() == restored.matrix().tobytes()


def test_a_restored_estimate_goes_on_with_the_same_bits_while_it_learns():
    rows = holes(market(220), 0.05)
    estimate = fed(rows[:151])
    restored = CovarianceMixture.from_state(estimate.state())
    same_bits(fed(rows[151:], estimate), fed(rows[151:], restored))


@pytest.mark.parametrize("name", ["squares", "diagonals", "gram", "triangles", "whitener_diagonals"])
def test_a_state_of_another_shape_is_refused(name):
    state = fed(market(3, 3)).state()
    state[name] = state[name][..., :2]
    with pytest.raises(ValueError, match=name):
        CovarianceMixture.from_state(state)
