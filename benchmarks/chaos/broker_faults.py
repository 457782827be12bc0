"""The campaign of broker faults: two workers on a replicated cluster to which everything is done.

It goes by rounds, each with a cluster, topics and verdict of its own; what a round found is kept in a file,
so a campaign that was interrupted goes on with the next one.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.brokers.cluster import LocalCluster
from benchmarks.chaos.child import Child
from benchmarks.chaos.faults import KINDS, Stage, schedule
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import Service
from benchmarks.chaos.verdict import Verdict, verdict_of
from benchmarks.chaos.warm import warm
from benchmarks.chaos.world import WIDTHS, make_world
from benchmarks.harness import show
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.stream.topics import create
from stream_allocator.topology import Topology

__all__ = ["LONG", "QUICK", "Happened", "Round", "Size", "one_round", "prepare", "run"]

DISK_MEGABYTES = 512
#: A static member and a dynamic one.
INSTANCES = ("static", None)
SESSION_SECONDS, TRANSACTION_SECONDS = 3.0, 4.0
REQUEST_SECONDS = 30.0
#: Of the workers' group, round by round. A member of the new protocol is dropped by the broker's clock.
PROTOCOLS = ("classic", "consumer")
CLUSTER = {
    "group.consumer.session.timeout.ms": str(round(1000 * SESSION_SECONDS)),
    "group.consumer.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True)
class Size:
    """How much a campaign is.

    Attributes
    ----------
    faults : int
    kinds : sequence of str
        Keys of ``KINDS``.
    round_faults : int
        Of a round.
    rate : float
        Bars a second that every universe is fed.
    widths : sequence of int
        Assets of each universe.
    partitions : int
    warm_bars : int
        Before the first fault: compiled, joined, and past the warm-up of the regimes.
    """

    faults: int
    kinds: Sequence[str]
    round_faults: int
    rate: float
    widths: Sequence[int]
    partitions: int
    warm_bars: int


LONG = Size(faults=100, kinds=[*KINDS], round_faults=20, rate=6.0, widths=WIDTHS, partitions=4, warm_bars=30)
QUICK = Size(
    faults=4,
    kinds=["transaction coordinator killed", "answers lost", "leaders moved", "disk full"],
    round_faults=4,
    rate=8.0,
    widths=(6, 8, 10, 12),
    partitions=2,
    warm_bars=25,
)


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault, and what became of it.

    Attributes
    ----------
    kind : str
    detail : str
        To whom it was done.
    seconds : float
        From its beginning until it was mended.
    in_sync : float
        From then until every replica was in sync.
    recovery : float
        From then until every replica was in sync and all that had been fed was decided and visible.
    """

    kind: str
    detail: str
    seconds: float
    in_sync: float
    recovery: float


@dataclass(frozen=True)
class Round:
    """What one round found.

    Attributes
    ----------
    seed : int
    protocol : str
        Of the workers' group.
    faults : list of Happened
    verdict : Verdict
    bars : int
        Fed to every universe.
    seconds : float
    sessions_lost, restores, kept, aborts : int
        Sessions that ended, partitions restored or kept over a rebalance, transactions that failed.
    resident_mb : float
        Most memory that a worker had.
    """

    seed: int
    protocol: str
    faults: list[Happened]
    verdict: Verdict
    bars: int
    seconds: float
    sessions_lost: int
    restores: int
    kept: int
    aborts: int
    resident_mb: float


def one_round(
    folder: Path,
    cluster: LocalCluster,
    size: Size,
    kinds: Sequence[str],
    seed: int,
    protocol: str = PROTOCOLS[0],
    note: Callable[[str], None] = print,
) -> Round:
    """Let faults happen, one after the other, to a cluster on which nothing else goes on; then judge.

    Parameters
    ----------
    folder : path
        For the topology, logs and notes.
    cluster : LocalCluster
        Up and in sync, never used before.
    size : Size
    kinds : sequence of str
        The faults in their order, keys of ``KINDS``.
    seed : int
    protocol : str
        Of the workers' group.
    note : callable
        Told of every fault.

    Raises
    ------
    RuntimeError
        When a process ends that should not, or what was fed is not decided in time after a fault.
    """
    started = time.monotonic()
    world = make_world(
        folder,
        cluster.bootstrap_servers,
        seed=seed,
        widths=size.widths,
        partitions=size.partitions,
        replication=3,
        min_insync=2,
        worker={
            "session_timeout_seconds": SESSION_SECONDS,
            "transaction_timeout_seconds": TRANSACTION_SECONDS,
            "group_protocol": protocol,
        },
    )
    warm(world)
    direct = world.topology.model_copy(update={"bootstrap_servers": cluster.direct_servers})
    if Child(partial(prepare, direct), folder / "topics.log").wait(90) != 0:
        raise RuntimeError(f"the topics could not be created; see {folder / 'topics.log'}")
    group = world.topology.worker.group
    stage = Stage(
        cluster, np.random.default_rng([seed, 1]), group, [f"{group}-{INSTANCES[0]}"], SESSION_SECONDS
    )
    service = Service(folder, world, replace(world, topology=direct), INSTANCES, size.rate)
    happened = []
    try:
        service.wait_until_decided(size.warm_bars)
        for kind in kinds:
            begun = time.monotonic()
            detail = KINDS[kind](stage)
            mended, fed = time.monotonic(), service.feeder.fed
            in_sync = cluster.wait_until_in_sync()
            service.wait_until_decided(fed)
            each = Happened(kind, detail, mended - begun, in_sync, time.monotonic() - mended)
            happened.append(each)
            note(f"{kind}, {detail}: {each.seconds:.1f} s, recovered in {each.recovery:.1f} s")
        service.end()
    except BaseException:
        service.kill()
        raise
    verdict = verdict_of(direct, folder / "seen.notes", _data(cluster), processes=2)
    return Round(
        seed, protocol, happened, verdict, service.bars, time.monotonic() - started,
        **service.counts(), resident_mb=service.most_mb(),
    )  # fmt: skip


