"""Throughput, latency and restore of the exactly-once stream on real Kafka, beside a raw loop and peers.

One broker, one partition, one worker process. docs/streaming.md says what is measured and how.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import workload
from benchmarks.brokers import running_broker
from benchmarks.harness import last_line, options, show
from benchmarks.stream import contestants, ours, raw_loop, whole
from benchmarks.stream.bus import Ladder, race
from benchmarks.stream.cluster import Cluster
from benchmarks.stream.drain import DrainFailed
from benchmarks.stream.inputs import fill, singles
from benchmarks.stream.job import Job
from benchmarks.stream.kernel import NANOSECONDS, calibrate
from benchmarks.stream.latency import RATE, latency
from benchmarks.stream.plan import FULL, QUICK, Plan
from benchmarks.stream.restoring import BARS, default_tail, restore
from benchmarks.stream.scaling import scaling
from benchmarks.stream.stages import stages
from stream_allocator.stream.topics import create

RAW, OURS, QUIX, FAUST = "raw loop", "stream_allocator", "Quix Streams", "Faust"
PILOT_BARS = 400
ASSETS = 50


class Run:
    """One run of the benchmark: its broker, its sizes, its figures."""

    def __init__(self, cluster: Cluster, plan: Plan, seed: int, turns: int, folder: str) -> None:
        self.cluster, self.plan, self.seed, self.turns, self.folder = cluster, plan, seed, turns, folder
        self.begun = time.monotonic()
        self.figures: dict[str, float | None] = {}

    def note(self, words: str) -> None:
        """Progress, on standard error."""
        print(f"{time.monotonic() - self.begun:5.0f} s  {words}", file=sys.stderr, flush=True)

    @property
    def late(self) -> bool:
        """Whether tables without a key are left out."""
        return time.monotonic() - self.begun > self.plan.extras_until

    # -- the bus ---------------------------------------------------------------------------------

    def bus(self, peers: bool) -> None:
        """Cross-sections and single-asset records with the kernel in place of the engine."""
        universe, plan = workload.universe(ASSETS), self.plan
        side = [RAW, OURS] + ([QUIX] if peers else [])
        full = peers and plan.faust_bars > 0
        self.note("bus alone: cross-sections")
        events = list(workload.cross_sections(universe, plan.bars, self.seed))
        cross = self._race("cross", events, plan.bars, side + ([FAUST] if full else []))
        self.note("bus alone: single-asset records")
        alone = self._race("single", singles(events[: plan.single_bars]), plan.single_bars, side)
        self._table("The bus alone: cross-sections of 50", cross)
        if full:
            self.note("bus alone: single-asset records, Faust")
            slow = self._race("single", singles(events[: plan.faust_bars]), plan.faust_bars, [FAUST])
            alone.rates.update(slow.rates)
            alone.failed.update(slow.failed)
        self._table("The bus alone: single-asset records", alone)
        self.figures |= {
            "bus_ratio_to_raw": cross.ratio(OURS, RAW),
            "bus_ratio_to_quix": cross.ratio(OURS, QUIX),
            "single_ratio_to_quix": alone.ratio(OURS, QUIX),
        }

    def packed_bus(self) -> None:
        """Packed cross-sections, read as such by both sides."""
        self.note("bus alone: packed cross-sections")
        events = workload.cross_sections(workload.universe(ASSETS), self.plan.bars, self.seed)
        self._table(
            "The bus alone: packed cross-sections of 50",
            self._race("packed", events, self.plan.bars, [RAW, OURS], packed=True),
        )

    def _race(self, name: str, events: Iterable[Any], bars: int, names: list[str], **kind: bool) -> Ladder:
        inputs = fill(self.cluster, name, events, bars, **kind)
        return race(
            self.cluster, inputs, names, turns=self.turns, repeats=self.plan.repeats, folder=self.folder
        )

    def _table(self, title: str, ladder: Ladder) -> None:
        rows = [
            [name, _thousands(rates), _range(rates), ladder.ratio(name, RAW), ladder.failed.get(name, "")]
            for name, rates in ladder.rates.items()
        ]
        show(
            title,
            ["contestant", "k asset-ticks/s", "range", "to raw", "failed"],
            rows,
            f"kernel {NANOSECONDS:.0f} ns an asset; exactly once; medians of {self.plan.repeats}",
        )

    # -- the engine ------------------------------------------------------------------------------

    def engine(self) -> None:
        """The whole engine from memory and through Kafka, plain and packed."""
        plan, universe = self.plan, workload.universe(ASSETS)
        self.note("whole engine: pilot")
        pilot, _ = whole.from_memory(PILOT_BARS, self.seed, packed=True)
        bars = max(PILOT_BARS, round(pilot * plan.engine_seconds / ASSETS))
        rows, best = [], (0.0, 0.0)
        for form in ("plain", "packed"):
            packed = form == "packed"
            events = workload.cross_sections(universe, bars, self.seed)
            inputs = fill(self.cluster, f"engine-{form}", events, bars, packed=packed)
            memory, kafka = [], []
            for _ in range(plan.repeats):
                self.note(f"whole engine: {form}, {bars} cross-sections")
                rate, digest = whole.from_memory(bars, self.seed, packed=packed)
                memory.append(rate)
                kafka.append(whole.through_kafka(self.cluster, inputs, digest))
            through, alone = statistics.median(kafka), statistics.median(memory)
            rows.append([form, _thousands(memory), _thousands(kafka), _range(kafka), through / alone])
            best = max(best, (through, through / alone))
            if packed and not self.late:
                self._stages(inputs)
        show(
            "The whole engine: R=256 on every tick, moments, a decision every 21 bars",
            ["records", "from memory, k/s", "through Kafka, k/s", "range", "ratio"],
            rows,
            f"{bars} cross-sections of 50; the JSON line has the faster form; audit chains of both are equal",
        )
        self.figures |= {"engine_ratio_to_memory": best[1], "engine_asset_ticks_per_s": best[0]}

    def _stages(self, inputs: Any) -> None:
        self.note("where the time goes")
        found = stages(self.cluster, inputs)
        rows = [[stage, us, us / found["total"]] for stage, us in found.items()]
        show("Where the time goes: microseconds of a packed record of 50", ["stage", "us", "share"], rows)

    # -- latency ---------------------------------------------------------------------------------

    def latency(self, peers: bool) -> None:
        """From produce to visible, at 50 cross-sections a second."""
        floor, ours_name = "raw loop, kernel", "stream_allocator, engine"
        racers: dict[str, Callable[[Job], contestants.Running]] = {
            floor: lambda job: contestants.fork(raw_loop.run, job),
            "stream_allocator, kernel": lambda job: self._worker(ours.run_bare, job),
            ours_name: lambda job: self._worker(ours.run_whole, job),
            "Quix Streams, kernel": lambda job: contestants.peer("quix_app", job),
        }
        if not self.plan.workers:
            del racers["stream_allocator, kernel"], racers["Quix Streams, kernel"]
        elif not peers:
            del racers["Quix Streams, kernel"]
        seen: dict[str, list[Any]] = {name: [] for name in racers}
        for again in range(self.plan.repeats):
            for name, start in racers.items():
                if again and name not in (floor, ours_name):
                    continue  # no key asks for it
                self.note(f"latency: {name}")
                tag = name.lower().replace(", ", "-").replace(" ", "-").replace("_", "-")
                try:
                    found = latency(
                        *(self.cluster, tag, start, self.plan.paced, self.seed),
                        turns=self.turns,
                        folder=self.folder,
                    )
                except DrainFailed as failure:
                    if not name.startswith(QUIX):
                        raise
                    self.note(f"{name}: {failure}")
                    continue
                seen[name].append(found)
        rows, p99 = [], {}
        for name, runs in seen.items():
            if not runs:
                continue
            p50, p99[name], worst = (
                statistics.median([run.at(q) for run in runs]) if q < 100 else max(run.at(q) for run in runs)
                for q in (50, 99, 100)
            )
            rows.append([name, p50, p99[name], worst, sum(len(run.milliseconds) for run in runs)])
            if name == ours_name:
                self.figures |= {"p50_ms": p50, "p99_ms": p99[name]}
        self.figures["p99_ratio_to_raw"] = p99[ours_name] / p99[floor]
        show(
            f"Latency at {RATE:.0f} cross-sections of 50 assets a second, ms",
            ["contestant", "p50", "p99", "max", "records"],
            rows,
            "produce to a committed record seen by another process; none left out, decisions included; "
            "percentiles are medians over the repeats",
        )

    def _worker(self, target: Callable[[Job], None], job: Job) -> contestants.Running:
        create(ours.place(job.bootstrap, job.tag, job.inputs))
        return contestants.fork(target, job)

    # -- scaling and restore ---------------------------------------------------------------------

    def scaling(self) -> None:
        """Workers beside each other."""
        rate = self.figures["engine_asset_ticks_per_s"] or 0.0
        rows: list[list[Any]] = []
        for workers in self.plan.workers:
            self.note(f"scaling: {workers} workers")
            bars = max(PILOT_BARS, round(rate * self.plan.engine_seconds / ASSETS / workers))
            found = scaling(self.cluster, workers, bars, self.seed)
            rows.append([workers, found / 1e3, found / (rows[0][1] * 1e3) if rows else 1.0])
        show(
            "Scaling: whole engines on as many partitions",
            ["workers", "k asset-ticks/s", "to one"],
            rows,
            "broker and workers share this machine's cores",
        )

    def restore(self) -> None:
        """A fresh worker's verified restore, at the longest tail that the default permits and as it falls."""
        every = default_tail()
        bars = 2 * every - 1 if self.plan.short_restore else BARS
        cases = {"longest tail": (bars - every + 1, bars)}
        if not self.plan.short_restore:
            cases["as it falls"] = (every, BARS)
        rows = []
        for name, (snapshot_bars, bars) in cases.items():
            self.note(f"restore: {name}")
            found = restore(self.cluster, self.seed, snapshot_bars, bars)
            rows.append([name, found.bars, found.replayed, found.seconds, found.building])
            self.figures.setdefault("restore_500_s", found.seconds)
        show(
            "Verified restore of 500 assets by a fresh worker",
            ["snapshot", "bars", "replayed", "seconds", "seconds to build"],
            rows,
            ("days only" if self.plan.short_restore else "504 daily and 390 minute bars")
            + f"; the default takes a snapshot every {every} bars; seconds are those of the worker's log",
        )


def _thousands(rates: list[float]) -> float | None:
    return statistics.median(rates) / 1e3 if rates else None


def _range(rates: list[float]) -> str:
    return f"{min(rates) / 1e3:.0f}-{max(rates) / 1e3:.0f}" if rates else ""


KEYS = (
    *("bus_ratio_to_raw", "bus_ratio_to_quix", "single_ratio_to_quix", "engine_ratio_to_memory"),
    *("engine_asset_ticks_per_s", "p50_ms", "p99_ms", "p99_ratio_to_raw", "restore_500_s"),
)


def main() -> None:
    arguments = options(__doc__)
    plan = QUICK if arguments.quick else FULL
    peers = contestants.missing_peers() is None
    contestants.prepare()
    turns = calibrate()
    with running_broker() as broker, tempfile.TemporaryDirectory() as folder:
        run = Run(Cluster(broker.bootstrap_servers), plan, arguments.seed, turns, folder)
        run.note(broker.description)
        run.bus(peers)
        run.latency(peers)
        run.restore()
        run.engine()
        if not run.late:
            run.packed_bus()
        if plan.workers:
            run.scaling()
        run.note("done")
    last_line({key: run.figures[key] for key in KEYS})


if __name__ == "__main__":
    main()
