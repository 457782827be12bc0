"""The run-length posterior: how exact it is, and what it costs against peers and against the floor.

The floor is a loop that does for each run length only what no implementation can leave out: load mean,
rate, anchor and the table entries, multiply and add (fused), store mean, rate and weight; no logarithm,
exponential or division.  It is measured in turns with ours in the same process, and ratios are medians of the
turns' ratios.  Beside it stand the kernel's own loops over the runs alone: they add to the floor one
logarithm and one exponential a run, and nothing else that a filter has to do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.exact_bocpd import EXTENDED, FORTY_DIGITS, posteriors
from benchmarks.harness import last_line, options, show
from benchmarks.peers_bocpd import HAZARD, PEERS, nanoseconds
from stream_allocator.regime import RunLengthPanel
from stream_allocator.regime.elementary import FloatArray, fma, in_place
from stream_allocator.regime.likelihood import row_stride, run_tables
from stream_allocator.regime.loggrid import RunLengthGrid
from stream_allocator.regime.passes import RATE, ROWS, SCRATCH, absorb, weigh

R = 256
ASSETS = 500


# -- the floor


@in_place
def floor_pass(z: float, origin: float, runs: FloatArray, j: np.uint64, tables: FloatArray) -> None:
    """One observation of series j: the loads, fused multiply-adds and stores of every run, and nothing else.

    Rows of ``runs`` (series, 4, R or more) are mean, rate, anchor, weight; rows of ``tables`` (5, R or more)
    gain, half, precision, normaliser, shape.
    """
    for i in range(np.uint64(R)):
        d = z - runs[j, 0, i]
        rate = fma(d * tables[1, i], d, runs[j, 1, i])
        runs[j, 0, i] = fma(d, tables[0, i], runs[j, 0, i])
        runs[j, 1, i] = rate
        level = fma(-tables[4, i], rate * tables[2, i], tables[3, i])
        runs[j, 3, i] = level + (runs[j, 2, i] - origin)


@in_place
def floor_stream(values: FloatArray, runs: FloatArray, tables: FloatArray) -> None:
    """A stream: many observations of one series."""
    for z in values:
        floor_pass(z, 0.5, runs, np.uint64(0), tables)


@in_place
def floor_tick(values: FloatArray, runs: FloatArray, tables: FloatArray) -> None:
    """A cross-section: one observation of each series."""
    for j in range(np.uint64(values.size)):
        floor_pass(values[j], 0.5, runs, j, tables)


@in_place
def loops_stream(
    values: FloatArray, runs: FloatArray, tables: FloatArray, scratch: FloatArray, column: np.uint64
) -> None:
    """The kernel's loops over R runs for many observations: no sum, no newborn, no merger."""
    zero, width = np.uint64(0), np.uint64(R)
    for z in values:
        absorb(z, runs, zero, zero, width, tables, column, scratch)
        weigh(runs, zero, zero, width, tables, column, scratch, 0.5)


def loops_cost(values: FloatArray) -> Callable[[], float]:
    """A clock for the kernel's loops, ns an observation."""
    runs = np.ones((1, ROWS, row_stride(R)))
    tables = run_tables(R, 1.0, 1.0, equal_weights=True)
    scratch = np.zeros((SCRATCH, row_stride(R)))
    column = np.uint64(tables.shape[1] - 1 - R)

    def clock() -> float:
        runs[:, RATE, :R] = np.arange(R, 0.0, -1.0)  # as if each run had seen unit variance
        return ns_each(lambda: loops_stream(values, runs, tables, scratch, column), len(values))

    return clock


def floor_state(series: int) -> tuple[FloatArray, FloatArray]:
    """Runs and tables whose numbers stay in range whatever comes; rows apart as in the kernel."""
    runs = np.zeros((series, 4, row_stride(R)))
    runs[:, 1] = 1.0
    tables = np.full((5, row_stride(R)), 1e-3)
    return runs, tables


# -- clocks


def ns_each(run: Callable[[], object], number: int) -> float:
    """Nanoseconds of one call, by the number of things it does."""
    start = time.perf_counter()
    run()
    return 1e9 * (time.perf_counter() - start) / number


