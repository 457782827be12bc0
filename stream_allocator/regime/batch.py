"""Many ticks of a panel in one call: the filter for a history, without a Python call an observation."""

from __future__ import annotations

from stream_allocator.regime.elementary import FloatArray, IntArray, in_place
from stream_allocator.regime.kernel import update_panel
from stream_allocator.regime.reductions import mass_of


@in_place
def filter_panel(
    values: FloatArray,
    index: IntArray,
    k: int,
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    tables: FloatArray,
    scratch: FloatArray,
    out: FloatArray,
) -> None:
    """Take a tick for each row of ``values`` and write P(run length <= k) after it.

    ``values`` and ``out`` are (T, m), ``index`` names m different series.  Series are independent, so each is
    followed through all its ticks while its block lies in the cache; bits are those of tick by tick.
    """
    for i in range(index.size):
        one = index[i : i + 1]
        for t in range(values.shape[0]):
            update_panel(
                values[t, i : i + 1], one, runs, counters, scalars, recent, settings, tables, scratch
            )
            out[t, i] = mass_of(index[i], k, runs, counters, scalars)
