"""One point in memory: a partition of so many universes of so many assets, in a process of its own.

`python -m benchmarks.scale.point ASSETS UNIVERSES WARM BARS` prints a JSON object. Seconds are of CPU, of
this process: what else runs on the machine does not count.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import workload
from stream_allocator.codec import Codec
from stream_allocator.engine import Engine
from stream_allocator.packed import pack as pack_returns
from stream_allocator.state import pack, unpack
from stream_allocator.stream.decoder import RecordBatch
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import Topology

__all__ = ["EVERY", "Point", "measure"]

#: Bars between scheduled decisions: what is measured is a whole number of such cycles, or none is in it.
EVERY = 21
PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured.

    Attributes
    ----------
    assets, universes, bars, decisions : int
        ``bars`` of each universe, ``decisions`` of all.
    bar_seconds : float
        CPU of a cross-section that leads to no decision: decode, engine, encode.
    decision_seconds : float
        What one with a decision takes beyond that; NaN where there was none.
    resident_bytes : float
        Of a universe: what each one after the first adds to the process; NaN for one universe.
    state_bytes : float
        Of a universe's snapshot, as records.
    snapshot_seconds, restore_seconds : float
        CPU, of a universe.
    digest_seconds : float
        CPU of the digest over all audit chains, once a commit.
    return_bytes, output_bytes, decision_bytes : float
        On the wire: of a cross-section, of what each leads to, of what a decision adds.
    """

    assets: int
    universes: int
    bars: int
    decisions: int
    bar_seconds: float
    decision_seconds: float
    resident_bytes: float
    state_bytes: float
    snapshot_seconds: float
    restore_seconds: float
    digest_seconds: float
    return_bytes: float
    output_bytes: float
    decision_bytes: float


def measure(assets: int, universes: int, warm: int, bars: int) -> Point:
    """A point, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale.point", *map(str, (assets, universes, warm, bars))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{assets} assets, {universes} universes: {done.stderr[-2000:]}")
    return Point(**json.loads(done.stdout.splitlines()[-1]))


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _of_another(blob: bytes, configuration: str) -> bytes:
    """The state of one universe as that of its like under another name."""
    return pack({**unpack(blob), "configuration": configuration})


class _Feed:
    """Records of every universe in turn; all get the same returns, which costs the engines what any would."""

    def __init__(self, topology: Topology, bars: int) -> None:
        self._codec = Codec(topology.wire.schema_ids)
        self._topology = topology
        self._events = workload.cross_sections(topology.universes[0], bars, seed=1)
        self._offset = 0

    def bar(self, universes: int) -> list[Record]:
        event, records = next(self._events), []
        for universe in self._topology.universes[:universes]:
            packed = pack_returns(event, universe.assets)
            value, headers = self._codec.frame(replace(packed, universe=universe.name))
            records.append(Record("returns", 0, self._offset, universe.name.encode(), value, tuple(headers)))
            self._offset += 1
        return records


def _measure(assets: int, universes: int, warm: int, bars: int) -> Point:
    topology = workload.topology(assets, universes, max_ahead_seconds=None)
    shard, feed = Shard(topology, 0), _Feed(topology, warm + bars)
    for _ in range(warm):
        for record in feed.bar(1):
            shard.apply(record)
    first = topology.universes[0]
    blob = shard.engines[first.name].snapshot()
    Engine.restore(first, topology.policies(first.name), blob)  # once, so that the others are not charged
    before = _resident()
    for universe in topology.universes[1:]:
        fresh = Engine(universe, topology.policies(universe.name))
        state = _of_another(blob, fresh.configuration)
        shard.engines[universe.name] = Engine.restore(universe, topology.policies(universe.name), state)
        del fresh, state
    plain, deciding, sizes = list[float](), list[float](), list[tuple[int, int, bool]]()
    for _ in range(bars):
        records = feed.bar(universes)
        begun = time.process_time()
        decoded = shard.decode_returns(RecordBatch(records))
        share = (time.process_time() - begun) / universes
        for i, record in enumerate(records):
            begun = time.process_time()
            outputs = shard.step_returns(decoded, i)
            seconds = share + time.process_time() - begun
            decided = any(o.role == "allocations" for o in outputs)
            (deciding if decided else plain).append(seconds)
            sizes.append((len(record.value or b""), sum(len(o.value) for o in outputs), decided))
    resident = (_resident() - before) / (universes - 1) if universes > 1 else np.nan
    state_bytes, begun = 0, time.process_time()
    for name in shard.engines:
        state_bytes += sum(len(r.value) for r in shard.snapshot(name))
    snapshot_seconds = (time.process_time() - begun) / universes
    saved = [r.event for r in shard.snapshot(first.name)]
    begun, times = time.process_time(), max(1, min(20, universes))
    for _ in range(times):
        Shard(topology, 0).load(saved)  # type: ignore[arg-type]
    restore_seconds = (time.process_time() - begun) / times
    begun = time.process_time()
    for _ in range(20):
        shard.digest()
    digest_seconds = (time.process_time() - begun) / 20
    quiet = [out for _, out, decided in sizes if not decided]
    loud = [out for _, out, decided in sizes if decided]
    return Point(
        assets=assets,
        universes=universes,
        bars=bars,
        decisions=len(deciding),
        bar_seconds=float(np.mean(plain)),
        decision_seconds=float(np.mean(deciding) - np.mean(plain)) if deciding else np.nan,
        resident_bytes=float(resident),
        state_bytes=state_bytes / universes,
        snapshot_seconds=snapshot_seconds,
        restore_seconds=restore_seconds,
        digest_seconds=digest_seconds,
        return_bytes=float(np.mean([size for size, _, _ in sizes])),
        output_bytes=float(np.mean(quiet)),
        decision_bytes=float(np.mean(loud) - np.mean(quiet)) if loud else np.nan,
    )


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(*map(int, sys.argv[1:5])))))
