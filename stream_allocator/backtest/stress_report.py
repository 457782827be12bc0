"""``stream-allocator stress``: the stress library through a policy, as a table and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stream_allocator.backtest.bounds import Bound, judge
from stream_allocator.backtest.metrics import drawdown
from stream_allocator.backtest.scenarios import SCENARIOS
from stream_allocator.backtest.stress import Replay, replay
from stream_allocator.backtest.summary import counted
from stream_allocator.backtest.text import transition_table, widen
from stream_allocator.backtest.transitions import (
    finite_fields,
    summarise_transitions,
    transition_rows,
    transitions,
)
from stream_allocator.errors import ConfigurationError
from stream_allocator.policy import Policy, load_policy
from stream_allocator.shipped import shipped_policy

__all__ = ["run_stress", "stress_tables", "structured"]


def run_stress(
    policy_file: Path | None,
    names: Sequence[str] = (),
    seed: int = 0,
    out: Path | None = None,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Replay scenarios, judge them, and write what came out.

    Parameters
    ----------
    policy_file : Path, optional
        The shipped default when not given.
    names : sequence of str
        Of scenarios; all of them when empty.
    seed : int
    out : Path, optional
        For the JSON; folders above it are made.
    quiet : bool
        Nothing on the terminal.

    Returns
    -------
    dict
        JSON-able; ``passed`` says whether every bound was kept.

    Raises
    ------
    ConfigurationError
        For an unknown scenario, or a policy that does not fit the shipped universe.
    """
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        raise ConfigurationError(
            f"--scenario {unknown[0]}: there is none; choose among {', '.join(SCENARIOS)}"
        )
    policy = load_policy(policy_file or shipped_policy())
    chosen = [SCENARIOS[name] for name in names] or list(SCENARIOS.values())
    console = Console(quiet=quiet)
    widen(console)
    replays = []
    with Progress(console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("scenarios", total=len(chosen))
        for scenario in chosen:
            progress.update(task, description=scenario.name)
            replays.append(replay(scenario, policy, seed=seed))
            progress.advance(task)
    judged = [structured(replayed, judge(replayed)) for replayed in replays]
    report = _report(policy, policy_file, names, seed, judged)
    for part in stress_tables(report, full=bool(names)):
        console.print(part)
    for replayed in replays if names else ():
        console.print(transition_table(transitions(replayed.run, replayed.run.portfolios[0])))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1, sort_keys=True, allow_nan=False) + "\n", "utf-8")
        console.print(f"report: {out}", highlight=False, soft_wrap=True)
    return report


def _report(
    policy: Policy, file: Path | None, names: Sequence[str], seed: int, judged: list[dict[str, Any]]
) -> dict[str, Any]:
    command = "stream-allocator stress" + (f" --policy {file}" if file else "")
    command += "".join(f" --scenario {name}" for name in names) + f" --seed {seed}"
    shares = [s["transitions"]["worst_transition_share_of_budget"] for s in judged]
    return {
        "policy": policy.name,
        "policy_digest": policy.digest,
        "seed": seed,
        "command": command,
        "passed": all(s["passed"] for s in judged),
        "scenarios": judged,
        "worst_transition_share_of_budget": None if None in shares else max(shares),
    }


def structured(replayed: Replay, bounds: Sequence[Bound]) -> dict[str, Any]:
    """One replay and its bounds, JSON-able; numbers that are not finite are None."""
    run, book = replayed.run, replayed.run.portfolios[0]
    found = transitions(run, book)
    return {
        "name": replayed.scenario.name,
        "story": replayed.scenario.story,
        "bars": len(run.times),
        "data_digest": replayed.tape.prices.digest,
        "audit_chain": run.chain,
        "decisions": len(book.decisions),
        "triggers": counted([d.trigger for d in book.decisions]),
        "rungs": counted([d.rung for d in book.decisions]),
        "return": float(book.nav[-1] / book.nav[0] - 1.0),
        "max_drawdown": float(drawdown(book.nav).max()),
        "transitions": summarise_transitions(found),
        "switches": transition_rows(found),
        "bounds": [finite_fields(b) | {"holds": b.holds} for b in bounds],
        "passed": all(b.holds for b in bounds),
    }


def stress_tables(report: dict[str, Any], *, full: bool = False) -> list[Table | str]:
    """The report for a terminal: a line a scenario, then the bounds that broke, or all of them."""
    title = f"Stress library, policy {report['policy']}, seed {report['seed']}"
    result = Table(title=title, title_style="bold")
    result.add_column("scenario", no_wrap=True)
    columns = ("bars", "switches", "decisions", "not robust", "turnover", "switch", "loss", "of", "drawdown")
    for name in (*columns, "kept"):
        result.add_column(name, justify="right", no_wrap=True)
    for s in report["scenarios"]:
        bounds = {b["name"]: b for b in s["bounds"]}
        shock = next((b for b in s["bounds"] if b["name"].startswith("loss by the")), None)
        kept = sum(b["holds"] for b in s["bounds"])
        result.add_row(
            s["name"],
            str(s["bars"]),
            str(s["transitions"]["switches"]),
            str(s["decisions"]),
            ", ".join(f"{count} {rung}" for rung, count in s["rungs"].items() if rung != "robust") or "–",
            _percent(bounds["turnover of any stretch"]["value"], 0),
            _percent(s["transitions"]["worst_transition_share_of_budget"], 0),
            "–" if shock is None else _percent(shock["value"]),
            "–" if shock is None else _percent(shock["limit"]),
            f"{s['max_drawdown']:.1%}",
            f"{kept} of {len(s['bounds'])}",
            style=None if s["passed"] else "bold red",
        )
    result.caption = (
        "turnover: largest share of capacity and refill that any stretch used; switch: the same of a regime "
        "switch and its budget; loss: by the shock, of what exposure and costs allow; kept: bounds"
    )
    result.caption_justify = "left"
    parts: list[Table | str] = [result]
    for s in report["scenarios"]:
        shown = [b for b in s["bounds"] if full or not b["holds"]]
        parts += [f"{s['name']}: {_line(b)}" for b in shown]
    broken = sum(not s["passed"] for s in report["scenarios"])
    many = f"{len(report['scenarios'])} scenarios"
    parts.append(f"{broken} of {many} broke a bound" if broken else f"{many}, every bound kept")
    return parts


def _percent(share: float | None, digits: int = 1) -> str:
    """None is what JSON has for a number that is not finite."""
    return "∞" if share is None else f"{share:.{digits}%}"


def _line(bound: dict[str, Any]) -> str:
    sense = ">=" if bound["least"] else "<="
    value, limit = ("none" if x is None else f"{x:.6g}" for x in (bound["value"], bound["limit"]))
    return f"{'✓' if bound['holds'] else '✗'} {bound['name']} {value} {sense} {limit} ({bound['why']})"