def in_turns(
    ours: Callable[[], float], other: Callable[[], float], repeats: int
) -> tuple[float, float, float]:
    """Medians of ours, of the other and of their ratio, measured in turns after one of each not counted."""
    ours()
    other()
    pairs = [(ours(), other()) for _ in range(repeats)]
    a, b = zip(*pairs, strict=True)
    return statistics.median(a), statistics.median(b), statistics.median(x / y for x, y in pairs)


# -- data


def switching(rng: np.random.Generator, steps: int, series: int, every: float) -> FloatArray:
    """Gaussian segments of random length (mean ``every``), mean N(0, 2^2) and volatility exp(N(0, 0.7^2))."""
    out = np.empty((steps, series))
    for j in range(series):
        starts = np.flatnonzero(rng.random(steps) < 1.0 / every)
        for part in np.split(np.arange(steps), starts):
            if part.size:
                noise = rng.normal(size=part.size)
                out[part, j] = 2.0 * rng.normal() + np.exp(0.7 * rng.normal()) * noise
    return out


def data_sets(rng: np.random.Generator, steps: int) -> dict[str, tuple[FloatArray, float, float]]:
    """Values, and location and scale of the prior."""
    noise = rng.normal(size=steps)
    change = noise.copy()
    change[steps // 2 :] = 2.5 + 0.5 * change[steps // 2 :]
    many = switching(rng, steps, 1, 250.0)[:, 0]
    outlier = noise.copy()
    outlier[steps // 2] = 1e8
    return {
        "no change": (noise, 0.0, 1.0),
        "one change": (change, 0.0, 1.0),
        "a change every 250": (many, 0.0, 1.0),
        "offset 1e6 sigma, prior there": (1e6 + change, 1e6, 1.0),
        "offset 1e6 sigma, prior at 0": (1e6 + change, 0.0, 1.0),
        "unit 1e-150": (1e-150 * change, 0.0, 1e-150),
        "unit 1e+150": (1e150 * change, 0.0, 1e150),
        "constant": (np.full(steps, 0.25), 0.0, 1.0),
        "ties (whole numbers)": (np.round(change), 0.0, 1.0),
        "one outlier of 1e8 sigma": (outlier, 0.0, 1.0),
    }


# -- accuracy


def accuracy(rng: np.random.Generator, quick: bool) -> float:
    """Worst total variation; prints the table by data set."""
    steps, checked = (1000, 50) if quick else (5000, 200)
    moments = sorted({*np.linspace(40, steps, 25).astype(int).tolist(), steps // 2 + 3, steps // 2 + 30})
    rows = []
    for name, (values, location, scale) in data_sets(rng, steps).items():
        prior = (HAZARD, location, scale)
        part = values[(steps - checked) // 2 : (steps + checked) // 2]
        found = [name]
        reference = 0.0
        for cap in (R, steps + 1):
            exact = posteriors(values, *prior, cap, moments, EXTENDED)
            found.append(worst_variation(values, *prior, cap, exact))
        for cap in (checked // 3, checked + 1):
            exact = posteriors(part, *prior, cap, [checked // 2, checked], FORTY_DIGITS)
            found.append(worst_variation(part, *prior, cap, exact))
            extended = posteriors(part, *prior, cap, list(exact), EXTENDED)
            reference = max(reference, *(variation(exact[t], extended[t]) for t in exact))
        rows.append([*found, reference])
    show(
        f"Total variation from exact arithmetic, worst of {len(moments)} moments of {steps} observations",
        [
            "data",
            f"max_run {R}",
            "no cap",
            f"40 digits, {checked} obs, cap {checked // 3}",
            f"40 digits, {checked} obs, no cap",
            "extended vs 40 digits",
        ],
        rows,
        "over all observations against 64 bits of mantissa, which are checked against 40 digits: last column",
    )
    return max(max(row[1:]) for row in rows)


def variation(p: np.ndarray, q: np.ndarray) -> float:
    return float(0.5 * np.abs(p - q).sum())


def worst_variation(
    values: np.ndarray, hazard: float, location: float, scale: float, cap: int, exact: dict[int, np.ndarray]
) -> float:
    """Of the panel from the exact posteriors."""
    panel = RunLengthPanel(1, hazard=hazard, max_run=cap, warmup=0, location=location, scale=scale)
    worst, taken = 0.0, 0
    for t in sorted(exact):
        panel.filter(values[taken:t, None], 0)
        taken = t
        worst = max(worst, variation(panel.posterior(0)[1], exact[t]))
    return worst


# -- speed


def stream_cost(rng: np.random.Generator, quick: bool) -> tuple[float, float, Callable[[], float]]:
    """ns an observation at R = 256 and its ratio to the floor; a function that measures ours once more."""
    steps, repeats = 500, 60 if quick else 200
    data = {"no change": rng.normal(size=(8 * steps, 1)), "a change every 250": None}
    shifted = np.repeat(rng.normal(0.0, 3.0, 8 * steps // 250), 250)
    data["a change every 250"] = rng.normal(size=(8 * steps, 1)) + shifted[:, None]
    runs, tables = floor_state(1)
    rows, clocks = [], []
    for name, values in data.items():
        panel = RunLengthPanel(1, hazard=HAZARD, max_run=R)
        grid = RunLengthGrid(1, hazard=HAZARD, max_run=R)
        for x in values[:1000]:
            grid.update(x)
        panel.filter(values, 0)
        parts = iter(np.split(values, 8) * (40 * repeats))

        def ours(panel=panel, parts=parts) -> float:
            part = next(parts)
            return ns_each(lambda: panel.filter(part, 20), steps)

        def floor(values=values) -> float:
            return ns_each(lambda: floor_stream(values[:steps, 0], runs, tables), steps)

        ns, least, ratio = in_turns(ours, floor, repeats)
        loops = in_turns(loops_cost(values[:steps, 0]), floor, repeats)[2]
        rows.append([name, ns, least, ratio, loops, ns / R])
        clocks.append(ours)
    show(
        f"One stream, exact, max_run {R}: ns an observation",
        ["data", "ours", "floor", "ours / floor", "its loops alone / floor", "ours, a run"],
        rows,
    )
    return rows[0][1], rows[0][3], clocks[0]


def against_peers(rng: np.random.Generator, ours: Callable[[], float], quick: bool) -> float:
    """Speed-up over fast-bocpd."""
    rows = []
    for peer in PEERS:
        ns, ratio = nanoseconds(peer, rng, 30 if quick else 60, ours)
        rows.append([peer.package, peer.setting, 1e-3 * ns, ratio])
    show(
        "Peers: microseconds an observation",
        ["package", "", "us", f"times ours at R={R}"],
        rows,
        "measured in turns with ours; bocd slows down as it goes on: its observations from the 300th on",
    )
    return rows[0][3]


def cross_section(rng: np.random.Generator, quick: bool) -> dict[str, float]:
    """Microseconds a tick of 500 series, through `update`."""
    ticks = 120 if quick else 600
    values = rng.normal(size=(400 + 3 * ticks, ASSETS))
    panel = RunLengthPanel(ASSETS, hazard=HAZARD, max_run=R)
    grids = {
        size: RunLengthGrid(ASSETS, hazard=HAZARD, max_run=size, resolution=c)
        for size, c in ((R, 8), (4096, 8))
    }
    runs, tables = floor_state(ASSETS)
    for row in values[:400]:
        panel.update(row)
        for grid in grids.values():
            grid.update(row)
    rows = []
    for name, update, state in (
        (f"exact, max_run {R}", panel.update, panel),
        *((f"log-grid, max_run {size}", grid.update, grid) for size, grid in grids.items()),
    ):
        ticking = iter(values[400:])

        def tick(update=update, ticking=ticking) -> float:
            row = next(ticking)
            return 1e-3 * ns_each(lambda: update(row), 1)

        def floor() -> float:
            return 1e-3 * ns_each(lambda: floor_tick(values[0], runs, tables), 1)

        alone = statistics.median(tick() for _ in range(ticks))
        least = statistics.median(floor() for _ in range(ticks))
        ratio = in_turns(tick, floor, ticks)[2]
        rows.append([name, alone, least, alone / least, ratio, memory(state) / ASSETS / 1024])
    show(
        f"Cross-section of {ASSETS} series on one core: microseconds a tick",
        ["posterior", "ours", f"floor, {R} runs", "ours / floor", "in turns", "KiB a series"],
        rows,
        "in turns each finds the other's data in the cache",
    )
    return {
        "panel500_us_exact": rows[0][1],
        "panel500_us_loggrid": rows[1][1],
        "panel500_floor_ratio": rows[0][4],
    }


def grid_error(rng: np.random.Generator, quick: bool) -> tuple[float, float]:
    """Mean and worst |P(r <= k) on the grid - exact| for k = 10 and 60 at the default resolution."""
    series, steps = (12, 1500) if quick else (60, 4000)
    values = switching(rng, steps, series, 250.0)
    ks = (10, 60)
    exact = [RunLengthPanel(series, hazard=HAZARD, max_run=steps, warmup=0).filter(values, k) for k in ks]
    rows = []
    for resolution in (4, 8, 16, 32):
        grid = RunLengthGrid(series, hazard=HAZARD, resolution=resolution, max_run=4096, warmup=0)
        found = np.empty((len(ks), steps, series))
        for t, row in enumerate(values):
            grid.update(row)
            for i, k in enumerate(ks):
                found[i, t] = grid.probability_at_most(k)
        off = np.abs(found - np.array(exact))
        each = [figure for i in range(len(ks)) for figure in (off[i].mean(), off[i].max())]
        rows.append([resolution, *map(float, each), float(off.mean()), float(off.max())])
    show(
        f"Log-grid against exact, {series} series of {steps} observations, a change every 250 on average",
        ["resolution", "mean k=10", "worst k=10", "mean k=60", "worst k=60", "mean", "worst"],
        rows,
        "absolute error of P(r <= k)",
    )
    return rows[1][5], rows[1][6]


def memory(panel: RunLengthPanel | RunLengthGrid) -> int:
    """Bytes of all arrays that a panel holds."""
    return sum(value.nbytes for value in vars(panel).values() if isinstance(value, np.ndarray))


def growth(rng: np.random.Generator, quick: bool) -> float:
    """Cost of an observation after a million over that after a thousand."""
    steps, repeats, far = 500, 40 if quick else 200, 10**6
    part = rng.normal(size=(steps, 1))

    def after(observations: int) -> tuple[RunLengthPanel, Callable[[], float]]:
        panel = RunLengthPanel(1, hazard=HAZARD, max_run=R)
        panel.filter(rng.normal(size=(observations, 1)), 0)
        state = panel.state()

        def cost() -> float:
            at = RunLengthPanel.from_state(state)
            return ns_each(lambda: at.filter(part, 20), steps)

        return panel, cost

    (near_panel, near), (far_panel, distant) = after(1000), after(far)
    ns_far, ns_near, ratio = in_turns(distant, near, repeats)
    rows = [[1000, ns_near, memory(near_panel)], [far, ns_far, memory(far_panel)]]
    show(
        "Cost and memory of one stream as it goes on (exact, max_run 256)",
        ["observations", "ns", "bytes"],
        rows,
    )
    return ratio


def main() -> None:
    """Run it."""
    asked = options(__doc__)
    rng = np.random.default_rng(asked.seed)
    with threadpool_limits(1):
        worst = accuracy(rng, asked.quick)
        ns, ratio, ours = stream_cost(rng, asked.quick)
        speedup = against_peers(rng, ours, asked.quick)
        sections = cross_section(rng, asked.quick)
        error_mean, error_max = grid_error(rng, asked.quick)
        grown = growth(rng, asked.quick)
    last_line(
        {
            "tv_vs_mpmath": worst,
            "ns_per_observation_r256": ns,
            "floor_ratio_r256": ratio,
            "speedup_vs_fast_bocpd": speedup,
            **sections,
            "loggrid_error_mean": error_mean,
            "loggrid_error_max": error_max,
            "growth_1e3_to_1e6": grown,
        }
    )


if __name__ == "__main__":
    main()
