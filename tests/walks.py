"""Made-up prices, and walk-forwards over them."""

import numpy as np
import worlds

from stream_allocator.backtest.prices import Prices
from stream_allocator.backtest.walkforward import walk_forward

DAY = worlds.DAY


def prices(returns, assets=worlds.ASSETS):
    """Closes that begin at 100 and have these returns, a day apart from 1970 on."""
    closes = 100.0 * np.vstack((np.ones(len(assets)), np.cumprod(1.0 + returns, axis=0)))
    return Prices("made up", tuple(assets), np.arange(len(closes), dtype=np.int64) * DAY, closes)


def walk(history, **settings):
    """The small universe's one portfolio over them."""
    return walk_forward(history, worlds.universe(), {"core": worlds.policy()}, **settings)
