"""What a bar without some returns says of them."""

import numpy as np
import pytest
import worlds
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.bars import Bar
from stream_allocator.market import Market, count_finite


@given(st.lists(st.floats(), max_size=30))
def test_finite_returns_are_counted(values):
    assert count_finite(np.array(values)) == sum(np.isfinite(v) for v in values)


@pytest.mark.parametrize(
    ("returns", "missing"),
    [
        ([0.01, 0.02, -0.01], ()),
        ([np.nan, 0.02, -0.01], ("A",)),
        ([0.01, np.inf, np.nan], ("B", "C")),
        ([np.nan] * 3, ("A", "B", "C")),
    ],
)
def test_assets_without_a_return_are_named_and_cost_confidence(returns, missing):
    plan = worlds.policy()
    market = Market(("A", "B", "C"), plan.regime, plan.moments, plan.limits.volume_half_life)
    nothing = np.full(3, np.nan)
    view = market.close(Bar(1, np.array(returns), nothing, np.isfinite(returns)))
    assert view.missing == missing
    assert dict(view.confidence_factors)["data"] == pytest.approx(1.0 - len(missing) / 3)
