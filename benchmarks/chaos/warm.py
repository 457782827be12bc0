"""Compiled code and imports, loaded once by the process that forks workers and judges."""

from __future__ import annotations

import gc

from benchmarks.chaos.world import Feed, World
from stream_allocator.codec import Codec
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard

__all__ = ["warm"]


def warm(world: World) -> None:
    """Compile and load all that a worker runs, so that the children need not."""
    topology, codec, feed = world.topology, Codec(), Feed(world)
    shard = Shard(topology, 0)
    for bar in range(70):
        for universe in range(min(2, len(topology.universes))):
            for role, event in feed.bar(universe, bar):
                value, headers = (event, []) if isinstance(event, bytes) else codec.frame(event)
                key = topology.universes[universe].name.encode()
                shard.apply(Record(role, 0, bar, key, value, tuple(headers)))
    snapshots = [s.event for s in shard.snapshots()]
    Shard(topology, 0).load(snapshots)  # type: ignore[arg-type]
    gc.collect()
    gc.freeze()
