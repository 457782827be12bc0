"""Returns for the covariance mixture, drawn and made: what is usual in them, and what is not."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream_allocator.moments.mixture import CovarianceMixture

RETURN = st.one_of(
    st.floats(-0.2, 0.2),
    st.sampled_from([0.0, 0.01, -0.01, 1e-300, 1e20, -1e200, math.nan, math.inf, -math.inf]),
)


@st.composite
def returns(draw, longest=75):
    n = draw(st.integers(1, 5))
    rows = draw(arrays(float, (draw(st.integers(0, longest)), n), elements=RETURN))
    if n > 1 and draw(st.booleans()):
        rows[:, 1] = rows[:, 0]  # a duplicate
    if draw(st.booleans()):
        rows[:, -1] = draw(st.sampled_from([0.0, 0.01, math.nan]))  # a constant, or never seen
    if len(rows) and draw(st.booleans()):
        rows[draw(st.integers(0, len(rows) - 1))] = math.nan  # a bar without any return
    return rows


def fed(rows, estimate=None):
    estimate = estimate or CovarianceMixture(rows.shape[1])
    for row in rows:
        estimate.update(row)
    return estimate


def market(T=300, n=5, seed=0):
    """A common factor, heavy tails, two volatility regimes, volatilities a hundredfold apart."""
    rng = np.random.default_rng(seed)
    calm = np.where(np.arange(T) // 70 % 2, 2.5, 1.0)[:, None]
    own = rng.standard_t(5, size=(T, n))
    return 0.01 * calm * (rng.normal(size=(T, 1)) + own) * np.geomspace(0.1, 10.0, n)


def holes(rows, share, seed=1):
    rows = rows.copy()
    rows[np.random.default_rng(seed).random(rows.shape) < share] = math.nan
    return rows


def same_bits(a, b):
    first, second = a.state(), b.state()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype
        assert array.tobytes() == second[name].tobytes(), name


def duplicates():
    rows = market(84, 3)
    rows[:, 2] = rows[:, 0]
    return rows


def constants():
    rows = market(84, 3)
    rows[:, 1] = 0.01
    rows[:, 2] = 0.0
    return rows


def newcomer():
    rows = holes(market(90, 3), 0.1)
    rows[:40, 1] = math.nan
    return rows


def halted():
    rows = market(90, 3)
    rows[10:50, 0] = 0.0
    rows[45:85, 1] = math.nan
    rows[75] *= 30.0
    return rows
