"""The stream through a real broker and a worker as a process of its own, then the same books."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import Producer

from benchmarks import workload
from benchmarks.fuzz import raw_headers
from benchmarks.fuzz.account import Account, Verdict
from benchmarks.fuzz.cases import Sent
from benchmarks.fuzz.mix import stream
from benchmarks.fuzz.usage import Usage
from stream_allocator.codec import Codec
from stream_allocator.events import Snapshot
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS, OUTPUTS, UNREADABLE_HEADERS
from stream_allocator.stream.topics import create
from stream_allocator.topology import Topology, load_topology

__all__ = ["run"]

#: Records that may wait for the worker: topics stay mixed, and its queues stay as full as they are.
AHEAD = 5_000
#: Records after which it is looked at.
CHUNK = 1_000
PATIENCE = 120.0
POLL_SECONDS = 0.1


def run(topology: Topology, records: int, seed: int) -> tuple[Verdict, Usage, float]:
    """Feed a worker the whole stream, stop it, read what it published, close the books.

    Parameters
    ----------
    topology : Topology
        Of one partition, with universes ``u0``, ``u1`` and ``u2``; its topics do not exist yet.
    records : int
    seed : int

    Returns
    -------
    verdict : Verdict
    usage : Usage
        Of the worker, from its first record to its last.
    seconds : float
        From the first record sent to the last one committed.

    Raises
    ------
    RuntimeError
        When the worker ends before it should, or does not get on.
    """
    create(topology)
    with tempfile.TemporaryDirectory() as folder:
        path, log = workload.save(topology, Path(folder)), Path(folder) / "worker.log"
        topology = load_topology(
            path
        )  # what the worker reads: in a file 20 is 20.0, and a state tells them apart
        command = [sys.executable, "-m", "stream_allocator.cli", "run", "--topology", str(path)]
        with log.open("wb") as out:
            worker = subprocess.Popen(command, stdout=out, stderr=out)
        usage = Usage(worker.pid)
        try:
            seconds = _feed(topology, records, seed, worker, usage)
            worker.terminate()
            if worker.wait(PATIENCE):
                raise RuntimeError("the worker did not stop cleanly")
        except RuntimeError as failure:
            raise RuntimeError(f"{failure}\n{log.read_text(errors='replace')[-3000:]}") from failure
        finally:
            worker.kill()
            worker.wait()
    account = Account(topology, records)
    states = _read(topology, account)
    verdict = account.close(stream(topology, records, seed), stream(topology, records, seed), states)
    return verdict, usage, seconds


def _feed(
    topology: Topology, records: int, seed: int, worker: subprocess.Popen[bytes], usage: Usage
) -> float:
    producer = Producer(producer_settings(topology) | {"message.max.bytes": 2_000_000})
    sent = 0
    with TopicReader(topology) as reader:
        for made in stream(topology, records, seed):
            _produce(topology, producer, made)
            sent += 1
            if sent == 1:
                producer.flush(PATIENCE)
                _wait(reader, worker, 1)
                begun = time.monotonic()
            if sent % CHUNK == 0:
                producer.flush(PATIENCE)
                _wait(reader, worker, sent - AHEAD)
                usage.look()
        producer.flush(PATIENCE)
        _wait(reader, worker, sent)
        usage.look()
    return time.monotonic() - begun


def _produce(topology: Topology, producer: Producer, made: Sent) -> None:
    topic = topology.topics.names[made.role]
    if made.headers and made.headers[0][0] == UNREADABLE_HEADERS:
        producer.flush(PATIENCE)  # it goes by another client, and offsets are counted
        raw_headers.produce(
            topology.bootstrap_servers, topic, 0, made.key or b"", made.value or b"", [(b"\xff\xfe", b"v")]
        )
        return
    while True:
        try:
            producer.produce(topic, made.value, key=made.key, headers=list(made.headers), partition=0)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


def _wait(reader: TopicReader, worker: subprocess.Popen[bytes], count: int) -> None:
    """Until the worker has committed so many records (those of topics that got none yet not counted)."""
    heard, before = time.monotonic(), -1
    while True:
        done = sum(reader.committed(INPUTS, [0]).values())
        if done >= count:
            return
        if worker.poll() is not None:
            raise RuntimeError(f"the worker ended with {worker.returncode} after {done} records")
        if done > before:
            heard, before = time.monotonic(), done
        if time.monotonic() - heard > PATIENCE:
            raise RuntimeError(f"the worker has not moved for {PATIENCE:g} s; {done} of {count} records")
        time.sleep(POLL_SECONDS)


def _read(topology: Topology, account: Account) -> dict[str, bytes]:
    """Enter everything that was published; the last snapshot of each universe."""
    codec, classes = Codec(), {role: cls for cls, role in OUTPUTS.items()}
    pieces: dict[str, list[Snapshot]] = {}
    with TopicReader(topology) as reader:
        for record in reader.read({(role, 0): reader.bounds(role, 0) for role in classes}):
            event = codec.unframe(classes[record.role], record.value, record.headers)
            if isinstance(event, Snapshot):
                kept = pieces.setdefault(event.universe, [])
                if event.chunk == 0:
                    kept.clear()
                kept.append(event)
            else:
                account.take(record.role, event)
    return {name: b"".join(s.payload for s in kept) for name, kept in pieces.items()}
