"""Feeds at a steady rate, in bursts where it is told, and rubbish where it is told.

A process of its own: `python -m benchmarks.soak.feeder TOPOLOGY TIMES STATE`. Each line of its input is a
command: ``rate R`` (cross-sections a second), ``burst N`` (so many at once), ``bad N`` (so many records that
no worker can use), ``stop``. It writes what it has fed into STATE.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from benchmarks import workload
from benchmarks.soak.world import ASSETS, BAR, fed_times
from stream_allocator.codec import Codec
from stream_allocator.events import ControlEvent, Input, PackedReturnEvent, PositionEvent
from stream_allocator.packed import asset_order
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.record import INPUTS
from stream_allocator.topology import Topology, load_topology

__all__ = ["FeederProcess"]

START = workload.START
TICK_SECONDS = 0.004
STATE_SECONDS = 0.25
POSITION_BARS, CONTROL_BARS = 20, 500
FLUSH_SECONDS = 60.0
#: What a position snapshot says: this share of it in equal weights, within the volatility cap.
NAV, HELD = 1e6, 0.4


class Feed:
    """The cross-sections of all universes in turn, each universe's positions and control among them."""

    def __init__(self, topology: Topology, seed: int) -> None:
        self._universes = topology.universes
        self._order = [asset_order(u.assets) for u in topology.universes]
        forever = 1 << 40
        self._returns = [workload.returns(ASSETS, forever, seed + i) for i in range(len(self._universes))]
        self.count = 0

    def next(self) -> tuple[int, int, list[tuple[str, Input]]]:
        """Universe, bar, and (role, event) of what belongs to the next cross-section."""
        bar, i = divmod(self.count, len(self._universes))
        self.count += 1
        universe = self._universes[i]
        when = START + bar * BAR
        packed = next(self._returns[i]).astype("<f8").tobytes()
        event = PackedReturnEvent(universe.name, "feed", bar, when, self._order[i], packed)
        events: list[tuple[str, Input]] = [("returns", event)]
        if bar % POSITION_BARS == POSITION_BARS - 1:
            values = (HELD * NAV / ASSETS,) * ASSETS
            held = PositionEvent(
                universe.name, "core", "broker", bar, when, NAV, NAV - sum(values), universe.assets, values
            )
            events.append(("positions", held))
        if bar % CONTROL_BARS == CONTROL_BARS - 1:
            mode = "baseline" if bar // CONTROL_BARS % 2 else "active"
            change = ControlEvent(universe.name, "core", "drill", bar, when, mode, "soak", "drill")
            events.append(("control", change))
        return i, bar, events


def rubbish(topology: Topology, count: int) -> Iterator[tuple[str, bytes, bytes | None, list[Any]]]:
    """(role, key, value, headers) of records that must each become a dead letter."""
    codec, name = Codec(topology.wire.schema_ids), topology.universes[0].name
    roles = tuple(INPUTS)
    order = asset_order(topology.universes[0].assets)
    zeros = bytes(8 * ASSETS)
    for i in range(count):
        match i % 5:
            case 0:
                yield roles[i % 3], name.encode(), b"\x00" * (i % 64), []
            case 1:
                yield roles[i % 3], name.encode(), None, []
            case 2:
                stranger = PackedReturnEvent("nobody", "feed", i, START, order, zeros)
                value, headers = codec.frame(stranger)
                yield "returns", b"nobody", value, headers
            case 3:
                late = PackedReturnEvent(name, "slow", i, START - BAR, order, zeros)
                value, headers = codec.frame(late)
                yield "returns", name.encode(), value, headers
            case _:
                short = PackedReturnEvent(name, "short", i, START, order, zeros[8:])
                value, headers = codec.frame(short)
                yield "returns", name.encode(), value, headers


class FeederProcess:
    """The feeder, seen from outside."""

    def __init__(self, topology_file: Path, times: Path, folder: Path) -> None:
        self._state = folder / "fed.json"
        self.log = folder / "feeder.log"
        command = [sys.executable, "-m", "benchmarks.soak.feeder", *map(str, (topology_file, times))]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(self._state)], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
            )

    def tell(self, command: str) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def state(self) -> dict[str, int]:
        """Records handed over so far: cross_sections, positions, control, bad; and how many are confirmed."""
        try:
            found: dict[str, int] = json.loads(self._state.read_text())
        except FileNotFoundError:
            return {"cross_sections": 0, "positions": 0, "control": 0, "bad": 0, "confirmed": 0}
        return found

    def stop(self) -> dict[str, int]:
        """Let it deliver what it has, and end; what it fed."""
        self.tell("stop")
        if self._process.wait(FLUSH_SECONDS + 30) != 0:
            raise RuntimeError(f"the feeder failed: {self.log.read_text()[-2000:]}")
        return self.state()

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def main(topology_file: Path, times_file: Path, state_file: Path, seed: int = 20261125) -> int:
    """Feed until told to stop."""
    topology = load_topology(topology_file)
    feed, codec, times = (
        Feed(topology, seed),
        Codec(topology.wire.schema_ids),
        fed_times(times_file, write=True),
    )
    producer = Producer(
        producer_settings(topology)
        | {"queue.buffering.max.messages": 1_000_000, "message.timeout.ms": 600_000}
    )
    names, keys = topology.topics.names, [u.name.encode() for u in topology.universes]
    count = dict.fromkeys(("cross_sections", "positions", "control", "bad", "confirmed"), 0)
    failures: list[str] = []
    commands: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            commands.put(line.strip())
        commands.put("stop")

    def delivered(error: Any, _message: Any) -> None:
        if error is None:
            count["confirmed"] += 1
        else:
            failures.append(str(error))

    def produce(role: str, universe: int, key: bytes, value: bytes | None, headers: Any) -> None:
        partition = universe % topology.topics.partitions
        while True:
            try:
                producer.produce(
                    names[role], value, key=key, partition=partition, headers=headers, on_delivery=delivered
                )
                return
            except BufferError:
                producer.poll(0.1)

    def send() -> None:
        universe, bar, events = feed.next()
        for role, event in events:
            value, headers = codec.frame(event)
            if role == "returns":
                times[universe, bar] = time.time()
            produce(role, universe, keys[universe], value, headers)
            count["cross_sections" if role == "returns" else role] += 1

    def note() -> None:
        draft = state_file.with_suffix(".draft")
        draft.write_text(json.dumps(count))
        os.replace(draft, state_file)

    threading.Thread(target=read, daemon=True).start()
    rate, owed, last, noted = 0.0, 0.0, time.monotonic(), 0.0
    while not failures:
        now = time.monotonic()
        owed += rate * (now - last)
        last = now
        while owed >= 1.0:
            send()
            owed -= 1.0
        producer.poll(0)
        if now - noted > STATE_SECONDS:
            noted = now
            note()
        try:
            word, _, number = commands.get(timeout=TICK_SECONDS).partition(" ")
        except queue.Empty:
            continue
        if word == "stop":
            break
        if word == "rate":
            rate = float(number)
        elif word == "burst":
            for k in range(int(number)):
                send()
                if k % 64 == 0:
                    producer.poll(0)
            last = time.monotonic()  # the steady rate goes on from here: the burst came in its place and more
        elif word == "bad":
            for role, key, value, headers in rubbish(topology, int(number)):
                produce(role, 0, key, value, headers)
                count["bad"] += 1
    left = producer.flush(FLUSH_SECONDS)
    note()
    if failures or left:
        print(f"{left} records not confirmed; {failures[:1]}")
    return 1 if failures or left else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
