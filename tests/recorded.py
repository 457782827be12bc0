"""A recorded run without a broker: what the topics would hold after a worker went through some events."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import worlds
import yaml

from stream_allocator.codec import Codec
from stream_allocator.events import Input, Snapshot
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import Topology, load_topology

ROLES = {cls: role for role, cls in INPUTS.items()}


def write_topology(folder: Path, **policy: Any) -> Path:
    """A topology file of universe ``u`` with its policy beside it."""
    (folder / "policy.yaml").write_text(yaml.safe_dump(worlds.policy(**policy).model_dump(mode="json")))
    universe = {
        "name": "u",
        "assets": list(worlds.ASSETS),
        "groups": {"first": list(worlds.ASSETS[:2])},
        "portfolios": [{"name": "core", "policy": "policy.yaml"}],
    }
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump({"name": "test", "universes": [universe]}))
    return path


def run(
    topology: Topology, events: Iterable[Input], shard: Shard | None = None
) -> dict[tuple[str, int], list[Record]]:
    """Inputs and outputs of one partition, offsets counted from 0 on each topic, by a new or this shard."""
    shard, codec = shard or Shard(topology, 0), Codec()
    log: dict[tuple[str, int], list[Record]] = {}
    for event in events:
        value, headers = codec.frame(event)
        inputs = log.setdefault((ROLES[type(event)], 0), [])
        record = Record(ROLES[type(event)], 0, len(inputs), event.universe.encode(), value, tuple(headers))
        inputs.append(record)
        for out in shard.apply(record):
            place = log.setdefault((out.role, 0), [])
            place.append(Record(out.role, 0, len(place), out.key, out.value, out.headers))
    return log


def saved(shard: Shard, returns_end: int = 0) -> list[Snapshot]:
    """The snapshots of all engines of a shard."""
    return [out.event for out in shard.snapshots(returns_end) if isinstance(out.event, Snapshot)]


def default_run(folder: Path) -> tuple[Path, Topology, dict[tuple[str, int], list[Record]]]:
    """A topology and a run of 60 bars with one position snapshot and one change of mode."""
    path = write_topology(folder)
    topology = load_topology(path)
    events: list[Input] = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(60))]
    events.insert(40, worlds.position(39, 0, [300, 300, 200, 100], cash=100))
    events.insert(52, worlds.control(50, 0, "baseline"))
    return path, topology, run(topology, events)
