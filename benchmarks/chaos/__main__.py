"""Campaigns against exactly once, on real Kafka.

A table for each stage, then one JSON object: kills, broker_faults, ticks, lost, duplicated, aborted_visible,
mismatched_bytes. The exit status is 1 when anything was lost, doubled, shown too soon or different.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.chaos import back_pressure, broker_faults, kills
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.plan import LONG, QUICK, Progress
from benchmarks.harness import last_line


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the short form: done within a minute")
    parser.add_argument("--seed", type=int, default=20261125, help="of all that is drawn")
    parser.add_argument("--kills", type=int, help="SIGKILLs, instead of the form's own number")
    parser.add_argument("--faults", type=int, help="broker faults, instead of the form's own number")
    parser.add_argument(
        "--directory", type=Path, help="data, notes and logs, kept; a temporary one without it"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the campaign in that directory")
    parser.add_argument(
        "--stages", default=",".join(STAGES), help="which, separated by commas (default %(default)s)"
    )
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.stages.split(",")) - set(STAGES))
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}; there are: {', '.join(STAGES)}")
    if chosen.resume and chosen.directory is None:
        parser.error("--resume needs --directory")
    return chosen


def kill_stage(chosen: argparse.Namespace, folder: Path, note: Callable[[str], None]) -> Outcome:
    """Workers are killed, put to sleep, and come and leave."""
    kept = folder / "progress.json"
    if chosen.resume and kept.exists():
        progress = Progress.read(kept)
        note(f"goes on after {progress.killed} kills, seed {progress.seed}")
    else:
        if kept.exists():
            sys.exit(f"{folder} holds a campaign: --resume goes on with it; remove the folder to begin anew")
        size = QUICK if chosen.quick else LONG
        if chosen.kills is not None:
            size = size.of(chosen.kills)
        progress = Progress(chosen.seed, size)
    return kills.run(progress, folder, note)


def broker_stage(chosen: argparse.Namespace, folder: Path, note: Callable[[str], None]) -> Outcome:
    """Everything is done to the brokers of a replicated cluster, and to the network before them."""
    if folder.exists() and not chosen.resume:
        sys.exit(f"{folder} holds a campaign: --resume goes on with it; remove the folder to begin anew")
    size = broker_faults.QUICK if chosen.quick else broker_faults.LONG
    if chosen.faults is not None:
        size = replace(size, faults=chosen.faults)
    return broker_faults.run(size, chosen.seed, folder, note)


def flow_stage(chosen: argparse.Namespace, folder: Path, note: Callable[[str], None]) -> Outcome:
    """More input waits than fits, and the broker is slow or away: memory stays where it is."""
    size = back_pressure.QUICK if chosen.quick else back_pressure.LONG
    return back_pressure.run(size, chosen.seed, folder, note)


STAGES: dict[str, Callable[[argparse.Namespace, Path, Callable[[str], None]], Outcome]] = {
    "kills": kill_stage,
    "brokers": broker_stage,
    "flow": flow_stage,
}


def main() -> int:
    """Run the stages; the exit status."""
    chosen, begun = arguments(), time.monotonic()

    def note(words: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {words}", flush=True)

    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        root = chosen.directory or Path(scratch)
        outcomes = [STAGES[name](chosen, root / name, note) for name in chosen.stages.split(",")]
    last_line(
        {
            "kills": sum(o.kills for o in outcomes),
            "broker_faults": sum(o.broker_faults for o in outcomes),
            **{
                key: sum(getattr(o.verdict, key) for o in outcomes)
                for key in ("ticks", "lost", "duplicated", "aborted_visible", "mismatched_bytes")
            },
        }
    )
    return 0 if all(o.holds for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
