"""What a regime record says in a few tables: switches, events, decisions."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.table import Table

from stream_allocator.backtest.days import day
from stream_allocator.backtest.regime_pictures import TRIGGERS, Event
from stream_allocator.backtest.regime_record import RegimeRecord, Switch
from stream_allocator.backtest.text import bars_until, plain_table

__all__ = ["summarise_regimes", "tables"]


#: Bars after which one looks again what is held.
LATER = 21

#: Months of birth that are told of a switch.
MONTHS = 4

LEFT = ("date", "cause", "label", "event", "switch on")
SHARES: Mapping[str, str] = MappingProxyType(
    {
        "invested": "invested",
        "target": "target",
        "+21": "later",
        "traded": "traded",
        "granted": "granted",
    }
)


def summarise_regimes(record: RegimeRecord, events: Sequence[Event] = ()) -> dict[str, Any]:
    """What the tables say, JSON-able: shares of the NAV, dates, bars."""
    run = record.run
    times = run.times[record.first : record.stop]
    own, others = record.wealth(), record.market()
    share = run.portfolios[0].held[record.first : record.stop].sum(axis=1)
    lowest = int(np.argmin(others))
    return {
        "from": day(int(times[0])),
        "to": day(int(times[-1])),
        "bars": len(times),
        "horizon": run.portfolios[0].policy.regime.horizon,
        "switches": [_switch(record, number, s) for number, s in enumerate(record.switches, start=1)],
        "events": [_after(record, event) for event in events],
        "decisions": _decisions(record),
        "market": float(others[-1] - 1.0),
        "market_low": {"date": day(int(times[lowest])), "return": float(others[lowest] - 1.0)},
        "portfolio": float(own[-1] - 1.0),
        "portfolio_at_market_low": float(own[lowest] - 1.0),
        "invested": {
            "first": float(share[0]),
            "least": float(share.min()),
            "least_date": day(int(times[int(np.argmin(share))])),
            "at_market_low": float(share[lowest]),
            "last": float(share[-1]),
        },
    }


def _switch(record: RegimeRecord, number: int, switch: Switch) -> dict[str, Any]:
    times, held = record.run.times, record.run.portfolios[0].held
    decision = switch.decision
    later = min(switch.bar + LATER, len(times) - 1)
    known = switch.map_run_length < record.max_run  # a run at the limit began then or earlier
    return {
        "number": number,
        "date": day(switch.event_time),
        "cause": switch.cause,
        "before": switch.before,
        "after": switch.after,
        "probability": switch.probability,
        "map_run_length": switch.map_run_length,
        "began": day(int(times[max(0, switch.bar - switch.map_run_length + 1)])) if known else None,
        "births": births(record, switch.bar),
        "effective_sample_size": switch.effective_sample_size,
        "invested": switch.invested,
        "target": None if decision is None else 1.0 - decision.cash,
        "later": float(held[later].sum()),
        "traded": None if decision is None else decision.turnover.traded,
        "granted": None if decision is None else decision.turnover.granted,
    }


def births(record: RegimeRecord, bar: int) -> dict[str, float]:
    """Posterior probability of the month in which the present segment began, the most probable first.

    Months with less than 1% are left out. Segments of ``max_run`` bars and more count as ``before``.
    """
    p = record.probabilities[bar - record.first]
    by_month: dict[str, float] = {}
    for run in range(1, min(len(p), bar + 2)):
        first = day(int(record.run.times[bar - run + 1]))[:7]
        month = first if run < record.max_run else "before"
        by_month[month] = by_month.get(month, 0.0) + float(p[run])
    ranked = sorted(by_month.items(), key=lambda item: (-item[1], item[0]))
    return {month: chance for month, chance in ranked if chance >= 0.01}


def _after(record: RegimeRecord, event: Event) -> dict[str, Any]:
    """From the last close before an event on: how long until the engine said and did something."""
    run = record.run
    regime = run.portfolios[0].policy.regime
    bar = int(np.searchsorted(run.times, event.time))  # the first close that can know of it
    stop = record.stop
    above = np.flatnonzero(run.regimes.switch_probability[bar:stop] >= regime.threshold)
    switched = next((s.bar for s in record.switches if s.bar >= bar), None)
    before = max(bar - 1, 0)
    invested = run.portfolios[0].held.sum(axis=1)
    growth = record.market()
    meanwhile = None
    if switched is not None:
        at_first = growth[bar - 1 - record.first] if bar > record.first else 1.0
        meanwhile = float(growth[switched - record.first] / at_first - 1.0)
    return {
        "name": event.name,
        "date": day(event.time),
        "probability_above_threshold_after": int(above[0]) if len(above) else None,
        "switch_after": None if switched is None else switched - bar,
        "switch_date": None if switched is None else day(int(run.times[switched])),
        "market_until_switch": meanwhile,
        "invested_before": float(invested[before]),
        "invested_later": float(invested[min(bar + LATER, stop - 1)]),
    }


def _decisions(record: RegimeRecord) -> dict[str, dict[str, float]]:
    """Decisions in the range by what called for them."""
    made = record.decisions()
    found: dict[str, dict[str, float]] = {}
    for trigger in TRIGGERS:
        traded = [d.turnover.traded for d in made if d.trigger == trigger]
        if traded:
            found[trigger] = {"count": len(traded), "turnover": sum(traded)}
    return found


def tables(summary: dict[str, Any]) -> list[Table | str]:
    """The summary for a terminal."""
    switches = _table(
        f"Regime switches, {summary['from']} to {summary['to']}",
        ("#", "date", "cause", "label", "P(r≤k)", "run", "began", "n_eff", *SHARES),
    )
    for s in summary["switches"]:
        switches.add_row(
            str(s["number"]),
            s["date"],
            s["cause"],
            f"{s['before']} → {s['after']}",
            f"{s['probability']:.3f}",
            f"{'' if s['began'] else '≥'}{s['map_run_length']}",
            s["began"] or "–",
            f"{s['effective_sample_size']:.0f}",
            *(_percent(s[key]) for key in SHARES.values()),
        )
    switches.caption = (
        f"k = {summary['horizon']} bars; run: most probable run length, and its first day; n_eff: bars of "
        "evidence; invested: share of the NAV at the close, the decision's target, and 21 bars later"
    )
    parts: list[Table | str] = [switches]
    for s in summary["switches"]:
        months = ", ".join(f"{month} {chance:.0%}" for month, chance in [*s["births"].items()][:MONTHS])
        parts.append(f"{s['number']}: the segment began in {months}")
    if summary["events"]:
        events = _table(
            "After an event",
            ("event", "date", "bars to P", "to switch", "switch on", "market", "invested", "+21"),
        )
        for e in summary["events"]:
            events.add_row(
                e["name"],
                e["date"],
                bars_until(e["probability_above_threshold_after"]),
                bars_until(e["switch_after"]),
                e["switch_date"] or "–",
                "–" if e["market_until_switch"] is None else f"{e['market_until_switch']:+.1%}",
                _percent(e["invested_before"]),
                _percent(e["invested_later"]),
            )
        events.caption = (
            "bars from the day's close (0) until P(r≤k) is above the threshold, and until the next switch; "
            "market: the mean of the assets from the close before until that switch; invested: share of the "
            "NAV at that close, and 21 bars after the day"
        )
        parts.append(events)
    decided = ", ".join(
        f"{d['count']} by {trigger.replace('_', ' ')} ({_percent(d['turnover'])} turnover)"
        for trigger, d in summary["decisions"].items()
    )
    low, invested = summary["market_low"], summary["invested"]
    return [
        *parts,
        f"decisions: {decided or 'none'}",
        f"mean of the assets: {summary['market']:+.1%} over the range, lowest {low['return']:+.1%} on "
        f"{low['date']}; portfolio: {summary['portfolio']:+.1%}, "
        f"then {summary['portfolio_at_market_low']:+.1%}",
        f"invested: {_percent(invested['first'])} at first, {_percent(invested['at_market_low'])} at the "
        f"market's low, least {_percent(invested['least'])} on {invested['least_date']}, "
        f"{_percent(invested['last'])} at last",
    ]


def _table(title: str, columns: Sequence[str]) -> Table:
    result = plain_table(title)
    for name in columns:
        result.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    return result


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
