"""What is done to a cluster and to the network before it. Each fault is over, and mended, when it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from benchmarks.brokers.cluster import LocalCluster

__all__ = ["KINDS", "Fault", "Stage", "schedule"]

#: What a broker says when a disk has failed it.
OFFLINE = "Stopped serving replicas in dir"
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Stage:
    """Where faults happen.

    Attributes
    ----------
    cluster : LocalCluster
    rng : numpy.random.Generator
        Chooses nodes and times.
    group : str
        Of the workers.
    transactional_ids : sequence of str
        Of their producers, as far as they are known.
    session_seconds : float
        After which the group drops a silent worker.
    """

    cluster: LocalCluster
    rng: np.random.Generator
    group: str
    transactional_ids: Sequence[str]
    session_seconds: float

    def node(self) -> int:
        """Any."""
        return int(self.rng.choice([*self.cluster.nodes]))

    def transaction_coordinator(self) -> int:
        """Of one of the workers' producers."""
        return self.cluster.coordinator_of_transactions(str(self.rng.choice(self.transactional_ids)))

    def wait(self, shortest: float, longest: float) -> None:
        """Some seconds between these."""
        time.sleep(float(self.rng.uniform(shortest, longest)))

    @contextmanager
    def network(self) -> Iterator[None]:
        """Whatever is done to it within, it passes everything on after."""
        try:
            yield
        finally:
            self.cluster.proxy.passing()


#: Does it, mends it, and says to whom it was done.
Fault: TypeAlias = Callable[[Stage], str]


def _bounce(stage: Stage, *nodes: int, shortest: float = 0.0, longest: float = 2.0) -> str:
    stage.cluster.kill(*nodes)
    stage.wait(shortest, longest)
    stage.cluster.start(*nodes)
    return f"node {' and '.join(map(str, nodes))}"


def clean_bounce(stage: Stage) -> str:
    """A broker ends in an orderly way, and comes back."""
    node = stage.node()
    stage.cluster.stop(node)
    stage.wait(0, 2)
    stage.cluster.start(node)
    return f"node {node}"


def hard_bounce(stage: Stage) -> str:
    """A broker is killed, and comes back."""
    return _bounce(stage, stage.node())


def transaction_coordinator_killed(stage: Stage) -> str:
    """The broker that holds the state of a worker's transactions is killed, and comes back."""
    return _bounce(stage, stage.transaction_coordinator())


def group_coordinator_killed(stage: Stage) -> str:
    """The broker that holds the workers' group and offsets is killed, and comes back."""
    return _bounce(stage, stage.cluster.coordinator_of_group(stage.group))


def two_nodes_killed(stage: Stage) -> str:
    """No quorum, no in-sync pair: nothing can be written until they come back."""
    first, second = stage.rng.choice([*stage.cluster.nodes], 2, replace=False)
    return _bounce(stage, int(first), int(second), shortest=1, longest=4)


def leaders_moved(stage: Stage) -> str:
    """Every partition gets another leader, coordinators' partitions too; no broker is down."""
    return f"{stage.cluster.move_leaders()} partitions"


def node_frozen(stage: Stage) -> str:
    """A broker sleeps until others have taken over, and wakes up believing that it leads."""
    node = stage.node()
    stage.cluster.pause(node)
    try:
        stage.wait(3, 6)
    finally:
        stage.cluster.resume(node)
    return f"node {node}"


def one_node_partitioned(stage: Stage) -> str:
    """Clients and one broker do not hear each other; the broker is well with the others, and leads on."""
    node = stage.node()
    with stage.network():
        stage.cluster.proxy.hold(node)
        stage.wait(1, 5)
    return f"node {node}"


def all_nodes_partitioned(stage: Stage) -> str:
    """Clients hear no broker for longer than the group waits for a worker; connections are lost or not."""
    lost = stage.rng.random() < 0.5
    with stage.network():
        for node in stage.cluster.nodes:
            stage.cluster.proxy.hold(node)
        stage.wait(stage.session_seconds + 1, stage.session_seconds + 4)
        if lost:
            stage.cluster.proxy.reset()
    return "connections lost" if lost else "connections kept"


