"""``stream-allocator backtest``: a price file, a policy, a report."""

import hashlib
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from stream_allocator.backtest.account import COST_BPS, DELISTING, Delisting
from stream_allocator.backtest.cash import read_interest
from stream_allocator.backtest.prices import Prices, load_prices
from stream_allocator.backtest.report import Origin, verdict, write_report
from stream_allocator.backtest.summary import Summary, summarise
from stream_allocator.backtest.text import table, transition_table, widen
from stream_allocator.backtest.transitions import Transition, summarise_transitions, transitions
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.errors import ConfigurationError
from stream_allocator.events import Allocation, RegimeUpdate
from stream_allocator.policy import Policy, load_policy
from stream_allocator.topology import Portfolio, Universe, check_policies, load_topology

__all__ = ["Backtest", "Outcome", "Terms", "run_backtest", "universe_for"]

PORTFOLIO = "core"
#: Regime switches that the terminal shows.
SWITCHES = 10


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms the paper account and the static portfolios trade.

    Attributes
    ----------
    nav : float
        Opening NAV, in the currency of traded values; matters to liquidity limits alone.
    cost_bps : float
        Of the traded value.
    cash_yield : str
        A year's, or a file of them, as :func:`stream_allocator.backtest.cash.read_interest` takes it.
    delisting : Delisting
    """

    nav: float = 1e6
    cost_bps: float = COST_BPS
    cash_yield: str = "0"
    delisting: Delisting = DELISTING

    def options(self) -> list[str]:
        """What says the same on the command line; nothing for what is the default."""
        usual = Terms()
        pairs = (
            ("--nav", self.nav, usual.nav),
            ("--cost-bps", self.cost_bps, usual.cost_bps),
            ("--cash-yield", self.cash_yield, usual.cash_yield),
            ("--delisted-after", self.delisting.after, usual.delisting.after),
            ("--delisting-return", self.delisting.final_return, usual.delisting.final_return),
        )
        return [word for name, value, default in pairs if value != default for word in (name, str(value))]


USUAL = Terms()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a backtest came to.

    Attributes
    ----------
    policy : Policy
    summary : Summary
    told : dict
        The summary, JSON-able.
    report : Path
    switches : tuple of Transition
    """

    policy: Policy
    summary: Summary
    told: dict[str, Any]
    report: Path
    switches: tuple[Transition, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """Everything that one backtest depends on; another process can run it.

    Attributes
    ----------
    prices : Prices
    universe : Universe
    policy : Policy
    report : Path
    terms : Terms
    interest : ndarray, shape (T,), or None
        Return of cash over each bar, as the terms say; None where it earns nothing.
    origin : Origin
    """

    prices: Prices
    universe: Universe
    policy: Policy
    report: Path
    terms: Terms
    interest: NDArray[np.float64] | None
    origin: Origin

    @classmethod
    def of(
        cls,
        prices: Prices,
        prices_file: Path,
        policy_file: Path,
        topology_file: Path | None,
        report: Path,
        terms: Terms = USUAL,
    ) -> "Backtest":
        """The backtest of a policy file over prices that were read from a file.

        Raises
        ------
        ConfigurationError, DataError
        """
        policy = load_policy(policy_file)
        interest = read_interest(terms.cash_yield, prices.times, policy.moments.periods_per_year)
        universe = universe_for(prices, topology_file)
        check_policies(universe, {PORTFOLIO: policy}, str(policy_file))
        command = ["stream-allocator", "backtest", str(prices_file), "--policy", str(policy_file)]
        command += [] if topology_file is None else ["--topology", str(topology_file)]
        command += terms.options()
        origin = Origin(
            title=f"Backtest: policy {policy.name} on {prices_file.name}",
            data=prices_file.name,
            data_digest=prices.digest,
            way="Every bar went through the engine that the worker runs, with a paper execution in the loop.",
            command=shlex.join(command),
        )
        return cls(prices, universe, policy, report, terms, interest, origin)

    def run(self, tick: Callable[[], None]) -> Outcome:
        """Walk forward and write the report.

        Parameters
        ----------
        tick : callable
            Called after each bar.

        Raises
        ------
        DataError
        """

        def heard(_update: RegimeUpdate, _decided: list[Allocation]) -> None:
            tick()

        run = walk_forward(
            self.prices,
            self.universe,
            {PORTFOLIO: self.policy},
            nav=self.terms.nav,
            cost_bps=self.terms.cost_bps,
            interest=self.interest,
            delisting=self.terms.delisting,
            progress=heard,
        )
        portfolio = run.portfolios[0]
        summary = summarise(run, portfolio)
        write_report(self.report, run, portfolio, summary, self.origin)
        switches = transitions(run, portfolio)
        told = summary.as_json() | {
            "bars": len(run.times),
            "transitions": summarise_transitions(switches),
            "terms": asdict(self.terms),
            "audit_chain": run.chain,
            "data_digest": self.origin.data_digest,
            "interest_digest": None
            if self.interest is None
            else hashlib.sha256(self.interest.astype("<f8").tobytes()).hexdigest(),
            "policy_digest": self.policy.digest,
            "report": str(self.report),
        }
        return Outcome(self.policy, summary, told, self.report, switches)


def run_backtest(
    prices_file: Path,
    policy_file: Path,
    topology_file: Path | None,
    report: Path,
    terms: Terms = USUAL,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Drive the engine over a price file and write the report.

    Parameters
    ----------
    prices_file, policy_file : Path
    topology_file : Path, optional
        Its universe of these assets gives name and groups; without it, one universe of every column
        and no groups.
    report : Path
    terms : Terms
    quiet : bool
        Nothing on the terminal.

    Returns
    -------
    dict
        The summary, JSON-able.

    Raises
    ------
    DataError, ConfigurationError
    """
    console = Console(quiet=quiet)
    widen(console)
    prices = load_prices(prices_file)
    backtest = Backtest.of(prices, prices_file, policy_file, topology_file, report, terms)
    begun = time.monotonic()
    with Progress(console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("bars", total=prices.bars)
        outcome = backtest.run(lambda: progress.advance(task))
    seconds = time.monotonic() - begun
    console.print(table(outcome.summary))
    console.print(transition_table(outcome.switches, SWITCHES))
    console.print(verdict(outcome.summary), highlight=False)
    console.print(f"{prices.bars:,} bars in {seconds:.1f} s", style="dim", highlight=False)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    return outcome.told


def universe_for(prices: Prices, topology_file: Path | None) -> Universe:
    """The universe to run: the topology's first whose assets the prices have, or all columns.

    Raises
    ------
    ConfigurationError
        When the topology has none.
    """
    book = (Portfolio(name=PORTFOLIO, policy="given"),)
    if topology_file is None:
        return Universe(name="backtest", assets=prices.assets, groups={}, portfolios=book)
    for universe in load_topology(topology_file).universes:
        if set(universe.assets) <= set(prices.assets):
            return universe.model_copy(update={"portfolios": book})
    raise ConfigurationError(
        f"{topology_file}: no universe whose assets are all among {', '.join(prices.assets)}"
    )
