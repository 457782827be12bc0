"""What the soak runs on: universes of 50 assets in four partitions, and the shared clock of what was fed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import workload
from stream_allocator.codec import Codec
from stream_allocator.packed import pack
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import Topology

__all__ = [
    "ASSETS",
    "BAR",
    "PARTITIONS",
    "UNIVERSES",
    "compile_all",
    "fed_times",
    "make_times",
    "make_topology",
]

ASSETS, PARTITIONS = 50, 4
#: Two a partition: dealt out, for the hash of so few keys would not spread them.
UNIVERSES = 8
#: A quarter of an hour of event time: half an hour of soak is hundreds of thousands of bars, from the year
#: 2000 on, and none may lie ahead of the clock.
BAR = 900_000_000
#: Turnover comes back by event time; so many times faster, decisions stay as they are in daily bars.
BARS_A_DAY = 96


def make_topology(folder: Path, bootstrap_servers: str, snapshot_bars: int) -> tuple[Path, Topology]:
    """The workload's topology, written for workers of their own."""
    plan = workload.policy(
        turnover={"refill_per_year": 1.5 * BARS_A_DAY},
        # the feeder's broker holds equal weights whatever is decided: drift would call in vain each few bars
        schedule={"drift_band": 2.0},
    )
    made = workload.topology(
        ASSETS,
        UNIVERSES,
        PARTITIONS,
        bootstrap_servers,
        tag="soak",
        plan=plan,
        snapshot_bars=snapshot_bars,
        session_timeout_seconds=10.0,
        transaction_timeout_seconds=10.0,
    )
    return workload.save(made, folder), made


def compile_all(topology: Topology) -> None:
    """Step one engine past its first decision, so that the workers find everything compiled."""
    shard, codec, universe = Shard(topology, 0), Codec(topology.wire.schema_ids), topology.universes[0]
    for bar, event in enumerate(workload.cross_sections(universe, 90, 0)):
        value, headers = codec.frame(pack(event, universe.assets))
        shard.apply(Record("returns", 0, bar, universe.name.encode(), value, tuple(headers)))


def make_times(path: Path, bars: int) -> None:
    """The file of :func:`fed_times`, room for so many bars of each universe; it takes no room until used."""
    with path.open("wb") as file:
        file.truncate(8 * UNIVERSES * bars)


def fed_times(path: Path, *, write: bool = False) -> np.ndarray:
    """When each cross-section was handed to the feeder's producer, seconds since 1970.

    Shape (universes, bars); 0 where it was not yet. Feeder and observer share it as memory.
    """
    return np.memmap(path, np.float64, "r+" if write else "r").reshape(UNIVERSES, -1)
