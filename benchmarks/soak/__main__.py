"""Half an hour at half of the maximum rate on real Kafka, with a fault each minute.

First the maximum is measured, in the same place: the workers drain a backlog. Then the feeder goes at half of
it, and each minute something is struck. At the end: slopes of memory, growth of descriptors, lag after each
fault, and the verdict of the chaos campaigns on what is on the topics. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.brokers import LocalKafka
from benchmarks.chaos.tally import Verdict
from benchmarks.chaos.verdict import verdict_of
from benchmarks.harness import last_line
from benchmarks.page import paste
from benchmarks.soak.picture import Run, draw
from benchmarks.soak.report import Findings
from benchmarks.soak.run import STEADY, VICTIM, Size, Soak
from benchmarks.soak.world import ASSETS, PARTITIONS

BROKER = {"log.segment.bytes": str(128 << 20)}
LONG = Size(1800.0, 60.0, 15.0, 20.0, 5.0, 1000, 2, 600.0)
QUICK = Size(16.0, 5.0, 2.0, 2.0, 1.0, 250, PARTITIONS, 300.0)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the same in about a minute")
    parser.add_argument("--minutes", type=float, help="how long the soak itself lasts (default 30)")
    parser.add_argument("--every", type=float, help="seconds from one fault to the next (default 60)")
    parser.add_argument("--judged", type=int, help="partitions that are replayed for the verdict")
    parser.add_argument("--picture", type=Path, help="where the plot goes, as SVG")
    parser.add_argument("--page", type=Path, help="a page of docs whose tables are replaced")
    parser.add_argument("--directory", type=Path, help="data and logs, kept; a temporary one without it")
    return parser.parse_args()


def size_of(chosen: argparse.Namespace) -> Size:
    """The chosen form, with what the command line changes."""
    size = QUICK if chosen.quick else LONG
    soak = size.soak if chosen.minutes is None else 60.0 * chosen.minutes
    judged = size.judged if chosen.judged is None else chosen.judged
    every = size.every if chosen.every is None else chosen.every
    return replace(size, soak=soak, judged=judged, every=every, first=min(size.first, every))


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
                samples = [s for s in soak.sampler.samples if s.time >= soak.started]
                draw(Run(samples, soak.observer.lines, soak.faults, STEADY, VICTIM), chosen.picture)
            soak.note(f"judging {size.judged} of {PARTITIONS} partitions")
            verdict = judge(soak, folder, broker.directory / "data")
            soak.note("judged")
    found = Findings(soak, fed, verdict)
    tables = found.tables()
    for table in tables:
        table.show()
    verdict.show(f"What is on {size.judged} of {PARTITIONS} partitions")
    if chosen.page is not None:
        paste(chosen.page, "soak", tables, words=found.words())
    last_line(found.figures())
    return 0 if found.holds() else 1


def judge(soak: Soak, folder: Path, data: Path) -> Verdict:
    """The verdict, two partitions at a time, in a process without a Kafka client, which may be forked."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        judged = range(PARTITIONS)[: soak.size.judged]
        asked = apart.submit(
            verdict_of, soak.topology, folder / "seen.notes", [data], processes=2, partitions=judged
        )
        return asked.result()


if __name__ == "__main__":
    sys.exit(main())
