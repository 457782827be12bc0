"""How large records can become: what topics must take, and what the worker's producer may send."""

from stream_allocator.policy import Policy
from stream_allocator.topology import Topology, Universe

__all__ = ["DEFAULT_BYTES", "evidence_bytes", "largest_records"]

#: What librdkafka sends and a broker takes where nobody says otherwise.
DEFAULT_BYTES = 1_000_000
#: What evidence, a snapshot's chunk or a dead letter may have around it: names, schema, headers, the batch.
MARGIN = 65_536
#: Arrays of evidence that have a number for each asset.
VECTORS = 11


def evidence_bytes(universe: Universe, policy: Policy) -> int:
    """An upper bound on an evidence record: n (11 + K) doubles, names, and a growth decision's samples."""
    n = len(universe.assets)
    names = sum(len(asset.encode()) + 4 for asset in universe.assets)
    groups = sum(4 * len(members) + len(name.encode()) + 64 for name, members in universe.groups.items())
    size = MARGIN + names + groups + 8 * n * (VECTORS + min(n, policy.moments.factors))
    if policy.allocator == "growth":  # the samples, and a proof that has a few numbers for each of them
        size += 8 * (n + 8) * policy.growth.window + 64 * n
    return size


def largest_records(topology: Topology) -> dict[str, int]:
    """Bytes that the largest record of a topic may have, where it can be more than the default.

    A dead letter is cut where it would be larger than a snapshot's chunk.
    """
    evidence = [
        evidence_bytes(universe, policy)
        for universe in topology.universes
        for policy in topology.policies(universe.name).values()
    ]
    sizes = {
        "evidence": max(evidence, default=0),
        "snapshots": topology.worker.chunk_bytes + MARGIN,
        "dead_letters": topology.worker.chunk_bytes + MARGIN,
    }
    return {topic: max(size, DEFAULT_BYTES) for topic, size in sizes.items()}
