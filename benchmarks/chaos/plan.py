"""How long a campaign is, what strikes whom, and how far it has come."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.chaos.worker import Strike
from benchmarks.chaos.world import WIDTHS
from benchmarks.harness import show

__all__ = ["KINDS", "RANDOM", "SLEEPS", "STRETCHES", "Plan", "Progress", "Size", "strike_of"]

RANDOM = "at random"
#: Kind of kill -> the window, the latest passage of it, the longest that the worker holds still there first
#: (what it produced leaves for the broker meanwhile), and the longest that it goes on after it, seconds.
KINDS: dict[str, tuple[str, int, float, float]] = {
    "after consume": ("consumed", 8, 0.0, 0.0),
    "mid-step": ("stepping", 150, 0.0, 0.0015),
    "after produce": ("produced", 8, 0.06, 0.0),
    "before offsets are sent": ("sending_offsets", 8, 0.06, 0.0),
    "before commit": ("committing", 8, 0.06, 0.0),
    "during commit": ("committing", 8, 0.0, 0.004),
    "after commit": ("committed", 8, 0.0, 0.0),
    "during snapshot": ("snapshotting", 12, 0.06, 0.0),
    "during restore": ("restoring", 60, 0.0, 0.0),
}
STRETCHES = 4
#: What a sleeper may sleep in: the same windows.
SLEEPS = tuple(KINDS)


@dataclass(frozen=True)
class Size:
    """How much a campaign is.

    Attributes
    ----------
    kills : int
    sleeps : int
        Workers that are paused past their time-outs.
    bars : int
        Of every universe.
    widths : sequence of int
        Assets of each universe.
    partitions : int
    snapshot_bars : int
    workers : int
        At most, at a time.
    stretch : int
        Kills after which the group's protocol may change: of ``STRETCHES`` one speaks the new one.
    """

    kills: int
    sleeps: int
    bars: int
    widths: Sequence[int]
    partitions: int
    snapshot_bars: int
    workers: int = 3
    stretch: int = 50

    @property
    def ticks(self) -> int:
        """Asset-ticks that are fed."""
        return self.bars * sum(self.widths)

    def of(self, kills: int) -> Size:
        """The same campaign with so many kills: as many sleepers and bars for each, and both protocols."""
        part = kills / self.kills
        return replace(
            self,
            kills=kills,
            sleeps=math.ceil(self.sleeps * part),
            bars=math.ceil(self.bars * part),
            stretch=max(1, min(self.stretch, kills // STRETCHES)),
        )


LONG = Size(kills=1000, sleeps=27, bars=25_000, widths=WIDTHS, partitions=4, snapshot_bars=25)
QUICK = Size(
    kills=12,
    sleeps=2,
    bars=250,
    widths=(6, 8, 10, 12),
    partitions=2,
    snapshot_bars=15,
    workers=2,
    stretch=3,
)


@dataclass
class Progress:
    """How far a campaign has come; kept in a file, from which it goes on.

    Attributes
    ----------
    seed : int
    size : Size
    kills : Counter
        Kind of kill -> how many.
    sleeps : Counter
        Kind of sleep -> how many woke again.
    tried : Counter
        Kind of kill, or "sleep" and its kind -> how many workers have ended that it was meant for, whether it
        struck them or not.
    ends : Counter
        How workers ended that nobody killed.
    seconds : float
        That the campaign has taken.
    feeder_kills : int
    zombies_told : int
        Sleepers that told what they did once they woke.
    zombies_published : int
        Sleepers that committed, after they woke, the batch in which they fell asleep.
    failures : list of str
        What should not have happened.
    """

    seed: int
    size: Size
    kills: Counter[str] = field(default_factory=Counter)
    sleeps: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    feeder_kills: int = 0
    zombies_told: int = 0
    zombies_published: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """Kills so far."""
        return self.kills.total()

    @property
    def is_done(self) -> bool:
        """Whether there were as many kills and sleepers as planned."""
        return self.killed >= self.size.kills and self.sleeps.total() >= self.size.sleeps

    @property
    def share(self) -> float:
        """Of all kills and sleepers, those that there were; up to 1, whatever is left to come by then."""
        return min(1.0, (self.killed + self.sleeps.total()) / (self.size.kills + self.size.sleeps))

    def show(self) -> None:
        """Print what was done to whom, for people."""
        show(
            f"{self.killed} SIGKILLs and {self.sleeps.total()} sleepers, seed {self.seed}, "
            f"{self.seconds:.0f} s",
            ("moment", "kills", "slept past their time-outs"),
            [[kind, self.kills[kind], self.sleeps[kind]] for kind in (*KINDS, RANDOM)],
        )
        others = {
            **self.ends,
            "feeder killed and started again": self.feeder_kills,
            "sleepers heard of once awake": self.zombies_told,
            "sleepers that published once awake": self.zombies_published,
        }
        show("beside them", ("what", "count"), [[what, count] for what, count in others.items()])
        for failure in self.failures:
            print(f"  {failure}")

    def write(self, file: Path) -> None:
        """Keep it."""
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(vars(self) | {"size": asdict(self.size)}, indent=1))
        os.replace(draft, file)

    @classmethod
    def read(cls, file: Path) -> Progress:
        """The progress that :meth:`write` kept."""
        kept = json.loads(file.read_text())
        kept["size"] = Size(**kept["size"])
        for name in ("kills", "sleeps", "tried", "ends"):
            kept[name] = Counter(kept.get(name, {}))
        return cls(**kept)


class Plan:
    """Draws what comes next. Each kind comes as often as any other: all are dealt before one comes again.

    Parameters
    ----------
    progress : Progress
        Drawing goes on from another place when a campaign goes on.
    """

    def __init__(self, progress: Progress) -> None:
        self.dice = random.Random(f"{progress.seed} {progress.killed} {progress.sleeps.total()}")
        self._progress = progress
        self._dealt: Counter[str] = Counter()

    def kind(self) -> str:
        """The next kind of kill: of those that came least the least tried, counting those under way."""
        kills, tried = self._progress.kills, self._progress.tried
        counts = {k: (kills[k] + self._dealt[k], tried[k] + self._dealt[k]) for k in (*KINDS, RANDOM)}
        least = min(counts.values())
        kind = self.dice.choice([k for k, n in counts.items() if n == least])
        self._dealt[kind] += 1
        return kind

    def sleep(self) -> str:
        """The next kind of sleep."""
        counts = {k: self._progress.sleeps[k] + self._dealt[f"sleep {k}"] for k in SLEEPS}
        kind = self.dice.choice([k for k, n in counts.items() if n == min(counts.values())])
        self._dealt[f"sleep {kind}"] += 1
        return kind

    def over(self, kind: str) -> None:
        """Whoever was to be struck so has ended, in that way or another."""
        self._dealt[kind] -= 1
        self._progress.tried[kind] += 1


def strike_of(kind: str, dice: random.Random, number: signal.Signals = signal.SIGKILL) -> Strike | None:
    """A strike of a kind; None for one at random, which somebody else must strike."""
    if kind == RANDOM:
        return None
    window, latest, hold, delay = KINDS[kind]
    return Strike(window, dice.randint(1, latest), dice.uniform(0.0, hold), dice.uniform(0.0, delay), number)  # type: ignore[arg-type]
