"""Calibration of the shipped default policy on the bundled history: what it said of its risk, and what came.

Every bar goes through the engine once, with the paper account in the loop; then decisions are judged by their
confidence, one-step forecasts by the probability integral transform and by proper scores, and the comparison
with static portfolios by the stationary bootstrap. Degrees of freedom are fitted before 2005 alone.
``--quick`` takes the first eight years, fits before 1995 and draws fewer resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from benchmarks.harness import last_line, options, show
from stream_allocator.backtest.calibration import SURE, Outcome, calibration, earned, outcomes, penalties
from stream_allocator.backtest.command import PORTFOLIO, universe_for
from stream_allocator.backtest.days import day, microseconds
from stream_allocator.backtest.forecasts import Forecasts, one_step_forecasts
from stream_allocator.backtest.inference import Interval, deflated_sharpe, metric_differences
from stream_allocator.backtest.metrics import returns_of
from stream_allocator.backtest.periods import PERIODS, period_metrics
from stream_allocator.backtest.prices import bundled
from stream_allocator.backtest.run import PortfolioRun, Run
from stream_allocator.backtest.scores import (
    berkowitz,
    compare_scores,
    fit_degrees_of_freedom,
    histogram,
    surprises,
    transform,
    uniformity,
)
from stream_allocator.backtest.summary import Summary, summarise
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.policy import load_policy
from stream_allocator.shipped import shipped_policy

QUICK_BARS = 2000
TRIALS = (1, 10, 100, 1000)
BLOCKS = (21, 63, 252)
BY_CONFIDENCE = (
    *("confidence", "n", "said", "came", "bound", "error", "rms", "within", "promised"),
    *("fall", "came", "in 95%"),
)


@dataclass(frozen=True)
class Setting:
    """What a run is judged with.

    Attributes
    ----------
    bins : int
        Of confidence.
    cut : int
        Event time before which numbers may be fitted.
    since : str
        Its year.
    resamples : int
    """

    bins: int
    cut: int
    since: str
    resamples: int


def setting(quick: bool) -> Setting:
    """The setting of a long or a quick run."""
    since = "1995" if quick else "2005"
    return Setting(
        3 if quick else 10, microseconds(datetime(int(since), 1, 1)), since, 100 if quick else 1000
    )


def walk(quick: bool) -> Run:
    """The shipped default over the bundled history."""
    prices = bundled()
    if quick:
        prices = prices.until(QUICK_BARS - 1)
    policy = load_policy(shipped_policy())
    return walk_forward(prices, universe_for(prices, None), {PORTFOLIO: policy})


def show_confidence(
    run: Run, book: PortfolioRun, judged: tuple[Outcome, ...], chosen: Setting
) -> dict[str, float]:
    """Risk said and risk that came, by confidence."""
    rows = []
    for b in calibration(run, book, chosen.bins):
        volatility = (percent(x) for x in (b.predicted, b.realised, b.bound))
        errors = (round(b.error, 2), round(b.rms_error, 2))
        losses = (percent(x) for x in (b.expected_loss, b.worst_loss))
        covered = (percent(x, 0) for x in (b.covered, b.promised))
        within = percent(b.loss_covered, 0)
        rows.append(
            (f"{b.low:.0%}-{b.high:.0%}", b.decisions, *volatility, *errors, *covered, *losses, within)
        )
    show(
        "Decisions by confidence: volatility a year, share within the robust bound, deepest fall to a fill",
        BY_CONFIDENCE,
        rows,
        "error: |ln(came / said)|, median and root mean square",
    )
    figures = {
        "decisions": float(len(judged)),
        "covered": float(np.mean([o.realised <= o.bound for o in judged])),
        "promised": float(np.mean([o.promised for o in judged])),
        "losses_covered": float(np.mean([o.worst_loss <= o.loss_bound for o in judged])),
    }
    show(
        "Over all decisions",
        ("within the robust bound", "promised", "worst losses within their bound", "promised at least"),
        [(*(percent(figures[k]) for k in ("covered", "promised", "losses_covered")), percent(SURE))],
    )
    return figures


def show_earned(judged: tuple[Outcome, ...], forecasts: Forecasts, chosen: Setting) -> dict[str, float]:
    """Whether errors are smaller where confidence is higher."""
    rows = [
        (f"{s.low:.0%}-{s.high:.0%}", s.bars, round(s.scale, 3), percent(s.beyond))
        for s in surprises(forecasts, chosen.bins)
    ]
    show(
        "One-step forecasts by confidence",
        ("confidence", "bars", "rms of (came - mean) / said", "beyond two deviations (normal: 4.6%)"),
        rows,
    )
    confidence, errors, times = (
        np.array([getattr(o, name) for o in judged]) for name in ("confidence", "error", "event_time")
    )
    rows, figures = [], {}
    for span, cut in (("all", 0), (f"from {chosen.since}", chosen.cut)):
        part, bars = times >= cut, forecasts.since(cut)
        found = (
            earned(confidence[part], errors[part], resamples=chosen.resamples),
            earned(bars.confidence, np.abs(bars.standardised), block=63, resamples=chosen.resamples),
        )
        for name, size, x in (
            ("decisions: |ln(came / said)|", int(part.sum()), found[0]),
            ("bars: |came - mean| / said", bars.times.size, found[1]),
        ):
            rows.append((name, span, size, round(x.correlation, 3), x.p_value, *places(x.gap)))
            figures[f"{name.split(':')[0]}_p_value"] = x.p_value
    show(
        "Is confidence earned? Errors of the least sure fifth above those of the others, 90%",
        ("error", "bars", "n", "rank correlation", "p", "gap", "from", "to"),
        rows,
        "the rank correlation should be negative and the gap positive",
    )
    return figures


def show_worst(run: Run, book: PortfolioRun, forecasts: Forecasts) -> None:
    """The bars that were furthest from their forecast, and what did it."""
    rows = []
    z = forecasts.standardised
    for i in np.argsort(-np.abs(z), kind="stable")[:5]:
        bar = int(np.searchsorted(run.times, forecasts.times[i]))
        shares = book.held[bar - 1] * np.nan_to_num(run.returns[bar])
        k = int(np.argmax(np.abs(shares)))
        name = (
            f"{run.universe.assets[k]} {percent(run.returns[bar, k])}, held {percent(book.held[bar - 1, k])}"
        )
        said = percent(forecasts.deviation[i], 2)
        rows.append(
            (day(forecasts.times[i]), percent(forecasts.realised[i]), said, round(float(z[i]), 1), name)
        )
    show(
        "The bars furthest from their forecast",
        ("bar", "return", "deviation said", "in deviations", "most of it"),
        rows,
    )


def show_transform(forecasts: Forecasts, chosen: Setting) -> dict[str, float]:
    """The probability integral transform of the one-step forecasts."""
    early = forecasts.select(forecasts.times < chosen.cut)
    freedom = fit_degrees_of_freedom(early.standardised)
    spans = {f"before {chosen.since}": early, f"from {chosen.since}": forecasts.since(chosen.cut)}
    rows, deviation, distance = [], 0.0, 0.0
    for span, part in spans.items():
        for name, df in (("normal", float("inf")), (f"Student t, {freedom:.1f}", freedom)):
            u = transform(part.standardised, df)
            ks, p = uniformity(u)
            test, bars = berkowitz(u), histogram(u)
            scores = (round(x, 3) for x in (test.mean, test.deviation, test.autocorrelation))
            tests = (round(ks, 4), p, round(test.statistic, 1), test.p_value)
            rows.append((span, name, u.size, *tests, *scores, bars.outside))
            deviation, distance = test.deviation, ks
    show(
        "Probability integral transform of one-step forecasts, mean and volatility of the engine's market",
        ("bars", "forecast", "n", "KS", "p", "Berkowitz", "p", "mean", "sd", "lag 1", "outside of 20"),
        rows,
        f"degrees of freedom fitted before {chosen.since}; mean, sd, lag 1 of normal scores: 0, 1, 0",
    )
    return {
        "degrees_of_freedom": freedom,
        "transform_distance": distance,
        "transform_deviation": deviation,
    }


def show_scores(forecasts: Forecasts, chosen: Setting) -> dict[str, float]:
    """Proper scores beside static covariances."""
    rows, figures = [], {}
    for span, part in (("all", forecasts), (f"from {chosen.since}", forecasts.since(chosen.cut))):
        scored = compare_scores(part, resamples=chosen.resamples)
        for row in scored:
            gains = [
                ""
                if gain is None
                else f"{gain.estimate * k:+.3f} ({gain.low * k:+.3f} to {gain.high * k:+.3f})"
                for gain, k in ((row.crps_gain, 1e4), (row.log_gain, 1.0))
            ]
            rows.append(
                (span, row.name, round(row.crps * 1e4, 3), gains[0], round(row.log_score, 4), gains[1])
            )
        if span == "all":
            for row in scored[1:]:
                short = row.name.split()[0]
                figures[f"crps_ratio_{short}"] = scored[0].crps / row.crps
    show(
        "Scores of normal one-step forecasts of the same holdings, smaller is better",
        ("bars", "covariance", "CRPS, bp", "above the market's, 90%", "log score", "above the market's, 90%"),
        rows,
    )
    return figures


def show_penalties(book: PortfolioRun) -> dict[str, float]:
    """What uncertainty cost, by period."""
    found = penalties(book)
    rows = []
    for period in PERIODS:
        part = period.bars(found.times)
        if part.stop > part.start:
            total, size = found.total[part] * 1e4, found.effective_sample_size[part]
            share = found.mean[part].sum() / max(found.total[part].sum(), 1e-300)
            root = percent(np.sqrt(np.median(found.radius[part])))
            price = (float(np.median(total)), float(total.max()), percent(share, 0))
            rows.append((period.name, total.size, *price, root, float(np.median(size))))
    show(
        "Price of uncertainty in the objective, basis points a year",
        ("period", "decisions", "median", "most", "mean's part", "root of delta", "median n_eff"),
        rows,
    )
    return {"penalty_bp": float(np.median(found.total) * 1e4)}


def show_differences(summary: Summary, year: float, chosen: Setting) -> dict[str, float]:
    """Against static portfolios, with intervals; after a search; and by period."""
    own, others = summary.allocator.path, {b.name: b.path for b in summary.baselines}
    found = metric_differences(own, others, year, interest=summary.interest, resamples=chosen.resamples)
    show(
        "The default minus static portfolios, 90% by the stationary bootstrap, blocks of 63 bars on average",
        ("against", "metric", "difference", "from", "to"),
        [(name, key, *places(gap)) for name, gaps in found.items() for key, gap in gaps.items()],
    )
    best = summary.reference
    rows = []
    for block in BLOCKS:
        gaps = metric_differences(
            own,
            {"best": best.path},
            year,
            interest=summary.interest,
            block=block,
            resamples=chosen.resamples,
        )
        rows += [(block, key, *places(gaps["best"][key])) for key in ("sharpe", "max_drawdown", "turnover")]
    show(
        f"Against {best.name} by the mean length of a block",
        ("block", "metric", "difference", "from", "to"),
        rows,
    )
    returns = returns_of(own.wealth) - summary.interest
    deflated = [deflated_sharpe(returns, n, periods_per_year=year) for n in TRIALS]
    show(
        "Deflated Sharpe ratio by the number of policies tried",
        ("tried", "Sharpe", "expected best of so many without skill", "probability of being above"),
        [(d.trials, round(d.sharpe, 3), round(d.benchmark, 3), round(d.probability, 4)) for d in deflated],
        "tries as if they had nothing in common",
    )
    rows = []
    for row in summary.rows:
        parts = period_metrics(summary.times, row.path, year, interest=summary.interest)
        rows.append(
            (
                row.name,
                *(f"{m.sharpe:.2f} / {m.max_drawdown:.1%} / {m.turnover:.2f}" for m in parts.values()),
            )
        )
    show("Sharpe / maximum drawdown / turnover a year by period", ("portfolio", *parts), rows)
    return {"sharpe": deflated[0].sharpe, "deflated_100": deflated[TRIALS.index(100)].probability}


def places(found: Interval) -> tuple[float, float, float]:
    """An estimate with its interval in three cells."""
    return round(found.estimate, 4), round(found.low, 4), round(found.high, 4)


def percent(x: float, digits: int = 1) -> str:
    """A share in a cell."""
    return f"{x:.{digits}%}"


def main() -> None:
    """Run, judge and print."""
    given = options(__doc__)
    chosen = setting(given.quick)
    run = walk(given.quick)
    book = run.portfolios[0]
    policy = book.policy
    print(f"policy {policy.name} {policy.digest[:12]}, {len(run.times):,} bars, chain {run.chain[:12]}")
    forecasts = one_step_forecasts(run, book)
    judged = outcomes(run, book)
    figures = show_confidence(run, book, judged, chosen)
    figures |= show_earned(judged, forecasts, chosen)
    show_worst(run, book, forecasts)
    figures |= show_transform(forecasts, chosen)
    figures |= show_scores(forecasts, chosen)
    figures |= show_penalties(book)
    figures |= show_differences(summarise(run, book), book.policy.moments.periods_per_year, chosen)
    last_line(figures)


if __name__ == "__main__":
    main()
