"""One self-contained HTML page about one portfolio of a run.

No script, no request to anywhere: pictures are SVG inside the page, fonts are the reader's own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stream_allocator import __version__
from stream_allocator.backtest import charts
from stream_allocator.backtest.calibration import calibration
from stream_allocator.backtest.days import day
from stream_allocator.backtest.inference import Interval, sharpe_difference
from stream_allocator.backtest.metrics import returns_of
from stream_allocator.backtest.run import PortfolioRun, Run
from stream_allocator.backtest.summary import ROUNDING, Summary
from stream_allocator.events import Allocation, Evidence
from stream_allocator.explain import sections, term_name

__all__ = ["Origin", "render", "verdict", "write_report"]

#: Limits that are shown although they do not bind.
NEAREST = 6

#: Decisions by other rungs than the robust one that are listed.
FALLBACKS = 12


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run came from, and how to have it again.

    Attributes
    ----------
    title : str
    data : str
        Name of the price file.
    data_digest : str
        SHA-256 of its content.
    way : str
        One sentence: how the bars went through the allocator.
    command : str
        Repeats the run.
    """

    title: str
    data: str
    data_digest: str
    way: str
    command: str


def write_report(path: Path, run: Run, portfolio: PortfolioRun, summary: Summary, origin: Origin) -> None:
    """Write the page, and the folders above it where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(run, portfolio, summary, origin), "utf-8")


def render(run: Run, portfolio: PortfolioRun, summary: Summary, origin: Origin) -> str:
    """The page as text; the same run gives the same page."""
    environment = Environment(
        loader=PackageLoader("stream_allocator.backtest"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "percent": percent,
        "points": lambda x: f"{x * 1e4:,.1f}".replace("-", "−"),
        "signed": lambda x: f"{x:+.2f}".replace("-", "−"),
        "number": lambda x: "∞" if x == float("inf") else f"{x:.2f}",
        "tiny": tiny,
        "date": day,
        "term": term_name,
    }
    fallbacks = [d for d in portfolio.decisions if d.executable and d.rung != "robust"]
    explained = [("The last decision, explained", "last", explain(*portfolio.last))] if portfolio.last else []
    if portfolio.largest:
        explained.append(
            ("The largest move after the start, explained", "largest", explain(*portfolio.largest))
        )
    pictures = {
        "wealth": charts.wealth(summary),
        "drawdown": charts.drawdowns(summary),
        "regimes": charts.regimes(run),
        "weights": charts.weights(run, portfolio),
        "turnover": charts.turnover(run, portfolio),
        "confidence": charts.confidence(run),
    }
    return environment.get_template("report.html").render(
        run=run,
        portfolio=portfolio,
        summary=summary,
        origin=origin,
        verdict=verdict(summary),
        version=__version__,
        differences=differences(summary, portfolio.policy.moments.periods_per_year),
        triggers=by_trigger(portfolio),
        bins=calibration(run, portfolio),
        invested=float(portfolio.held[summary.start + 1 :].sum(axis=1).mean()),
        fallbacks=fallbacks[-FALLBACKS:],
        others=len(fallbacks),
        explained_decisions=explained,
        charts={name: Markup(svg) for name, svg in pictures.items()},
    )


def explain(decision: Allocation, evidence: Evidence) -> dict[str, Any]:
    """What the page shows of one decision."""
    held = [w for w in decision.weights if w.target != 0.0 or w.current != 0.0 or w.trade != 0.0]
    return {
        "decision": decision,
        "sections": sections(decision, evidence),
        "trades": sorted(held, key=lambda w: (-w.target, w.asset)),
        "widest": max([max(abs(w.target), abs(w.current)) for w in held] + [1e-9]),
        "limits": shown_limits(decision.limits),
    }


def verdict(summary: Summary) -> str:
    """One sentence that says how it went, good or bad."""
    own, other = summary.allocator.metrics, summary.reference.metrics
    sharpe = _compare(own.sharpe, other.sharpe, 2, "a higher", "a lower", "the same")
    fall = _compare(own.max_drawdown, other.max_drawdown, 3, "a deeper", "a shallower", "the same")
    trading = _compare(own.turnover, other.turnover, 2, "more", "less", "as much")
    if summary.unreached:
        kept = f"{summary.unreached} of its {summary.decisions} decisions could not reach every limit at once"
    else:
        kept = f"all {summary.decisions} decisions kept every limit"
    beyond = "" if summary.worst_trade <= ROUNDING else ", and some traded beyond their turnover grant"
    return (
        f"Net of costs, {summary.allocator.name} earned {sharpe} Sharpe ratio ({own.sharpe:.2f} against "
        f"{other.sharpe:.2f}), {fall} worst drawdown ({own.max_drawdown:.1%} against "
        f"{other.max_drawdown:.1%}) and {trading} turnover ({own.turnover:.2f} against {other.turnover:.2f} "
        f"times NAV a year) than the best static portfolio, {summary.reference.name}; {kept}{beyond}."
    )


def differences(summary: Summary, year: float) -> list[tuple[str, Interval]]:
    """Sharpe ratio of the allocator minus each baseline's."""
    own = returns_of(summary.allocator.path.wealth) - summary.interest
    others = [(b.name, returns_of(b.path.wealth) - summary.interest) for b in summary.baselines]
    return [(name, sharpe_difference(own, other, year)) for name, other in others]


def by_trigger(portfolio: PortfolioRun) -> list[dict[str, Any]]:
    """Executable decisions by why they were taken."""
    executable = [d for d in portfolio.decisions if d.executable]
    rows = []
    for trigger in ("start", "schedule", "regime_switch", "drift", "control"):
        traded = np.array([d.turnover.traded for d in executable if d.trigger == trigger])
        if traded.size:
            granted = [d.turnover.granted for d in executable if d.trigger == trigger]
            rows.append(
                {
                    "name": trigger.replace("_", " "),
                    "decisions": traded.size,
                    "mean": float(traded.mean()),
                    "most": float(traded.max()),
                    "capped": int(np.count_nonzero(traded > np.array(granted) * (1.0 - 1e-6))),
                }
            )
    return rows


def shown_limits(limits: Any) -> list[Any]:
    """Binding limits by price, then the nearest others."""
    binding = sorted((x for x in limits if x.binding), key=lambda x: (-x.shadow_price, x.name))
    free = [x for x in limits if not x.binding]
    free.sort(key=lambda x: (abs(x.bound - x.value) / max(abs(x.bound), 1e-3), x.name))
    return binding + free[:NEAREST]


def percent(x: float, digits: int = 1) -> str:
    """A share as text, without a negative zero."""
    if not np.isfinite(x):
        return "–"
    text = f"{x * 100:.{digits}f}"
    return (text.removeprefix("-") if float(text) == 0.0 else text.replace("-", "−")) + "%"


def tiny(x: float) -> str:
    """A number near zero; plain 0 for zero."""
    return "0" if x == 0.0 else f"{x:.0e}".replace("e-0", "e-").replace("-", "−")


def _compare(a: float, b: float, digits: int, above: str, below: str, same: str) -> str:
    """A word for how two numbers compare as they are printed."""
    a, b = round(a, digits), round(b, digits)
    return above if a > b else below if a < b else same
