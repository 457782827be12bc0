"""The stream through a shard in this process: no broker, the same books."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.fuzz.account import Account, Verdict, placed
from benchmarks.fuzz.mix import stream
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import Topology

__all__ = ["run"]


def run(topology: Topology, records: int, seed: int, look: Callable[[], None] = lambda: None) -> Verdict:
    """Drive a fresh shard with the whole stream, then close the books.

    Parameters
    ----------
    topology : Topology
        With universes ``u0``, ``u1`` and ``u2``.
    records : int
    seed : int
    look : callable
        Called a hundred times on the way.
    """
    account, shard = Account(topology, records), Shard(topology, 0)
    every = max(1, records // 100)
    for i, (record, _) in enumerate(placed(stream(topology, records, seed))):
        for out in shard.apply(record):
            account.take(out.role, out.event)
        if i % every == 0:
            look()
    states = {name: engine.snapshot() for name, engine in shard.engines.items()}
    return account.close(stream(topology, records, seed), stream(topology, records, seed), states)
