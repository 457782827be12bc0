"""Replays of the stress library through the one engine; each decision is verified on the way."""

from dataclasses import dataclass
from functools import cache

from stream_allocator.backtest.command import PORTFOLIO
from stream_allocator.backtest.run import Progress, Run
from stream_allocator.backtest.scenarios import Scenario, Tape
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.events import Allocation, Evidence
from stream_allocator.policy import Policy
from stream_allocator.shipped import shipped_topology
from stream_allocator.topology import Portfolio, Universe, check_policies, load_topology
from stream_allocator.verify import verify

__all__ = ["Replay", "replay", "stress_universe"]


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A scenario that went through the engine.

    Attributes
    ----------
    scenario : Scenario
    tape : Tape
    run : Run
    refuted : tuple of str
        Ids of decisions that their two records do not prove.
    """

    scenario: Scenario
    tape: Tape
    run: Run
    refuted: tuple[str, ...]


@cache
def stress_universe() -> Universe:
    """The shipped universe: assets and groups of the bundled history, with one portfolio."""
    shipped = load_topology(shipped_topology()).universes[0]
    book = Portfolio(name=PORTFOLIO, policy="given")
    return shipped.model_copy(update={"portfolios": (book,)})


def replay(
    scenario: Scenario,
    policy: Policy,
    *,
    seed: int = 0,
    universe: Universe | None = None,
    progress: Progress | None = None,
) -> Replay:
    """Drive the engine over a scenario's tape, and verify each decision from its two records on the way.

    Parameters
    ----------
    scenario : Scenario
    policy : Policy
    seed : int
    universe : Universe, optional
        With one portfolio; the shipped one when not given.
    progress : callable, optional

    Raises
    ------
    ConfigurationError
        When the policy does not fit the universe.
    """
    universe = universe or stress_universe()
    policies = {universe.portfolios[0].name: policy}
    check_policies(universe, policies, "stress")
    tape = scenario.build(seed, policy, universe.assets)
    refuted: list[str] = []

    def witness(allocation: Allocation, evidence: Evidence) -> None:
        if not verify(allocation, evidence).passed:
            refuted.append(allocation.decision_id)

    run = walk_forward(tape.prices, universe, policies, progress=progress, witness=witness)
    return Replay(scenario, tape, run, tuple(refuted))
