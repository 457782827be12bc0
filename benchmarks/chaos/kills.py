"""The kill campaign: workers that are killed at every window, sleep past their time-outs, come and leave."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.brokers import LocalKafka
from benchmarks.chaos.child import Child
from benchmarks.chaos.outcome import Outcome, caught_up
from benchmarks.chaos.plan import KINDS, RANDOM, STRETCHES, Plan, Progress, strike_of
from benchmarks.chaos.reader import Reader
from benchmarks.chaos.verdict import verdict_of
from benchmarks.chaos.warm import warm
from benchmarks.chaos.worker import REFUSED, start_worker
from benchmarks.chaos.world import Feeder, World, make_world
from stream_allocator.stream.topics import create

__all__ = ["run"]

#: Members of the new protocol are dropped by the broker's clock, as those of the old by the topology's.
BROKER = {
    "group.consumer.session.timeout.ms": "1500",
    "group.consumer.heartbeat.interval.ms": "300",
    "log.segment.bytes": str(128 << 20),
}
LOOP_SECONDS = 0.005
SAY_SECONDS = 5.0
FAILURES = 5  # with more it is no use going on
#: A worker that does not come to its window in so long is killed, or put to sleep, where it is.
PATIENCE = 6.0
RANDOM_SECONDS = (0.05, 2.0)
#: Past the session's and the transaction's time-outs, which are 1.5 and 2 s and looked at each half second.
ASLEEP_SECONDS = (4.0, 5.5)
AWAKE_SECONDS, DEAF_SECONDS = 1.5, 4.0  # a sleeper that woke is killed: once heard of, or not
#: Share of workers that are static members. Under the new protocol a killed one keeps its name until its
#: session ends, and its successor knocks until then.
STATIC = {"classic": 0.75, "consumer": 0.4}
LEAVING = 0.08  # chance that a worker leaves in good order instead of being killed
RESIZE = 0.06  # chance, at each end of a worker, of another number of workers
LEAVE_SECONDS = 60.0
#: So far the feed may be ahead of what the kills so far call for, and by so many more when no kill comes.
LEAD_BARS, MORE_BARS, BARS_A_SECOND = 60, 400, 20.0


@dataclass
class _Place:
    """Where a worker is, or will be."""

    name: str
    child: Child | None = None
    kind: str = ""  # of the kill or sleep that it is for; "leave" for one that is to leave
    deadline: float = 0.0
    again: float = 0.0  # not to be filled before
    held: bool = False  # by a sleeper, which goes on there when it wakes
    ending: str = ""  # what was done to it from outside


@dataclass
class _Sleeper:
    """A worker that a SIGSTOP holds."""

    child: Child
    place: _Place
    kind: str  # that was planned
    moment: str  # the same, or at random
    wakes: float
    awake: float | None = None


def run(progress: Progress, folder: Path, note: Callable[[str], None]) -> Outcome:
    """Run the campaign, or what is left of it, and judge.

    Parameters
    ----------
    progress : Progress
        Moves on; it is kept in the folder.
    folder : path
        Broker's data, notes and logs.
    note : callable
        Told how far things are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = progress.size
    with LocalKafka(folder / "broker", settings=BROKER) as broker:
        world = make_world(
            folder / "world",
            broker.bootstrap_servers,
            seed=progress.seed,
            widths=size.widths,
            partitions=size.partitions,
            worker={"snapshot_bars": size.snapshot_bars},
        )
        made = Child(partial(_create, world), folder / "topics.log")
        warm(world)
        if made.wait(60) != 0:
            raise RuntimeError(f"the topics could not be created; see {folder / 'topics.log'}")
        with _Campaign(progress, world, folder, note) as campaign:
            campaign.strike()
            campaign.finish()
        note("judging")
        verdict = verdict_of(world.topology, folder / "seen.notes", [broker.directory / "data"], processes=2)
    progress.show()
    verdict.show("the log of the kill campaign, against an uninterrupted run of it")
    holds = verdict.holds and not progress.zombies_published and not progress.failures
    return Outcome(verdict=verdict, holds=holds, kills=progress.killed)


def _create(world: World) -> int:
    create(world.topology)
    return 0


