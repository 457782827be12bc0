"""Costs are fitted with parts that cannot be negative, and all sizes count alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale.growth import fit

N = (20, 100, 500, 2000)
part = st.floats(0.0, 1.0)


@given(st.tuples(part, part, part).filter(lambda p: max(p) > 1e-3))
def test_a_cost_with_such_parts_is_found(parts):
    costs = [parts[0] + parts[1] * n / 100 + parts[2] * (n / 100) ** 2 for n in N]
    found = fit(N, costs)
    assert found.worst < 1e-6
    assert [found(n) for n in N] == pytest.approx(costs, rel=1e-6)


def test_points_without_a_figure_are_left_out_and_none_at_all_is_an_error():
    assert fit((20, 100, 500), (np.nan, 1.0, 5.0))(200) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no point"):
        fit((20,), (np.nan,))


def test_no_part_is_negative_even_where_costs_fall():
    found = fit((20, 100, 500), (3.0, 2.0, 1.0))
    assert min(found.constant, found.linear, found.quadratic) >= 0.0
    assert found.worst > 0.1
