"""Half an hour at half of the maximum rate on real Kafka, with a fault each minute.

First the maximum is measured, in the same place: the workers drain a backlog. Then the feeder goes at half of
it, and each minute something is struck. At the end: slopes of memory, growth of descriptors, lag after each
fault, and the verdict of the chaos campaigns on what is on the topics. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.brokers import LocalKafka
from benchmarks.chaos.child import Child
from benchmarks.chaos.reader import Reader
from benchmarks.chaos.tally import Verdict
from benchmarks.chaos.verdict import verdict_of
from benchmarks.harness import last_line, show
from benchmarks.soak.faults import KINDS, Deployment, Fault
from benchmarks.soak.feeder import FeederProcess
from benchmarks.soak.fleet import Worker
from benchmarks.soak.observer import ObserverProcess
from benchmarks.soak.picture import Run, draw
from benchmarks.soak.samples import LagWatch, Sample, Sampler
from benchmarks.soak.trend import growth, recoveries, slope
from benchmarks.soak.world import ASSETS, PARTITIONS, UNIVERSES, compile_all, make_times, make_topology
from stream_allocator.stream.topics import create
from stream_allocator.topology import Topology

MB = 1e6
SHARE = 0.5
#: Records that a measurement of the maximum begins with: run lengths and windows are full after 256 bars.
WARM_BARS = 300
STEADY, VICTIM = "steady", "struck"
#: A shorter soak says nothing of slopes, and its faults follow one another too closely.
TELLING_SECONDS = 600.0
BROKER = {"log.segment.bytes": str(128 << 20)}


@dataclass(frozen=True)
class Size:
    """How long everything takes, seconds; ``snapshot_bars`` of each universe; ``judged`` partitions."""

    soak: float
    every: float
    first: float
    drain: float
    pause: float
    snapshot_bars: int
    judged: int
    patience: float


LONG = Size(1800.0, 60.0, 30.0, 20.0, 5.0, 1000, 2, 600.0)
QUICK = Size(20.0, 6.0, 2.0, 3.0, 1.0, 250, PARTITIONS, 300.0)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the same in less than a minute")
    parser.add_argument("--minutes", type=float, help="how long the soak itself lasts (default 30)")
    parser.add_argument("--judged", type=int, help="partitions that are replayed for the verdict")
    parser.add_argument("--picture", type=Path, help="where the plot goes, as SVG")
    parser.add_argument("--directory", type=Path, help="data and logs, kept; a temporary one without it")
    return parser.parse_args()


def size_of(chosen: argparse.Namespace) -> Size:
    """The chosen form, with what the command line changes."""
    size = QUICK if chosen.quick else LONG
    soak = size.soak if chosen.minutes is None else 60.0 * chosen.minutes
    judged = size.judged if chosen.judged is None else chosen.judged
    return replace(size, soak=soak, judged=judged)


class Soak:
    """The processes and what was seen of them.

    Parameters
    ----------
    folder : path
    size : Size
    """

    def __init__(self, folder: Path, size: Size) -> None:
        self._folder, self._size, self._begun = folder, size, time.monotonic()
        self.faults: list[Fault] = []
        self.maximum = self.rate = 0.0

    def note(self, words: str) -> None:
        """Tell how far things are."""
        print(f"{time.monotonic() - self._begun:7.1f} s  {words}", flush=True)

    @contextmanager
    def running(self, broker: LocalKafka) -> Iterator[None]:
        """Topics, reader, observer, feeder and workers, until the block ends."""
        path, self.topology = make_topology(self._folder, broker.bootstrap_servers, self._size.snapshot_bars)
        # whatever is forked is forked before this process has a Kafka client of its own
        made = Child(partial(_create, self.topology), self._folder / "topics.log")
        if made.wait(60) != 0:
            raise RuntimeError(f"the topics could not be created; see {self._folder / 'topics.log'}")
        self.reader = Reader(self.topology, self._folder / "seen.notes")
        times = self._folder / "fed.times"
        make_times(times, 4_000_000)
        self.broker = broker
        self.observer = ObserverProcess(path, times, self._folder)
        self.feeder = FeederProcess(path, times, self._folder)
        self.steady, self.victim = (Worker(name, path, self._folder) for name in (STEADY, VICTIM))
        self.watch = LagWatch(self.topology)
        self.sampler = Sampler([self.steady, self.victim], self.watch, broker)
        try:
            yield
        finally:
            self.sampler.close()
            self.watch.close()
            for worker in (self.steady, self.victim):
                worker.kill()
            self.feeder.kill()
            self.observer.kill()

    def measure_maximum(self) -> None:
        """Drain a backlog: cross-sections a second, everything else running as in the soak."""
        compile_all(self.topology)
        for worker in (self.steady, self.victim):
            worker.start()
        self.feeder.tell(f"burst {UNIVERSES * WARM_BARS}")
        self._until_seen(UNIVERSES * WARM_BARS // 3)
        first, then = self.observer.look(), time.monotonic()
        self._until_seen(UNIVERSES * WARM_BARS)
        guess = (UNIVERSES * WARM_BARS - first) / max(time.monotonic() - then, 0.1)
        fed = UNIVERSES * WARM_BARS + round(guess * self._size.drain)
        mark = len(self.observer.lines)
        self.feeder.tell(f"burst {fed - UNIVERSES * WARM_BARS}")
        self._until_seen(fed)
        lines = self.observer.lines[max(0, mark - 1) :]
        begun = next(i for i, line in enumerate(lines) if line["count"] > lines[0]["count"])
        time_of = [(line["time"], line["count"]) for line in lines[begun:]]
        self.maximum = (time_of[-1][1] - time_of[0][1]) / (time_of[-1][0] - time_of[0][0])
        self.rate = SHARE * self.maximum

    def _until_seen(self, count: int) -> None:
        deadline = time.monotonic() + self._size.patience
        while self.observer.look() < count:
            self._check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.observer.look()} of {count} bars after {self._size.patience:g} s")
            time.sleep(0.05)

    def soak(self) -> None:
        """The steady rate, and the faults."""
        size = self._size
        deployment = Deployment(self.broker, self.victim, self.feeder, self.rate, size.pause)
        self.feeder.tell(f"rate {self.rate}")
        self.started = time.time()
        end, due, said = time.monotonic() + size.soak, time.monotonic() + size.first, time.monotonic()
        while (now := time.monotonic()) < end:
            self._check()
            if now >= due and due < end - size.every / 2:
                self.faults.append(deployment.strike(len(self.faults)))
                due = max(due + size.every, time.monotonic())
            if now - said > 60:
                said = now
                self.note(self._say())
            time.sleep(0.05)
        self.ended = time.time()
        self.feeder.tell("rate 0")

    def _say(self) -> str:
        last = self.sampler.samples[-1]
        rss = ", ".join(f"{name} {usage.rss / MB:.0f} MB" for name, (_, _, usage) in last.workers.items())
        return f"{len(self.faults)} faults, lag {last.total_lag}, {rss}"

    def _check(self) -> None:
        for worker in (self.steady, self.victim):
            worker.check()

    def finish(self) -> dict[str, int]:
        """Let everything drain and end; what was fed."""
        fed = self.feeder.stop()
        self._until_seen(fed["cross_sections"])
        deadline = time.monotonic() + 30
        while self.watch.lag is None or sum(self.watch.lag.values()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"lag is {self.watch.lag} though all bars are there")
            time.sleep(0.1)
        self.observer.stop()
        for worker in (self.steady, self.victim):
            worker.stop()
        self.reader.stop()
        return fed


def _create(topology: Topology) -> int:
    create(topology)
    return 0


def main() -> int:
    """Run it; the exit status is 1 when something leaks, lags, or is lost."""
    chosen = arguments()
    size = size_of(chosen)
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        folder = chosen.directory or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with LocalKafka(folder / "broker", settings=BROKER, heap="768m") as broker:
            soak = Soak(folder, size)
            with soak.running(broker):
                soak.measure_maximum()
                soak.note(f"maximum {soak.maximum * ASSETS:,.0f} asset-ticks a second; soaking at half of it")
                soak.soak()
                soak.note("draining")
                fed = soak.finish()
            if chosen.picture is not None:
                draw(_run(soak), chosen.picture)
            soak.note(f"judging {size.judged} of {PARTITIONS} partitions")
            verdict = verdict_of(
                soak.topology,
                folder / "seen.notes",
                [broker.directory / "data"],
                partitions=range(PARTITIONS)[: size.judged],
            )
            return report(soak, fed, verdict, size)


def _run(soak: Soak) -> Run:
    samples = [s for s in soak.sampler.samples if s.time >= soak.started]
    return Run(samples, soak.observer.lines, soak.faults, STEADY, VICTIM)


def report(soak: Soak, fed: dict[str, int], verdict: Verdict, size: Size) -> int:
    """Print tables and the last line; the exit status."""
    samples = [s for s in soak.sampler.samples if soak.started <= s.time <= soak.ended]
    mine = [(s.time, s.workers[STEADY][2]) for s in samples if STEADY in s.workers]
    warm = [(t, u) for t, u in mine if t >= soak.started + 0.2 * size.soak]
    times = [t for t, _ in warm]
    rss = slope(times, [u.rss / MB for _, u in warm], block=min(120.0, size.soak / 10))
    stretch = min(60.0, size.soak / 10)
    descriptors = growth(times, [u.descriptors for _, u in warm], stretch=stretch)
    threads = growth(times, [u.threads for _, u in warm], stretch=stretch)
    limit = max(50.0, 0.25 * soak.rate)
    lags = [s.total_lag for s in samples]
    back = recoveries([s.time for s in samples], lags, [f.time for f in soak.faults], limit=limit)
    _show_faults(soak.faults, back, limit)
    _show_restarts(samples)
    known = [lag for lag in lags if lag is not None]
    lag_end = float(np.median([lag for lag in lags[-10:] if lag is not None] or [np.nan]))
    calm = [line for line in soak.observer.lines if soak.started <= line["time"] <= soak.ended]
    cpu = (mine[-1][1].cpu_seconds - mine[0][1].cpu_seconds) / (mine[-1][0] - mine[0][0])
    rows = [
        ["maximum, asset-ticks/s (draining a backlog, two workers)", soak.maximum * ASSETS],
        ["soaked at, asset-ticks/s", soak.rate * ASSETS],
        ["cross-sections fed, with the backlog", fed["cross_sections"]],
        ["positions, control, bad records fed", f"{fed['positions']}, {fed['control']}, {fed['bad']}"],
        [
            "memory of the steady worker, MB/h after warm-up",
            f"{rss.value:.3g} [{rss.low:.3g}, {rss.high:.3g}]",
        ],
        ["its memory at most, MB", max(u.rss for _, u in mine) / MB],
        ["its descriptors, threads: growth after warm-up", f"{descriptors:g}, {threads:g}"],
        ["its CPU, cores", cpu],
        ["latency in seconds without a fault's wake: median of p50 and p99, ms", _typical(calm)],
        ["lag at most, records", max(known)],
        ["lag at the end (median of 10 s), records", lag_end],
    ]
    show("The soak", ("", "figure"), rows)
    verdict.show(f"What is on {size.judged} of {PARTITIONS} partitions")
    last_line(
        {
            "minutes": (soak.ended - soak.started) / 60,
            "rate_asset_ticks_per_s": soak.rate * ASSETS,
            "share_of_maximum": soak.rate / soak.maximum,
            "rss_slope_mb_per_hour": rss.value,
            "rss_max_mb": max(u.rss for s in samples for _, _, u in s.workers.values()) / MB,
            "descriptors_growth": descriptors,
            "lag_max": max(known),
            "lag_end": lag_end,
            "recovery_worst_s": float(np.max(back)),
            "faults": len(soak.faults),
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
        }
    )
    grows = descriptors > 0 or not rss.is_flat or np.isnan(back).any() or lag_end > limit
    long_enough = size.soak >= TELLING_SECONDS
    return 0 if verdict.holds and not (grows and long_enough) else 1


def _typical(lines: Sequence[dict[str, float]]) -> str:
    p50, p99 = (1e3 * float(np.median([line[key] for line in lines])) for key in ("p50", "p99"))
    return f"{p50:.3g}, {p99:.3g}"


def _show_faults(faults: Sequence[Fault], back: np.ndarray, limit: float) -> None:
    rows = []
    for kind in KINDS:
        mine = [seconds for fault, seconds in zip(faults, back, strict=True) if fault.kind == kind]
        if mine:
            rows.append([kind, len(mine), float(np.median(mine)), float(np.max(mine))])
    title = f"Seconds from a fault until lag is below {limit:.0f} records for good"
    show(title, ("fault", "times", "median", "worst"), rows)


def _show_restarts(samples: Sequence[Sample]) -> None:
    """Memory of the victim's lives at the same age."""
    lives: dict[int, list[tuple[float, int]]] = {}
    for each in samples:
        if VICTIM in each.workers:
            incarnation, age, usage = each.workers[VICTIM]
            lives.setdefault(incarnation, []).append((age, usage.rss))
    whole = {i: life for i, life in lives.items() if i > 0}
    if len(whole) < 2:
        return
    age = min(max(a for a, _ in life) for life in whole.values())
    at = {i: min(life, key=lambda point: abs(point[0] - age))[1] / MB for i, life in whole.items()}
    rows = [[i, megabytes] for i, megabytes in sorted(at.items())]
    show(f"Memory of the struck worker's lives at the age of {age:.0f} s, MB", ("life", "MB"), rows)


if __name__ == "__main__":
    sys.exit(main())