def prepare(topology: Topology) -> int:
    """Make the topics, and have the cluster make its own for offsets and transactions."""
    create(topology)
    deadline = time.monotonic() + 2 * REQUEST_SECONDS
    producer = Producer(producer_settings(topology, f"{topology.worker.group}-first"))
    producer.init_transactions(REQUEST_SECONDS)
    member = Consumer(consumer_settings(topology, topology.worker.group))
    while time.monotonic() < deadline:
        with suppress(KafkaException):
            member.committed([TopicPartition(topology.topics.returns, 0)], timeout=REQUEST_SECONDS)
            return 0
    return 1


def _data(cluster: LocalCluster) -> list[Path]:
    """Where the brokers keep their segments, as seen from here."""
    folders = [broker.directory / "data" for broker in cluster.nodes.values()]
    return folders + [disk.view / "data" for disk in cluster.disks.values()]


def run(size: Size, seed: int, folder: Path, note: Callable[[str], None]) -> Outcome:
    """Run the campaign; rounds that the folder holds already are not run again.

    Parameters
    ----------
    size : Size
    seed : int
    folder : path
    note : callable
        Told how far things are.

    Raises
    ------
    DiskUnavailable
        Where the campaign is to fill disks, and nobody may mount any.
    """
    rounds = []
    chosen = schedule(np.random.default_rng(seed), size.faults, size.kinds)
    for number, first in enumerate(range(0, size.faults, size.round_faults)):
        place, kinds = folder / f"round-{number}", chosen[first : first + size.round_faults]
        found = place / "found.json"
        if not found.exists():
            shutil.rmtree(place, ignore_errors=True)
            disk = DISK_MEGABYTES if "disk full" in kinds else None
            protocol = PROTOCOLS[number % len(PROTOCOLS)]
            with LocalCluster(place / "cluster", settings=CLUSTER, disk_megabytes=disk) as cluster:
                done = one_round(place, cluster, size, kinds, seed + number, protocol, note)
            draft = found.with_suffix(".draft")
            draft.write_text(json.dumps(asdict(done)))
            draft.rename(found)
            if done.verdict.holds:
                shutil.rmtree(place / "cluster")
        rounds.append(_read(found))
        note(f"round {number + 1}: {'holds' if rounds[-1].verdict.holds else 'DOES NOT HOLD'}")
    return _outcome(rounds)


def _read(found: Path) -> Round:
    told = json.loads(found.read_text())
    told["faults"] = [Happened(**each) for each in told["faults"]]
    told["verdict"]["findings"] = tuple(told["verdict"]["findings"])
    return Round(**told | {"verdict": Verdict(**told["verdict"])})


def _outcome(rounds: Sequence[Round]) -> Outcome:
    faults = [each for done in rounds for each in done.faults]
    rows = []
    for kind in KINDS:
        if mine := [each for each in faults if each.kind == kind]:
            recovery = [each.recovery for each in mine]
            rows.append(
                (kind, len(mine), statistics.median(each.seconds for each in mine),
                 statistics.median(recovery), max(recovery))
            )  # fmt: skip
    recovery = [each.recovery for each in faults]
    rows.append(
        ("all", len(faults), statistics.median(each.seconds for each in faults),
         statistics.median(recovery), max(recovery))
    )  # fmt: skip
    show(
        "Broker faults: seconds that each lasted, and until all was in sync, decided and visible again",
        ("fault", "count", "lasted, median", "recovery, median", "recovery, worst"),
        rows,
    )
    names = ("group", "faults", "bars", "seconds", "sessions lost", "restores", "kept", "aborts", "MB")
    show(
        "Rounds: what the two workers went through",
        ("round", "seed", *names),
        [
            (i + 1, r.seed, r.protocol, len(r.faults), r.bars, r.seconds, r.sessions_lost, r.restores,
             r.kept, r.aborts, r.resident_mb) for i, r in enumerate(rounds)
        ],
    )  # fmt: skip
    verdict = sum((done.verdict for done in rounds), Verdict())
    verdict.show("Broker faults: verdict")
    return Outcome(verdict, verdict.holds, broker_faults=len(faults))
