"""The latency that a reader sees: from the feeder's produce to a committed regime update of the same bar.

A process of its own, `python -m benchmarks.soak.observer TOPOLOGY TIMES NOTES`: a read_committed reader of
all regime updates. A line of NOTES for each quarter of a second in which some came: when, how many so far,
and p50, p99 and maximum of their latencies.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from benchmarks.soak.world import fed_times
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.topology import Topology, load_topology

__all__ = ["ObserverProcess", "bar_of"]

NOTE_SECONDS = 0.25
#: A client that came to a broker before the broker knew its topics may never ask again: after so long
#: without a record a new one takes over.
SILENCE_SECONDS = 5.0


def bar_of(value: bytes) -> int:
    """The bar of an encoded regime update, without decoding the rest.

    Avro writes fields in order: ``universe`` (length and bytes), ``event_time`` and ``bar``; lengths and
    longs are zigzag numbers of 7 bits a byte, the lowest first.
    """
    length, at = _long(value, 0)
    _, at = _long(value, at + length)
    return _long(value, at)[0]


def _long(value: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = value[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at


class ObserverProcess:
    """The observer, seen from outside."""

    def __init__(self, topology_file: Path, times: Path, folder: Path) -> None:
        self.notes = folder / "observed.jsonl"
        self.log = folder / "observer.log"
        command = [sys.executable, "-m", "benchmarks.soak.observer", *map(str, (topology_file, times))]
        self.notes.touch()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([*command, str(self.notes)], stdout=log, stderr=log)
        self._read = 0
        self.lines: list[dict[str, float]] = []

    def look(self) -> int:
        """Read what is new; regime updates seen so far."""
        if self._process.poll() not in (None, 0):
            raise RuntimeError(f"the observer failed: {self.log.read_text()[-2000:]}")
        with self.notes.open() as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._read += len(whole.encode())
        self.lines += map(json.loads, whole.splitlines())
        return int(self.lines[-1]["count"]) if self.lines else 0

    def stop(self) -> None:
        """End it, its last line written."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self.look()

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def _open(topology: Topology, places: dict[int, int]) -> Consumer:
    """A reader of all regime updates from such offsets on."""
    consumer = Consumer(consumer_settings(topology, f"{topology.worker.group}-observer"))
    consumer.assign([TopicPartition(topology.topics.regimes, p, offset) for p, offset in places.items()])
    return consumer


def main(topology_file: Path, times_file: Path, notes: Path) -> int:
    """Observe until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    topology, times = load_topology(topology_file), fed_times(times_file)
    index = {u.name.encode(): i for i, u in enumerate(topology.universes)}
    places = dict.fromkeys(range(topology.topics.partitions), 0)
    consumer = _open(topology, places)
    seen, count, noted = list[float](), 0, time.monotonic()
    heard = noted
    with notes.open("a") as out:
        while not stopped:
            first = consumer.poll(0.1)
            messages: list[Any] = [] if first is None else [first, *consumer.consume(1000, 0)]
            now = time.time()
            for message in messages:
                if message.error() is None:
                    seen.append(now - times[index[message.key()], bar_of(message.value())])
                    count += 1
                    places[message.partition()] = message.offset() + 1
                    heard = time.monotonic()
            if time.monotonic() - heard > SILENCE_SECONDS:
                consumer.close()
                consumer, heard = _open(topology, places), time.monotonic()
            if seen and time.monotonic() - noted > NOTE_SECONDS:
                noted = time.monotonic()
                p50, p99, worst = np.quantile(seen, (0.5, 0.99, 1.0))
                line = {"time": now, "count": count, "p50": p50, "p99": p99, "max": worst, "n": len(seen)}
                out.write(json.dumps(line) + "\n")
                out.flush()
                seen.clear()
    consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