class _Campaign:
    """Feeder, reader and workers, for as long as it goes on."""

    def __init__(self, progress: Progress, world: World, folder: Path, note: Callable[[str], None]) -> None:
        self._progress, self._world, self._folder, self._note = progress, world, folder, note
        self._plan = Plan(progress)
        self._dice = self._plan.dice
        self._places = [_Place(f"w{i}") for i in range(progress.size.workers)]
        self._wanted = progress.size.workers
        self._sleepers: list[_Sleeper] = []
        self._quiet = False  # nobody may start: a sleeper is to wake into an empty group
        self._feeder = Feeder(world, folder)
        self._said = self._kept = self._struck_at = time.monotonic()

    def __enter__(self) -> _Campaign:
        self._reader = Reader(self._world.topology, self._folder / "seen.notes")
        self._feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._feeder.kill()
        for place in self._places:
            if place.child is not None:
                place.child.kill()
        for sleeper in self._sleepers:
            sleeper.child.kill()

    # -- kills -----------------------------------------------------------------------------------

    def strike(self) -> None:
        """Kill and let sleep, until there were as many as planned."""
        progress, protocol = self._progress, self._protocol()
        while not progress.is_done:
            if self._protocol() != protocol:
                self._leave_all()
                protocol = self._protocol()
            self._feeder.feed(self._due())
            self._feeder.check()
            self._reader.check()
            for i, place in enumerate(self._places):
                self._look(place, i < self._wanted)
            for sleeper in list(self._sleepers):
                self._look_at_sleeper(sleeper)
            if len(progress.failures) > FAILURES:
                raise RuntimeError("; ".join(progress.failures))
            self._say()
            time.sleep(LOOP_SECONDS)
        self._leave_all()

    def _due(self) -> int:
        """Bars that may be fed by now: a share for each strike, and more for as long as none comes."""
        bars, waited = self._progress.size.bars, time.monotonic() - self._struck_at
        spare = min(LEAD_BARS + MORE_BARS, bars // 3)
        share = int((bars - spare) * self._progress.share)
        return share + min(spare, LEAD_BARS + round(BARS_A_SECOND * waited))

    def _protocol(self) -> str:
        stretch = self._progress.killed // self._progress.size.stretch
        return "consumer" if stretch % STRETCHES == STRETCHES - 1 else "classic"

    def _look(self, place: _Place, wanted: bool) -> None:
        now = time.monotonic()
        if place.child is None:
            if wanted and not self._quiet and not place.held and now >= place.again:
                self._start(place)
            return
        if place.child.poll() is not None:
            self._ended(place)
        elif place.child.stopped:
            self._fell_asleep(place)
        elif now > place.deadline and place.ending != "left":
            if place.kind == "leave" or self._quiet:
                place.ending, place.deadline = "left", now + LEAVE_SECONDS
                place.child.send(signal.SIGTERM)
            else:  # its window may never come, as when all is fed and taken in
                place.ending, place.deadline = RANDOM, float("inf")
                place.child.send(signal.SIGSTOP if place.kind.startswith("sleep") else signal.SIGKILL)
        elif now > place.deadline:
            self._progress.failures.append(f"worker {place.child.pid} did not leave in {LEAVE_SECONDS:g} s")
            place.deadline = float("inf")
            place.child.send(signal.SIGKILL)

    def _start(self, place: _Place) -> None:
        dice, progress = self._dice, self._progress
        static = dice.random() < STATIC[self._protocol()]
        place.ending = ""
        patience, number = PATIENCE, signal.SIGKILL
        due = progress.size.sleeps * progress.killed / progress.size.kills
        asleep = len(self._sleepers) + sum(p.kind.startswith("sleep") for p in self._places if p.child)
        if progress.sleeps.total() + asleep < min(due, progress.size.sleeps) and asleep < 1:
            kind = self._plan.sleep()
            place.kind, number = f"sleep {kind}", signal.SIGSTOP
        elif dice.random() < LEAVING:
            kind, place.kind, patience = RANDOM, "leave", dice.uniform(0.5, 3.0)
        else:
            kind = place.kind = self._plan.kind()
            if kind == RANDOM:
                patience = dice.uniform(*RANDOM_SECONDS)
        place.deadline = time.monotonic() + patience
        topology = self._world.under(self._protocol())
        instance = place.name if static else None
        place.child = start_worker(topology, instance, strike_of(kind, dice, number), self._folder)

    def _ended(self, place: _Place) -> None:
        assert place.child is not None
        code, progress = place.child.poll(), self._progress
        if place.kind != "leave":
            self._plan.over(place.kind)
        if code == -signal.SIGKILL:
            at_random = place.ending == RANDOM or place.kind not in KINDS
            progress.kills[RANDOM if at_random else place.kind] += 1
            self._struck_at = time.monotonic()
        elif code == 0 and place.ending == "left":
            progress.ends["left in good order"] += 1
        elif code == REFUSED:  # as when a sleeper that woke has its name back; it is started again
            progress.ends["refused to go on, and said why"] += 1
        else:
            progress.failures.append(
                f"worker {place.child.pid} ({place.name}, {place.kind}) ended with status {code}"
            )
        place.child = None
        if self._dice.random() < RESIZE:
            self._wanted = self._dice.randint(1, len(self._places))
            place.again = time.monotonic() + self._dice.uniform(0.0, 2.0)
        if self._dice.random() < 0.02:
            self._feeder.kill()
            self._feeder.start()
            progress.feeder_kills += 1
        self._keep()

    # -- sleepers --------------------------------------------------------------------------------

    def _fell_asleep(self, place: _Place) -> None:
        """A worker sleeps: its successor comes at once, or others take over, or they too leave."""
        assert place.child is not None
        wakes = time.monotonic() + self._dice.uniform(*ASLEEP_SECONDS)
        kind = place.kind.removeprefix("sleep ")
        moment = RANDOM if place.ending == RANDOM else kind
        self._sleepers.append(_Sleeper(place.child, place, kind, moment, wakes))
        place.child = None
        case = self._dice.randrange(3)
        if case == 0:  # its successor, under the same name where it is static
            self._progress.ends["slept while its successor ran"] += 1
        elif case == 1:  # others only
            place.held = True
            self._wanted = len(self._places)
            self._progress.ends["slept while others ran"] += 1
        else:  # others, which leave before it wakes: it finds the group empty
            place.held = True
            self._quiet = True
            for other in self._places:
                other.deadline = wakes - 2.0
            self._progress.ends["slept until all had left"] += 1

    def _look_at_sleeper(self, sleeper: _Sleeper) -> None:
        now, code = time.monotonic(), sleeper.child.poll()
        if sleeper.awake is None:
            if now > sleeper.wakes and not (self._quiet and any(p.child for p in self._places)):
                sleeper.child.send(signal.SIGCONT)
                sleeper.awake = now
            return
        if code is None:
            told = sleeper.child.pid in _next(self._folder)
            if now < sleeper.awake + (AWAKE_SECONDS if told else DEAF_SECONDS):
                return
            code = sleeper.child.kill()
        self._sleepers.remove(sleeper)
        sleeper.place.held = self._quiet = False
        self._plan.over(f"sleep {sleeper.kind}")
        self._progress.sleeps[sleeper.moment] += 1
        self._struck_at = time.monotonic()
        if code == -signal.SIGKILL:
            self._progress.ends["woke, found out, went on"] += 1
        elif code == REFUSED:
            self._progress.ends["woke and refused to go on"] += 1
        else:
            self._progress.failures.append(f"sleeper {sleeper.child.pid} ended with status {code}")
        told = _next(self._folder).values()
        self._progress.zombies_told = len(told)
        self._progress.zombies_published = sum(window == "committed" for window in told)
        self._keep()

    # -- the end ---------------------------------------------------------------------------------

    def _leave_all(self) -> None:
        """All workers leave in good order, whatever was planned for them; sleepers are killed."""
        for sleeper in self._sleepers:
            self._plan.over(f"sleep {sleeper.kind}")
            sleeper.child.kill()
            sleeper.place.held = False
        self._sleepers.clear()
        self._quiet = False
        for place in self._places:
            if place.child is not None:
                place.ending, place.deadline = "left", time.monotonic() + LEAVE_SECONDS
                place.child.send(signal.SIGTERM)
        for place in self._places:
            while place.child is not None:
                self._look(place, False)
                if place.child is not None and place.child.stopped:
                    place.child.kill()
                time.sleep(LOOP_SECONDS)
        time.sleep(2.0)  # static members stay in the group until their session ends

    def finish(self) -> None:
        """Feed what is left, let workers take it all in unharmed, and let the reader come to the end."""
        topology, bars = self._world.under(self._protocol()), self._progress.size.bars
        workers = [start_worker(topology, f"w{i}", None, self._folder) for i in range(2)]
        self._feeder.feed(bars)
        self._wait(workers, lambda: self._feeder.fed >= bars)
        end = Child(partial(caught_up, topology), self._folder / "caught-up.log")
        self._wait(workers, lambda: end.poll() is not None)
        if end.poll() != 0:
            raise RuntimeError(f"the workers did not come to the end; see {self._folder / 'caught-up.log'}")
        for worker in workers:
            worker.send(signal.SIGTERM)
        for worker in workers:
            if worker.wait(LEAVE_SECONDS) != 0:
                raise RuntimeError(f"a worker left with status {worker.poll()}")
        self._feeder.kill()
        self._reader.stop()
        self._keep()

    def _wait(self, workers: list[Child], done: Callable[[], bool]) -> None:
        while not done():
            self._feeder.check()
            self._reader.check()
            for worker in workers:
                if worker.poll() is not None:
                    raise RuntimeError(f"worker {worker.pid} ended with status {worker.poll()}")
            self._say()
            time.sleep(0.02)

    def _keep(self) -> None:
        now = time.monotonic()
        self._progress.seconds += now - self._kept
        self._kept = now
        self._progress.write(self._folder / "progress.json")

    def _say(self) -> None:
        now, progress = time.monotonic(), self._progress
        if now - self._said > SAY_SECONDS:
            self._said = now
            self._note(
                f"{progress.killed} kills, {progress.sleeps.total()} slept, {self._feeder.fed} bars fed, "
                f"{self._reader.seen} records seen"
            )


def _next(folder: Path) -> dict[int, str]:
    """What sleepers passed next once awake: process id -> window. Not all can tell; some refuse to go on."""
    notes = folder / "slept.jsonl"
    told = map(json.loads, notes.read_text().splitlines() if notes.exists() else ())
    return {note["pid"]: note["next"] for note in told if "next" in note}
