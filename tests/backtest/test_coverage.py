"""What a history lacks is counted as one would count it by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest

from stream_allocator.backtest.coverage import Coverage, coverage


def naive(returns):
    late = ended = never = missing = longest = 0
    for column in returns.T:
        seen = [t for t, x in enumerate(column) if not math.isnan(x)]
        if not seen:
            never += 1
            continue
        late += seen[0] > 0
        ended += seen[-1] < len(column) - 1
        gaps = [b - a - 1 for a, b in pairwise(seen)]
        missing += sum(gaps)
        longest = max([longest, *gaps])
    empty = sum(all(math.isnan(x) for x in row) for row in returns)
    return Coverage(returns.shape[1], late, ended, never, missing, longest, empty)


@pytest.mark.parametrize("seed", range(6))
def test_counts_agree_with_the_naive_ones(seed):
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((12, 5))
    returns[rng.random(returns.shape) < rng.choice([0.1, 0.5, 0.9])] = math.nan
    assert coverage(returns) == naive(returns)


def test_a_whole_history_lacks_nothing():
    assert coverage(np.zeros((3, 2))).whole
    assert not coverage(np.array([[0.0, math.nan]])).whole
