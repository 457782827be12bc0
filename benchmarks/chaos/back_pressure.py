"""What a worker holds in memory while input waits and the broker is slow, or not there at all.

More waits than a worker may fetch ahead (`queued.max.messages.kbytes`, 64 MB). So its memory must stay where
it is once that is full, whatever the network does: nothing of ours may grow meanwhile.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.brokers.cluster import LocalCluster
from benchmarks.chaos.broker_faults import prepare
from benchmarks.chaos.child import Child
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import Service
from benchmarks.chaos.verdict import verdict_of
from benchmarks.chaos.warm import warm
from benchmarks.chaos.world import make_world
from benchmarks.harness import show

__all__ = ["LONG", "QUICK", "Size", "run"]

#: Of input that is fetched and waits for its turn, with what the client library spends on each record.
AHEAD_MB = 2 * 64.0
#: While a broker is away or slow, over what full input took before: noise of the allocator.
GROWTH_MB = 24.0
SLOW_BYTES = 50_000.0
LONGEST_SECONDS = 900.0


@dataclass(frozen=True)
class Size:
    """How much.

    Attributes
    ----------
    bars : int
        Of one universe.
    width : int
        Its assets.
    seconds : float
        That each trouble lasts.
    """

    bars: int
    width: int
    seconds: float


LONG = Size(bars=60_000, width=80, seconds=15.0)
QUICK = Size(bars=3_000, width=20, seconds=4.0)


def run(size: Size, seed: int, folder: Path, note: Callable[[str], None]) -> Outcome:
    """Measure, and judge what was published as in any campaign.

    Parameters
    ----------
    size : Size
    seed : int
    folder : path
    note : callable
        Told how far things are.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with LocalCluster(folder / "cluster", nodes=1) as broker:
        world = make_world(
            folder,
            broker.bootstrap_servers,
            seed=seed,
            widths=(size.width,),
            partitions=1,
            worker={"snapshot_bars": 2000, "session_timeout_seconds": 6, "transaction_timeout_seconds": 6},
        )
        warm(world)
        direct = world.topology.model_copy(update={"bootstrap_servers": broker.direct_servers})
        if Child(lambda: prepare(direct), folder / "topics.log").wait(90) != 0:
            raise RuntimeError(f"the topics could not be created; see {folder / 'topics.log'}")
        service = Service(folder, world, replace(world, topology=direct), ("static",), rate=1e6, most=100.0)
        found: list[tuple[str, float]] = []

        def measured(what: str, begun: float) -> None:
            found.append((what, service.most_mb(begun)))
            note(f"{what}: {found[-1][1]:.0f} MB")

        try:
            service.wait_until_decided(100)
            time.sleep(1.0)
            measured("at rest", time.monotonic() - 1.0)
            begun, service.most = time.monotonic(), float(size.bars)
            while service.feeder.fed < size.bars // 2:
                time.sleep(0.1)
            time.sleep(size.seconds / 3)
            measured("full input", begun)
            begun = time.monotonic()
            broker.proxy.hold(1)
            time.sleep(size.seconds)
            measured("broker away", begun)
            begun = time.monotonic()
            broker.proxy.reset()
            broker.proxy.throttle(1, SLOW_BYTES)
            time.sleep(size.seconds)
            measured(f"broker slow, {SLOW_BYTES / 1000:g} kB/s a connection", begun)
            begun = time.monotonic()
            broker.proxy.passing()
            service.wait_until_decided(size.bars, LONGEST_SECONDS)
            measured("until all caught up", begun)
            service.end()
        except BaseException:
            service.kill()
            raise
        verdict = verdict_of(direct, folder / "seen.notes", [broker.nodes[1].directory / "data"])
    rest, full, away, slow, _ = (mb for _, mb in found)
    bounded = full <= rest + AHEAD_MB and max(away, slow) <= full + GROWTH_MB
    show(
        f"Back-pressure: most memory of the worker, {size.bars} cross-sections of {size.width}",
        ("while", "MB"), found, note="bounded" if bounded else "NOT BOUNDED",
    )  # fmt: skip
    verdict.show("Back-pressure: verdict")
    return Outcome(verdict, bounded and verdict.holds)
