"""What integration tests need around a broker: topologies, topics, feeders, workers as processes, readers."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import worlds
import yaml
from absence import skip_unless_ci
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from benchmarks.brokers import BrokerUnavailable, LocalKafka
from stream_allocator.archive import Log, read_topics
from stream_allocator.codec import Codec
from stream_allocator.events import Input
from stream_allocator.stream.clients import admin_client, consumer_settings, producer_settings
from stream_allocator.stream.record import INPUTS, OUTPUTS, Record
from stream_allocator.stream.topics import create
from stream_allocator.topology import Topology, load_topology

ROLES = {cls: role for role, cls in INPUTS.items()}
CLASSES = {role: cls for cls, role in OUTPUTS.items()}


def make_topology(
    folder: Path,
    bootstrap: str,
    *,
    universes: int = 1,
    partitions: int = 1,
    worker: Any = (),
    security: Any = (),
    **policy: Any,
) -> tuple[Path, Topology]:
    """A topology with topics of its own, created; universes ``u0``, ``u1``..., or ``u`` when there is one."""
    tag = uuid.uuid4().hex[:8]
    (folder / "policy.yaml").write_text(yaml.safe_dump(worlds.policy(**policy).model_dump(mode="json")))
    names = ["u"] if universes == 1 else [f"u{i}" for i in range(universes)]
    roles = ("returns", "positions", "control", "allocations", "evidence", "regimes", "audit")
    data = {
        "name": "test",
        "bootstrap_servers": bootstrap,
        "security": dict(security),
        "topics": {
            **{role: f"{role}-{tag}" for role in (*roles, "dead_letters", "snapshots")},
            "partitions": partitions,
            "replication_factor": 1,
            "min_insync_replicas": 1,
        },
        "worker": {
            "group": f"group-{tag}",
            "snapshot_bars": 40,
            "session_timeout_seconds": 6,
            "transaction_timeout_seconds": 5,
            **dict(worker),
        },
        "universes": [
            {
                "name": name,
                "assets": list(worlds.ASSETS),
                "groups": {"first": list(worlds.ASSETS[:2])},
                "portfolios": [{"name": "core", "policy": "policy.yaml"}],
            }
            for name in names
        ],
    }
    path = folder / "topology.yaml"
    path.write_text(yaml.safe_dump(data))
    topology = load_topology(path)
    create(topology)
    if topology.worker.group_protocol == "consumer":
        _set_group_times(topology)
    return path, topology


def _set_group_times(topology: Topology) -> None:
    """In the new protocol the time-outs are the broker's: give the group those of the topology."""
    session = round(topology.worker.session_timeout_seconds * 1000)
    times = {"session.timeout": session, "heartbeat.interval": max(200, session // 5)}
    entries = [
        ConfigEntry(f"consumer.{key}.ms", str(value), incremental_operation=AlterConfigOpType.SET)
        for key, value in times.items()
    ]
    group = topology.worker.group
    resource = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=entries)
    with admin_client(topology) as admin:
        admin.incremental_alter_configs([resource])[resource].result(10)


@contextmanager
def local_kafka(settings: Mapping[str, str] | None = None) -> Iterator[LocalKafka]:
    """A broker of this test's own, as a process; without Java and its jars the test is skipped."""
    try:
        broker = LocalKafka(settings=settings)
    except BrokerUnavailable as reason:
        skip_unless_ci(f"no local broker: {reason}")
    with broker:
        yield broker


class Feeder:
    """Publishes events on the input topics; raw values where a test wants to send what is no event."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._codec = Codec()
        self._producer = Producer(producer_settings(topology))

    def send(self, events: Iterable[Input], partition: int = 0) -> None:
        for event in events:
            value, headers = self._codec.frame(event)
            self.raw(ROLES[type(event)], value, event.universe.encode(), headers, partition)
        assert self._producer.flush(20) == 0

    def raw(self, role: str, value: bytes | None, key: bytes, headers: Any = (), partition: int = 0) -> None:
        name = self._topology.topics.names[role]
        self._producer.produce(name, value, key=key, headers=list(headers), partition=partition)
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(20) == 0


class WorkerProcess:
    """``stream-allocator run`` in a process of its own; ``instance`` makes it a static member."""

    def __init__(self, topology_file: Path, instance: str | None = "worker-0", **variables: str) -> None:
        env = os.environ | variables
        env.pop("STREAM_ALLOCATOR_BOOTSTRAP", None)
        if instance is not None:
            env["STREAM_ALLOCATOR_INSTANCE_ID"] = instance
        command = [sys.executable, "-m", "stream_allocator.cli", "run", "--topology", str(topology_file)]
        self.log = topology_file.parent / f"worker-{uuid.uuid4().hex[:6]}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self, timeout: float = 60) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def wait(self, timeout: float = 60) -> int:
        return self.process.wait(timeout)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def times(self, *words: str) -> int:
        """How often the log says any of these."""
        text = self.text()
        return sum(text.count(each) for each in words)

    def until(self, *words: str, count: int = 1, timeout: float = 60) -> None:
        """Wait until the log says any of these words so often."""
        end = time.monotonic() + timeout
        while self.times(*words) < count:
            assert self.process.poll() is None, f"the worker ended: {self.text()[-3000:]}"
            assert time.monotonic() < end, f"no {words!r} in {timeout} s: {self.text()[-3000:]}"
            time.sleep(0.05)

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Outputs:
    """A read_committed consumer of one output topic, from its beginning."""

    def __init__(self, topology: Topology, role: str) -> None:
        self._role = role
        self._codec = Codec()
        self._consumer = Consumer(consumer_settings(topology, uuid.uuid4().hex))
        self._consumer.subscribe([topology.topics.names[role]])
        self.events: list[Any] = []
        self.values: list[bytes] = []

    def take(self, seconds: float = 0.2) -> None:
        message = self._consumer.poll(seconds)
        while message is not None:
            if message.error() is None:
                self.values.append(message.value())
                event = self._codec.unframe(CLASSES[self._role], message.value(), message.headers())
                self.events.append(event)
            message = self._consumer.poll(0)

    def until(self, count: int, worker: WorkerProcess | None = None, timeout: float = 60) -> list[Any]:
        """Wait for so many events; a worker that ends before is an error with its log."""
        end = time.monotonic() + timeout
        while len(self.events) < count:
            self.take()
            if worker is not None and worker.process.poll() is not None:
                raise AssertionError(f"the worker ended: {worker.text()[-3000:]}")
            if time.monotonic() > end:
                tail = worker.text()[-3000:] if worker is not None else ""
                raise AssertionError(f"{len(self.events)} of {count} {self._role} after {timeout} s\n{tail}")
        return self.events

    def close(self) -> None:
        self._consumer.close()


def log_of(topology: Topology) -> Log:
    """Everything that is on the topics now."""
    return read_topics(topology)


def values(log: Log, role: str) -> list[bytes | None]:
    """Values of one role, partition by partition."""
    return [r.value for (name, _), rs in sorted(log.items()) if name == role for r in rs]


def events(log: Log, role: str) -> list[Any]:
    """Events of one role, partition by partition."""
    codec = Codec()
    records: list[Record] = [r for (name, _), rs in sorted(log.items()) if name == role for r in rs]
    return [codec.unframe(CLASSES[role], r.value, r.headers) for r in records]
