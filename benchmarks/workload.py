"""What engine and bus are measured on: assets in sectors, one portfolio, heavy-tailed returns of factors.

Settings are those of the shipped default policy; what a function names is what a measurement may vary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from stream_allocator.events import ReturnEvent
from stream_allocator.policy import Policy
from stream_allocator.topology import Portfolio, Topology, Universe, check_policies

__all__ = ["DAY", "cross_sections", "policy", "returns", "save", "topology", "universe"]

Array = NDArray[np.float64]

#: A bar, microseconds of event time.
DAY = 86_400_000_000
#: The first bar ends here: 2 January 2000.
START = 946_771_200_000_000
SECTORS = 5
#: Bars that are drawn at once; a prefix of a longer series is the shorter one.
BLOCK = 512
# Degrees of freedom of all returns, and volatilities of a day: market, sector, own.
TAIL = 5.0
MARKET, SECTOR, OWN = 0.009, 0.006, 0.014
#: A year's drift of every asset.
DRIFT = 0.08


def policy(*, max_run: int = 256, every: int = 21, **sections: Any) -> Policy:
    """The shipped default with limits on sectors, and a decision every so many bars.

    Parameters
    ----------
    max_run : int
        Longest run length of the detectors, bars.
    every : int
        Bars between scheduled decisions.
    **sections
        Of the policy, merged over these: ``solver={"cross_check": False}``.
    """
    budget = {"volatility": 0.12, "turnover": 0.3, "risk_aversion": 5.0}
    groups = {f"sector-{k}": {"upper": 0.35} for k in range(SECTORS)}
    plan: dict[str, Any] = {
        "name": "workload",
        "regime": {"max_run": max_run},
        "schedule": {"every": every},
        "moments": {"premium": 0.12},
        "budgets": dict.fromkeys(("calm", "normal", "stressed", "transition"), budget),
        "limits": {"lower": 0.0, "upper": 0.15, "groups": groups},
    }
    for name, section in sections.items():
        plan[name] = {**plan.get(name, {}), **section} if isinstance(section, dict) else section
    return Policy.model_validate(plan)


def universe(assets: int = 50, name: str = "u0") -> Universe:
    """So many assets, dealt out to five sectors, and one portfolio, ``core``."""
    names = tuple(f"A{i:04d}" for i in range(assets))
    return Universe(
        name=name,
        assets=names,
        groups={f"sector-{k}": names[k::SECTORS] for k in range(SECTORS)},
        portfolios=(Portfolio(name="core", policy="policy.yaml"),),
    )


def topology(
    assets: int = 50,
    universes: int = 1,
    partitions: int = 1,
    bootstrap: str = "localhost:9092",
    *,
    tag: str = "",
    plan: Policy | None = None,
    **worker: Any,
) -> Topology:
    """Universes ``u0``, ``u1``, ... of so many assets each, on a broker without replication.

    Parameters
    ----------
    assets, universes, partitions : int
    bootstrap : str
    tag : str
        Ends the names of topics and group, so that several measurements share a broker.
    plan : Policy, optional
        Of every portfolio; default :func:`policy`.
    **worker
        Keys of the topology's worker section.
    """
    shared = policy() if plan is None else plan
    end = f"-{tag}" if tag else ""
    roles = (
        *("returns", "positions", "control", "allocations", "evidence", "regimes", "audit"),
        *("dead_letters", "snapshots"),
    )
    topics: dict[str, Any] = {role: f"{role.replace('_', '-')}{end}" for role in roles}
    topics |= {"partitions": partitions, "replication_factor": 1, "min_insync_replicas": 1}
    made = Topology.model_validate(
        {
            "name": "workload",
            "bootstrap_servers": bootstrap,
            "topics": topics,
            "worker": {"group": f"workload{end}", **worker},
            "universes": [universe(assets, f"u{i}").model_dump() for i in range(universes)],
        }
    )
    for each in made.universes:
        for portfolio in each.portfolios:
            made._policies[each.name, portfolio.name] = shared
        check_policies(each, made.policies(each.name), "workload")
    return made


def save(made: Topology, folder: Path) -> Path:
    """Write a topology and its policy for a worker of its own; the topology's file is returned."""
    shared = next(iter(made.policies(made.universes[0].name).values()))
    (folder / "policy.yaml").write_text(yaml.safe_dump(shared.model_dump(mode="json")))
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(made.model_dump(mode="json")))
    return path


def returns(assets: int, bars: int, seed: int) -> Iterator[Array]:
    """Simple returns, bar by bar, of shape (assets,): market, five sectors and each asset's own, all t(5).

    The market is common to all, with betas between .6 and 1.4.
    """
    rng = np.random.default_rng(seed)
    beta = rng.uniform(0.6, 1.4, assets)
    own = OWN * rng.uniform(0.7, 1.6, assets)
    sector = np.arange(assets) % SECTORS
    unit = np.sqrt((TAIL - 2.0) / TAIL)  # the variance of a t is df / (df - 2)
    for start in range(0, bars, BLOCK):
        market = MARKET * unit * rng.standard_t(TAIL, (BLOCK, 1))
        sectors = SECTOR * unit * rng.standard_t(TAIL, (BLOCK, SECTORS))
        rest = own * unit * rng.standard_t(TAIL, (BLOCK, assets))
        x = DRIFT / 252.0 + market * beta + sectors[:, sector] + rest
        yield from np.maximum(x, -0.9)[: bars - start]


def cross_sections(universe: Universe, bars: int, seed: int) -> Iterator[ReturnEvent]:
    """The daily cross-sections of a universe, from one source, in order."""
    for bar, x in enumerate(returns(len(universe.assets), bars, seed)):
        yield ReturnEvent(
            universe=universe.name,
            source="feed",
            sequence=bar,
            event_time=START + bar * DAY,
            assets=universe.assets,
            returns=tuple(x.tolist()),
        )
