"""Three nodes of Apache Kafka on this machine, each behind a proxy: replicated, and made to be mistreated."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmarks.brokers.disk import Disk
from benchmarks.brokers.local import LocalKafka
from benchmarks.brokers.node import HOST, BrokerDied, Ports, free_ports, server_properties
from benchmarks.brokers.observer import Observer
from benchmarks.brokers.orders import OrderFailed
from benchmarks.brokers.proxy import Proxy
from benchmarks.brokers.reassignment import reorder_replicas

__all__ = ["LocalCluster"]

OFFSETS, TRANSACTIONS = "__consumer_offsets", "__transaction_state"


class LocalCluster:
    """Nodes 1 to 3, each broker and controller: three copies of everything, two in sync before an answer.

    Clients that come by `bootstrap_servers` meet the proxy, and are sent to it again by what the brokers
    advertise; who comes by `direct_servers` is sent to the brokers themselves, whatever the proxy does.
    Ports and data stay the same over restarts; all ends with the process that started it, which has no
    Kafka client of its own by this, and so may fork.

    Parameters
    ----------
    directory
        Folder for data and logs, kept afterwards; by default a temporary one.
    nodes
        How many.
    settings
        Further entries of every node's server.properties.
    heap
        Of each JVM.
    disk_megabytes
        Each node keeps half of its partitions on a disk of this size, one of `disks`, which can be filled.
        Without it there is no such disk.

    Raises
    ------
    BrokerUnavailable
        Where no broker can be had.
    DiskUnavailable
        Where disks are asked for and nothing may be mounted.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        nodes: int = 3,
        settings: Mapping[str, str] | None = None,
        heap: str = "400m",
        disk_megabytes: int | None = None,
    ) -> None:
        self._stack = contextlib.ExitStack()
        if directory is None:
            directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
        numbers = range(1, nodes + 1)
        drawn = free_ports(4 * nodes)
        ports = {node: Ports(*drawn[4 * (node - 1) : 4 * node]) for node in numbers}
        voters = {node: ports[node].controller for node in numbers}
        self.disks: dict[int, Disk] = {}
        self.nodes: dict[int, LocalKafka] = {}
        for node in numbers:
            folder = directory / f"node-{node}"
            folders = [folder / "data"]
            if disk_megabytes is not None:
                folders.append(folder / "disk")
                self.disks[node] = self._stack.enter_context(Disk(folders[1], disk_megabytes))
                folders[1] /= "data"  # the mount point itself may hold other things
            lines = server_properties(ports[node], node=node, voters=voters) | {
                "log.dirs": ",".join(map(str, folders)),
                "metadata.log.dir": str(folders[0]),
            }
            within = self.disks[node].within if node in self.disks else []
            self.nodes[node] = LocalKafka(
                folder, ports=ports[node], settings=lines | dict(settings or {}), heap=heap, within=within
            )
        self.proxy = self._stack.enter_context(
            Proxy({node: (ports[node].advertised, ports[node].client) for node in numbers})
        )
        self.bootstrap_servers = ",".join(f"{HOST}:{ports[node].advertised}" for node in numbers)
        self.direct_servers = ",".join(f"{HOST}:{ports[node].internal}" for node in numbers)
        self._internal = {node: (HOST, ports[node].internal) for node in numbers}
        self._observer = Observer(self.direct_servers)
        self._stack.callback(self._observer.close)

    # -- nodes -----------------------------------------------------------------------------------

    @property
    def running(self) -> list[int]:
        """The nodes whose process is there, paused or not."""
        return [node for node, broker in self.nodes.items() if broker.pid is not None]

    def start(self, *nodes: int, timeout: float = 60.0) -> None:
        """Start nodes, all that do not run where none is named, and wait until they serve clients."""
        wanted = [node for node in nodes or self.nodes if node not in self.running]
        for node in wanted:
            self.nodes[node].launch()
        for node in wanted:
            self.nodes[node].wait_until_started(timeout)

    def stop(self, node: int) -> None:
        """End it in an orderly way: it hands its leaderships over first."""
        self.nodes[node].stop()

    def kill(self, *nodes: int) -> None:
        """End them at once, as crashes would."""
        for node in nodes:
            self.nodes[node].kill()

    def pause(self, node: int) -> None:
        """Freeze it; after its session (2 s) the controller gives its leaderships to others."""
        self.nodes[node].pause()

    def resume(self, node: int) -> None:
        """Let it go on; it may still believe to lead."""
        self.nodes[node].resume()

    # -- partitions ------------------------------------------------------------------------------

    def leaders(self) -> dict[tuple[str, int], int]:
        """(topic, partition) -> node, or -1 where nobody leads."""
        return {where: replicas.leader for where, replicas in self._observer.partitions().items()}

    def coordinator_of_group(self, group: str) -> int:
        """The node that coordinates a consumer group."""
        return self._coordinator(OFFSETS, group)

    def coordinator_of_transactions(self, transactional_id: str) -> int:
        """The node that coordinates the transactions of a producer."""
        return self._coordinator(TRANSACTIONS, transactional_id)

    def out_of_sync(self) -> list[tuple[str, int]]:
        """Partitions that nobody leads, or of which a replica is not in sync."""
        return [
            where
            for where, replicas in self._observer.partitions().items()
            if replicas.leader < 0 or set(replicas.nodes) != set(replicas.in_sync)
        ]

    def wait_until_in_sync(self, timeout: float = 60.0) -> float:
        """Wait until every node is there and every replica in sync; the seconds it took.

        Raises
        ------
        BrokerDied
            When that is not so in `timeout` seconds, naming what lags.
        """
        started = time.monotonic()
        words = ""
        while (taken := time.monotonic() - started) < timeout:
            with contextlib.suppress(OrderFailed):
                living, lagging = self._observer.nodes(), self.out_of_sync()
                if len(living) == len(self.nodes) and not lagging:
                    return taken
                words = f"nodes {living}, {len(lagging)} partitions lag: {lagging[:5]}"
            time.sleep(0.1)
        raise BrokerDied(f"the cluster is not in sync after {timeout:.0f} s: {words or 'nobody answers'}")

    def move_leaders(self, timeout: float = 10.0) -> int:
        """Give every partition's leadership to its next replica, all nodes living; how many changed.

        An order is in force only once its node has heard of it from the controller: an election before that
        finds nothing to do, so it is asked for again, until every leader is the next one or time is up.
        """
        before = self._observer.partitions()
        orders = {where: (*replicas.nodes[1:], replicas.nodes[0]) for where, replicas in before.items()}
        reorder_replicas(self._internal[self.running[0]], orders)
        deadline = time.monotonic() + timeout
        while True:
            self._observer.elect(before)
            after = self.leaders()
            moved = sum(after[where] != replicas.leader for where, replicas in before.items())
            done = all(after[where] == nodes[0] for where, nodes in orders.items())
            if done or time.monotonic() > deadline:
                return moved
            time.sleep(0.1)

    def _coordinator(self, topic: str, key: str) -> int:
        """As Kafka finds it: the leader of the partition that the key's hash (Java's) names."""
        leaders = {number: leader for (name, number), leader in self.leaders().items() if name == topic}
        if not leaders:
            raise ValueError(f"{topic} does not exist: nothing has used it yet")
        code = 0
        for character in key:
            code = (31 * code + ord(character)) & 0xFFFFFFFF
        code = code - (1 << 32) if code >> 31 else code
        return leaders[abs(code) % len(leaders)]

    # -- the rest --------------------------------------------------------------------------------

    def close(self) -> None:
        """Kill everything, and remove the data where the folder was a temporary one."""
        for broker in self.nodes.values():
            broker.close()
        self._stack.close()

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_until_in_sync()
            return self
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()
