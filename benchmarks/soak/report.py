"""What a soak has found: tables, figures, and whether it holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.chaos.tally import Verdict
from benchmarks.page import Table
from benchmarks.soak.faults import KINDS
from benchmarks.soak.run import STEADY, VICTIM, Soak
from benchmarks.soak.samples import Sample, Usage
from benchmarks.soak.trend import Slope, growth, recoveries, slope
from benchmarks.soak.world import ASSETS, PARTITIONS

__all__ = ["Findings"]

MB = 1e6
#: A shorter soak says nothing of slopes, and its faults follow one another too closely.
TELLING_SECONDS = 900.0
#: Memory grows when the whole interval of its slope lies above this share of it an hour.
TOLERATED = 0.05
#: Lag is back when it has been below one second's records for so long.
HOLD_SECONDS = 10.0


@dataclass(frozen=True)
class Findings:
    """All that is said of a soak.

    Slopes and growth begin when each kind of fault has struck once, which is when every buffer has been as
    full as it gets; a soak without a whole rotation leaves out its first fifth.
    """

    soak: Soak
    fed: dict[str, int]
    verdict: Verdict

    @cached_property
    def samples(self) -> list[Sample]:
        """Between the first record and the last."""
        return [s for s in self.soak.sampler.samples if self.soak.started <= s.time <= self.soak.ended]

    @cached_property
    def warm_from(self) -> float:
        """When warm-up ends, seconds since 1970."""
        faults, size = self.soak.faults, self.soak.size
        return faults[len(KINDS)].time if len(faults) > len(KINDS) else self.soak.started + 0.2 * size.soak

    @cached_property
    def mine(self) -> list[tuple[float, Usage]]:
        """Of the worker that is never ended."""
        return [(s.time, s.workers[STEADY][2]) for s in self.samples if STEADY in s.workers]

    @cached_property
    def warm(self) -> list[tuple[float, Usage]]:
        """The same after warm-up."""
        return [(t, usage) for t, usage in self.mine if t >= self.warm_from]

    @cached_property
    def rss(self) -> Slope:
        """MB an hour."""
        times = [t for t, _ in self.warm]
        return slope(times, [u.rss / MB for _, u in self.warm], block=min(120.0, self.soak.size.soak / 10))

    def _growth(self, name: str) -> float:
        """From the first rotation of faults after warm-up to the last, so that like is held beside like."""
        times = [t for t, _ in self.warm]
        stretch = min(len(KINDS) * self.soak.size.every, 0.4 * (times[-1] - times[0]))
        return growth(times, [getattr(u, name) for _, u in self.warm], stretch=stretch)

    @cached_property
    def limit(self) -> float:
        """Records that may wait: one second's."""
        return self.soak.rate

    @cached_property
    def back(self) -> NDArray[np.float64]:
        """Seconds until lag was back, of each fault."""
        size = self.soak.size
        return recoveries(
            [s.time for s in self.samples],
            [s.total_lag for s in self.samples],
            [f.time for f in self.soak.faults],
            limit=self.limit,
            hold=min(HOLD_SECONDS, size.every / 4),
        )

    @cached_property
    def lags(self) -> list[int]:
        """All that are known."""
        return [lag for s in self.samples if (lag := s.total_lag) is not None]

    @cached_property
    def lag_end(self) -> float:
        """Median of the last half of a minute."""
        last = min(30, max(1, len(self.lags) // 4))
        return float(np.median(self.lags[-last:]))

    @cached_property
    def unmatched(self) -> int:
        """Regime updates that the observer saw beyond the cross-sections fed, of all partitions."""
        return int(self.soak.observer.lines[-1]["count"]) - self.fed["cross_sections"]

    def holds(self) -> bool:
        """Whether nothing is lost and, where the soak was long enough to tell, nothing grows."""
        if not self.verdict.holds or self.unmatched:
            return False
        if self.soak.size.soak < TELLING_SECONDS:
            return True
        flat = self.rss.low <= TOLERATED * float(np.median([u.rss / MB for _, u in self.warm]))
        steady = self._growth("descriptors") <= 0 and self._growth("threads") <= 0
        return flat and steady and not np.isnan(self.back).any() and self.lag_end <= self.limit

    def figures(self) -> dict[str, float]:
        """The last line."""
        soak = self.soak
        return {
            "minutes": (soak.ended - soak.started) / 60,
            "rate_asset_ticks_per_s": soak.fed_rate * ASSETS,
            "share_of_maximum": soak.fed_rate / soak.maximum,
            "rss_slope_mb_per_hour": self.rss.value,
            "rss_slope_low": self.rss.low,
            "rss_slope_high": self.rss.high,
            "rss_max_mb": max(u.rss for s in self.samples for _, _, u in s.workers.values()) / MB,
            "descriptors_growth": self._growth("descriptors"),
            "threads_growth": self._growth("threads"),
            "lag_max": max(self.lags),
            "lag_end": self.lag_end,
            "recovery_worst_s": float(np.max(self.back, where=~np.isnan(self.back), initial=0.0)),
            "not_back": int(np.isnan(self.back).sum()),
            "faults": len(soak.faults),
            "begun_again": soak.begun_again,
            "unmatched": self.unmatched,
            "lost": self.verdict.lost,
            "duplicated": self.verdict.duplicated,
        }

    def words(self) -> str:
        """One sentence for the page."""
        soak, verdict, fed = self.soak, self.verdict, self.fed["cross_sections"]
        return (
            f"{(soak.ended - soak.started) / 60:.3g} minutes, {len(soak.faults)} faults; "
            f"{fed:,} cross-sections fed and {fed + self.unmatched:,} seen. "
            f"On {soak.size.judged} of {PARTITIONS} partitions, replayed without interruption and compared "
            f"byte by byte: {verdict.lost} lost, {verdict.duplicated} doubled, "
            f"{verdict.mismatched_bytes} bytes that differ."
        )

    def tables(self) -> list[Table]:
        """For the terminal and the page."""
        lives = self._lives()
        return [self._summary(), self._faults(), *([lives] if lives is not None else [])]

    def _summary(self) -> Table:
        soak, fed = self.soak, self.fed
        lines = [x for x in soak.observer.lines if soak.started <= x["time"] <= soak.ended]
        p50, p99 = (1e3 * float(np.median([line[key] for line in lines])) for key in ("p50", "p99"))
        (begun, before), (ended, after) = self.mine[0], self.mine[-1]
        rest = f"{fed['positions']:,}, {fed['control']:,}, {fed['bad']:,}"
        minutes = (self.warm_from - soak.started) / 60
        rows: list[list[object]] = [
            ["maximum, asset-ticks/s (two workers drain a backlog)", soak.maximum * ASSETS],
            ["fed, asset-ticks/s, bursts included", soak.fed_rate * ASSETS],
            ["cross-sections fed, with the backlog", fed["cross_sections"]],
            ["regime updates seen beyond them (all partitions)", self.unmatched],
            ["positions, control, bad records fed", rest],
            ["memory of the steady worker, trend in MB/h, 95% interval", _interval(self.rss)],
            ["its median and most after warm-up, MB", _median_and_most([u.rss / MB for _, u in self.warm])],
            ["its descriptors: growth after warm-up", self._growth("descriptors")],
            ["its threads: growth after warm-up", self._growth("threads")],
            ["times that its process began again (a stuck call)", soak.begun_again],
            ["its CPU, cores", (after.cpu_seconds - before.cpu_seconds) / (ended - begun)],
            ["latency, median over quarter-seconds of p50 and p99, ms", f"{p50:.3g}, {p99:.3g}"],
            ["lag: median, most, and at the end, records", self._lag_words()],
        ]
        return Table("The soak", ("", "figure"), rows, f"Warm-up is {minutes:.1f} minutes")

    def _lag_words(self) -> str:
        return f"{np.median(self.lags):,.0f}, {max(self.lags):,}, {self.lag_end:,.0f}"

    def _faults(self) -> Table:
        rows = []
        for kind in KINDS:
            mine = [s for fault, s in zip(self.soak.faults, self.back, strict=True) if fault.kind == kind]
            if mine:
                back = [s for s in mine if not np.isnan(s)]
                of_these = [float(np.median(back)), float(np.max(back))] if back else [np.nan, np.nan]
                rows.append([kind, len(mine), len(back), *of_these])
        title = f"Seconds from a fault until fewer than {self.limit:,.0f} records wait, one second's"
        return Table(title, ("fault", "times", "before the next", "median", "worst of these"), rows)

    def _lives(self) -> Table | None:
        """Memory of the victim's lives at the same age."""
        lives: dict[int, list[tuple[float, int]]] = {}
        for each in self.samples:
            if VICTIM in each.workers:
                incarnation, age, usage = each.workers[VICTIM]
                lives.setdefault(incarnation, []).append((age, usage.rss))
        whole = {i: life for i, life in lives.items() if i > 0}
        if len(whole) < 2:
            return None
        age = min(max(a for a, _ in life) for life in whole.values())
        rows = [
            [i, min(life, key=lambda point: abs(point[0] - age))[1] / MB] for i, life in sorted(whole.items())
        ]
        return Table(f"Memory of the struck worker's lives at the age of {age:.0f} s", ("life", "MB"), rows)


def _interval(found: Slope) -> str:
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _median_and_most(values: list[float]) -> str:
    return f"{np.median(values):.4g}, {max(values):.4g}"
