"""What a campaign runs on: universes, policies and topics, and a feeder of returns, positions and control.

All that is fed is a function of the seed, the universe and the bar. So a feeder that starts again sends the
same records, as a source that retries would.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from confluent_kafka import KafkaException, Producer

from benchmarks.chaos.child import Child
from stream_allocator.codec import Codec
from stream_allocator.events import ControlEvent, Input, Mode, PositionEvent, ReturnEvent
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.record import INPUTS
from stream_allocator.topology import Topology, load_topology

__all__ = ["Chances", "Feed", "Feeder", "World", "make_world"]

MINUTE = 60_000_000
ROLES = {cls: role for role, cls in INPUTS.items()}
#: Their sum is the number of asset-ticks a bar.
WIDTHS = (20, 30, 40, 50, 50, 60, 70, 80)
BLOCK = 256
REPEATED = 5
"""Bars that a feeder sends again when it starts again: it does not know which of them arrived."""
FLUSH_SECONDS = 60.0


@dataclass(frozen=True)
class World:
    """A campaign's topology and the file that it is in.

    Attributes
    ----------
    path : path
    topology : Topology
    seed : int
    """

    path: Path
    topology: Topology
    seed: int

    @property
    def ticks_a_bar(self) -> int:
        """Asset-ticks of one bar of every universe."""
        return sum(len(u.assets) for u in self.topology.universes)

    def under(self, protocol: str) -> Topology:
        """The topology with workers that speak this group protocol."""
        worker = self.topology.worker.model_copy(update={"group_protocol": protocol})
        return self.topology.model_copy(update={"worker": worker})

    def partition(self, universe: int) -> int:
        """Where a universe lives: spread evenly, which the hash of so few keys would not."""
        return universe % self.topology.topics.partitions


def make_world(
    folder: Path,
    bootstrap_servers: str,
    *,
    seed: int,
    widths: Sequence[int] = WIDTHS,
    partitions: int = 4,
    replication: int = 1,
    min_insync: int = 1,
    worker: Mapping[str, Any] | None = None,
) -> World:
    """Write a topology and its policies into a folder, and load them.

    Parameters
    ----------
    folder : path
    bootstrap_servers : str
    seed : int
    widths : sequence of int
        Assets of each universe.
    partitions, replication, min_insync : int
        Of every topic.
    worker : mapping, optional
        Over the settings of the topology's ``worker`` section.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for allocator in ("robust", "growth"):
        (folder / f"{allocator}.yaml").write_text(yaml.safe_dump(_policy(allocator)))
    universes = []
    for i, width in enumerate(widths):
        assets = [f"A{k:03d}" for k in range(width)]
        books = [{"name": "core", "policy": "robust.yaml"}]
        if i == 0:  # a second book, and the other allocator, whose warm basis must not matter
            books.append({"name": "growth", "policy": "growth.yaml"})
        universes.append(
            {
                "name": f"u{i}",
                "assets": assets,
                "groups": {"first": assets[: width // 2]},
                "portfolios": books,
            }
        )
    roles = ("returns", "positions", "control", "allocations", "evidence", "regimes", "audit")
    topology = {
        "name": "chaos",
        "bootstrap_servers": bootstrap_servers,
        "topics": {
            **{role: f"chaos-{role}" for role in (*roles, "dead_letters", "snapshots")},
            "partitions": partitions,
            "replication_factor": replication,
            "min_insync_replicas": min_insync,
        },
        "worker": {
            "group": "chaos",
            "snapshot_bars": 200,
            "chunk_bytes": 100_000,
            "session_timeout_seconds": 1.5,
            "transaction_timeout_seconds": 2,
            **(worker or {}),
        },
        "universes": universes,
    }
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(topology))
    return World(path, load_topology(path), seed)


def _policy(allocator: str) -> dict[str, Any]:
    budget = {"volatility": 0.2, "turnover": 0.4}
    return {
        "name": allocator,
        "allocator": allocator,
        "regime": {
            "warmup": 20,
            "horizon": 10,
            "mean_run": 100,
            "max_run": 64,
            "evidence": 10,
            "cooldown": 10,
        },
        "moments": {"factors": 4},
        "schedule": {"every": 10 if allocator == "robust" else 50},
        "limits": {"upper": 0.2},
        "turnover": {"refill_per_year": 6.0},
        "growth": {"window": 64, "minimum_bars": 40},
        "budgets": dict.fromkeys(("calm", "normal", "stressed", "transition"), budget),
    }


# -- what is fed -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chances:
    """How often a universe gets something beside its bar's returns, a bar.

    Attributes
    ----------
    position, mode : float
        A position snapshot, or a change of mode, of one of its portfolios.
    again : float
        The same return record once more.
    late : float
        Returns for a bar that has closed.
    noise : float
        Bytes that are no event, on any input topic.
    """

    position: float = 1 / 15
    mode: float = 1 / 250
    again: float = 1 / 50
    late: float = 1 / 300
    noise: float = 1 / 400


class Feed:
    """The records of every bar.

    Parameters
    ----------
    world : World
    chances : Chances
    """

    def __init__(self, world: World, chances: Chances = Chances()) -> None:
        self._world, self._chances = world, chances
        self._blocks: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}

    def bar(self, universe: int, bar: int) -> Iterator[tuple[str, Input | bytes]]:
        """Role and event (or bytes that are none) of what a universe gets at one bar, in order."""
        u, (returns, dice) = self._world.topology.universes[universe], self._block(universe, bar)
        when = (bar + 1) * MINUTE
        tick = ReturnEvent(u.name, "feed", bar, when, u.assets, tuple(returns.tolist()))
        yield "returns", tick
        if dice[0] < self._chances.again:
            yield "returns", tick
        if dice[1] < self._chances.late and bar > 2:
            yield (
                "returns",
                ReturnEvent(u.name, "slow", bar, when - 2 * MINUTE, u.assets[:2], (0.0, 0.0)),
            )
        if dice[2] < self._chances.noise:
            yield ("returns", "positions", "control")[bar % 3], f"noise {universe} {bar}".encode()
        book = u.portfolios[int(dice[3] * len(u.portfolios))].name
        if dice[4] < self._chances.position:
            held = dice[8:] ** 2
            held *= 0.9 / held.sum()
            values = tuple(np.round(1e6 * held, 2).tolist())
            values += (0.0,) * (len(u.assets) - len(values))
            yield (
                "positions",
                PositionEvent(u.name, book, "broker", bar, when, 1e6, 1e6 - sum(values), u.assets, values),
            )
        if dice[5] < self._chances.mode:
            modes = get_args(Mode)
            mode = modes[int(dice[6] * len(modes))] if dice[7] < 0.5 else "active"
            yield "control", ControlEvent(u.name, book, "drill", bar, when, mode, "campaign", "drill")

    def _block(self, universe: int, bar: int) -> tuple[np.ndarray, np.ndarray]:
        block, row = divmod(bar, BLOCK)
        if universe not in self._blocks or self._blocks[universe][0] != block:
            n = len(self._world.topology.universes[universe].assets)
            rng = np.random.default_rng([self._world.seed, universe, block])
            common, own = rng.standard_normal((BLOCK, 1)), rng.standard_normal((BLOCK, n))
            scale = rng.choice([0.5, 1.0, 1.0, 2.5])  # of the block: so the regime switches
            returns = np.maximum(scale * (0.006 * common + 0.006 * own) + 4e-4, -0.9)
            self._blocks[universe] = (block, returns, rng.random((BLOCK, 8 + min(n, 12))))
        _, returns, dice = self._blocks[universe]
        return returns[row], dice[row]