def answers_lost(stage: Stage) -> str:
    """The coordinator of a worker's transactions hears it, and its answers never arrive."""
    node = stage.transaction_coordinator()
    with stage.network():
        stage.cluster.proxy.hold(node, "from_broker")
        stage.wait(0.5, 4)
        stage.cluster.proxy.reset(node)
    return f"node {node}"


def requests_lost(stage: Stage) -> str:
    """One broker does not hear what clients ask, and then their connections break."""
    node = stage.node()
    with stage.network():
        stage.cluster.proxy.hold(node, "to_broker")
        stage.wait(0.5, 4)
        stage.cluster.proxy.reset(node)
    return f"node {node}"


def delays(stage: Stage) -> str:
    """All that is sent takes up to half a second, and not always the same."""
    seconds = float(stage.rng.uniform(0.02, 0.25))
    with stage.network():
        for node in stage.cluster.nodes:
            stage.cluster.proxy.delay(node, seconds, jitter=seconds)
        stage.wait(3, 6)
    return f"{1000 * seconds:.0f} to {2000 * seconds:.0f} ms"


def slow_link(stage: Stage) -> str:
    """Connections to one broker carry a few kilobytes a second."""
    node, speed = stage.node(), float(stage.rng.uniform(5e3, 5e4))
    with stage.network():
        stage.cluster.proxy.throttle(node, speed)
        stage.wait(3, 6)
    return f"node {node}, {speed / 1000:.0f} kB/s"


def connections_reset(stage: Stage) -> str:
    """All connections break in the middle of whatever they carry, and again, and again."""
    times = int(stage.rng.integers(3, 12))
    for _ in range(times):
        stage.cluster.proxy.reset()
        stage.wait(0.05, 0.6)
    return f"{times} times"


def connections_refused(stage: Stage) -> str:
    """A broker that lives and leads takes no connection."""
    node = stage.node()
    with stage.network():
        stage.cluster.proxy.refuse(node)
        stage.wait(1, 5)
    return f"node {node}"


def bounce_under_delay(stage: Stage) -> str:
    """A broker is killed while the network is slow."""
    with stage.network():
        for node in stage.cluster.nodes:
            stage.cluster.proxy.delay(node, 0.05, jitter=0.05)
        return _bounce(stage, stage.node())


def disk_full(stage: Stage) -> str:
    """A broker's disk is full: it takes it for broken, and refuses all that lives there until restarted.

    The other half of its partitions goes on meanwhile.
    """
    node = stage.node()
    broker, disk = stage.cluster.nodes[node], stage.cluster.disks[node]
    disk.fill()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while OFFLINE not in broker.words() and broker.pid is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    refused = OFFLINE in broker.words()
    stage.wait(1, 3)
    disk.clear()
    stage.cluster.stop(node)
    stage.cluster.start(node)
    return f"node {node}, {'disk given up' if refused else 'nothing was written to it'}"


KINDS: dict[str, Fault] = {
    "clean bounce": clean_bounce,
    "hard bounce": hard_bounce,
    "transaction coordinator killed": transaction_coordinator_killed,
    "group coordinator killed": group_coordinator_killed,
    "two nodes killed": two_nodes_killed,
    "leaders moved": leaders_moved,
    "node frozen": node_frozen,
    "one node partitioned": one_node_partitioned,
    "all nodes partitioned": all_nodes_partitioned,
    "answers lost": answers_lost,
    "requests lost": requests_lost,
    "delays": delays,
    "slow link": slow_link,
    "connections reset": connections_reset,
    "connections refused": connections_refused,
    "bounce under delay": bounce_under_delay,
    "disk full": disk_full,
}


def schedule(rng: np.random.Generator, count: int, kinds: Sequence[str]) -> list[str]:
    """So many faults, of every kind as many (to within one), in random order."""
    whole, rest = divmod(count, len(kinds))
    chosen = [*kinds] * whole + [str(kind) for kind in rng.choice(kinds, rest, replace=False)]
    return [chosen[i] for i in rng.permutation(count)]
