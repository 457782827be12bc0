"""A recorded run without a broker: what the topics would hold after a worker went through some events."""

from collections.abc import Iterable, Iterator, Mapping
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


def of_universes(topology: Topology, *names: str) -> Topology:
    """The topology with several universes in place of its first, each like that one."""
    first = topology.universes[0]
    universes = tuple(first.model_copy(update={"name": name}) for name in names)
    several = topology.model_copy(update={"universes": universes})
    policies = topology.policies(first.name)
    several._policies = {(name, book): policy for name in names for book, policy in policies.items()}
    return several


def run(
    topology: Topology, events: Iterable[Input | bytes], shard: Shard | None = None
) -> dict[tuple[str, int], list[Record]]:
    """Inputs and outputs of one partition, offsets counted from 0 on each topic, by a new or this shard.

    Bytes are a record of the returns topic that holds no event.
    """
    shard, codec = shard or Shard(topology, 0), Codec()
    log: dict[tuple[str, int], list[Record]] = {}
    for event in events:
        if isinstance(event, bytes):
            role, key, value, headers = "returns", b"", event, []
        else:
            role, key, (value, headers) = ROLES[type(event)], event.universe.encode(), codec.frame(event)
        inputs = log.setdefault((role, 0), [])
        record = Record(role, 0, len(inputs), key, value, tuple(headers))
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


class Topics:
    """A recorded run, read as a ``TopicReader`` reads topics."""

    def __init__(self, topology: Topology, log: dict[tuple[str, int], list[Record]]) -> None:
        self.topology, self._log = topology, log

    def bounds(self, role: str, partition: int) -> tuple[int, int]:
        return 0, len(self._log.get((role, partition), []))

    def read(self, stretches: Mapping[tuple[str, int], tuple[int, int | None]]) -> Iterator[Record]:
        for where, (start, end) in stretches.items():
            yield from self._log.get(where, [])[start:end]

    def last(self, roles: Iterable[str], partition: int) -> dict[str, Record]:
        return {role: records[-1] for role in roles if (records := self._log.get((role, partition)))}

    def progress(self) -> None:
        pass