class Feeder:
    """A process that feeds every universe up to the bar that it is told.

    It tells what is confirmed in a file, from which one that starts again goes on, some bars sooner.

    Parameters
    ----------
    world : World
    folder : path
        For that file and for its log.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._progress, self._log = world, folder / "fed.json", folder / "feeder.log"
        self._goal = multiprocessing.get_context("fork").Value("q", 0)
        self._fed = multiprocessing.get_context("fork").Value("q", confirmed(self._progress))
        self._child: Child | None = None

    @property
    def fed(self) -> int:
        """Bars of every universe that the broker has confirmed."""
        return int(self._fed.value)

    def feed(self, bars: int) -> None:
        """Let it feed up to so many bars of every universe."""
        self._goal.value = max(bars, self._goal.value)

    def start(self) -> None:
        """Start it, the first time or after it has ended."""
        self._child = Child(partial(_feed, self._world, self._progress, self._goal, self._fed), self._log)

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()

    def check(self) -> None:
        """Raise `RuntimeError` when it has ended by itself."""
        if self._child is not None and self._child.poll() not in (None, -signal.SIGKILL):
            raise RuntimeError(f"the feeder ended with status {self._child.poll()}; see {self._log}")


def confirmed(progress: Path) -> int:
    """Bars that a feeder has noted as confirmed; 0 where there is no note."""
    try:
        return int(json.loads(progress.read_text())["bars"])
    except FileNotFoundError:
        return 0


def _feed(world: World, progress: Path, goal: Any, fed: Any) -> int:
    topology, feed, codec = world.topology, Feed(world), Codec()
    failures: list[str] = []
    producer = Producer(producer_settings(topology))

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            failures.append(str(error))

    def send(role: str, event: Input | bytes, universe: int) -> None:
        if isinstance(event, bytes):
            value, headers = event, []
        else:
            value, headers = codec.frame(event)
        produce: Callable[[], None] = partial(
            producer.produce,
            topology.topics.names[role],
            value,
            key=topology.universes[universe].name.encode(),
            headers=headers,
            partition=world.partition(universe),
            on_delivery=delivered,
        )
        while True:
            try:
                produce()
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)

    bar = max(0, confirmed(progress) - REPEATED)
    while True:
        end = min(bar + 16, goal.value)
        if bar >= end:
            time.sleep(0.005)
            continue
        for b in range(bar, end):
            for universe in range(len(topology.universes)):
                for role, event in feed.bar(universe, b):
                    send(role, event, universe)
        left = producer.flush(FLUSH_SECONDS)
        if failures or left:  # an idempotent producer gives up as a whole: a new one sends these bars again
            print(f"bars {bar} to {end}: {failures[:1]} {left} left; again", flush=True)
            failures.clear()
            try:
                producer.purge()
            except KafkaException as error:
                print(error, flush=True)
            producer = Producer(producer_settings(topology))
            bar = max(0, bar - REPEATED)
            continue
        bar = end
        draft = progress.with_suffix(".draft")
        draft.write_text(json.dumps({"bars": bar}))
        os.replace(draft, progress)
        fed.value = bar
