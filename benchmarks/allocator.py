"""The robust allocator: time of a solve beside general solvers and libraries, and what those get wrong.

Every answer, ours and a peer's, is judged by the same NumPy code from the weights alone: the worst violation
of any limit, and the distance to a proven lower bound of the objective, relative to the objective.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.allocators.cases import Case, cases
from benchmarks.allocators.comparison import ANSWERS, Score, compare
from benchmarks.allocators.features import COLUMNS, FEATURES
from benchmarks.allocators.programmes import KINDS, drifting, random_programme
from benchmarks.allocators.solvers import clarabel_run
from benchmarks.allocators.speed import (
    Ours,
    Peer,
    Tally,
    against_cone,
    confirm,
    libraries_run,
    measure,
    peers_run,
)
from benchmarks.harness import last_line, options, show
from stream_allocator.allocate import Program


class Sizes:
    """How much a run does; ``--quick`` ends within 45 s."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.seconds = 0.2 if quick else 3.0  # of measuring one kind of programme
        self.random, self.pathological = (20, 12) if quick else (200, 50)
        self.wild = 30 if quick else 300

    def bars(self, kind: str, n: int) -> int:
        """Programmes of a kind that are solved."""
        if kind == "dense" and n > 100:
            return 0 if self.quick else 12
        return {100: 30, 500: 20, 2000: 8}[n] if self.quick else {100: 200, 500: 120, 2000: 60}[n]

    def peers(self, n: int) -> int:
        """How many of those the general solvers solve; OSQP needs a second for one with n = 2000."""
        return {100: 20, 500: 8, 2000: 0}[n] if self.quick else {100: 100, 500: 60, 2000: 20}[n]

    def confirmed(self, kind: str, n: int) -> int:
        """How many of those Clarabel and OSQP confirm."""
        if kind == "dense" and n > 100:
            return 2
        return {100: 6, 500: 2, 2000: 1}[n] if self.quick else {100: 60, 500: 20, 2000: 4}[n]


def short(number: float, digits: int = 3) -> float:
    """Rounded to significant digits."""
    return float(f"{number:.{digits}g}")


def ours(sizes: Sizes, seed: int) -> tuple[dict[tuple[str, int], tuple[list[Program], Ours]], Tally, float]:
    """Every kind of programme: the tables, who confirmed it, and the robust kind's distance from Clarabel."""
    found: dict[tuple[str, int], tuple[list[Program], Ours]] = {}
    fast, sure, tally, distance = [], [], Tally(), 0.0
    measure(drifting("robust", 100, 5, seed), 0.0)  # compiled code is loaded
    for kind in KINDS:
        for n in (100, 500, 2000) if kind == "plain" else (100, 500):
            bars = sizes.bars(kind, n)
            if not bars:
                continue
            programs = drifting(kind, n, bars, seed)
            found[kind, n] = programs, (run := measure(programs, sizes.seconds))
            some = programs[: sizes.confirmed(kind, n)]
            confirmed, live = confirm(some)
            tally += confirmed
            apart, sharp = against_cone(some, run.answers)
            if kind == "robust":
                distance = float(np.fmax(distance, apart))
            cone = clarabel_run(some[:8]).milliseconds
            times = (run.milliseconds(), run.undisturbed, run.milliseconds(0.99), live, cone)
            fast.append([kind, n, bars, run.steps, *(short(ms) for ms in times)])
            sufficed = (f"{run.proven} of {bars}", f"{confirmed.confirmed} of {confirmed.asked}")
            errors = (short(run.violation, 1), short(run.gap, 1))
            sure.append([kind, n, *errors, *sufficed, short(apart, 1), f"{sharp} of {len(some)}"])
    columns = ("programme", "n", "bars", "steps", "median", "least", "p99", "with OSQP, cold", "Clarabel")
    note = "least: median over the bars of the best of many rounds: without what else the machine does"
    show("This package from bar to bar: Newton with its certificate, ms", columns, fast, note)
    judged = ("programme", "n", "violation", "gap", "Newton alone", "OSQP agrees", "from Clarabel", "sharp")
    show("How sure that is", judged, sure, "sharp: where Clarabel itself is within 1e-10 of its optimum")
    show("Programmes", ["programme", "limits"], list(KINDS.items()))
    return found, tally, distance


def peers(
    sizes: Sizes, found: dict[tuple[str, int], tuple[list[Program], Ours]]
) -> dict[tuple[str, int], float]:
    """The plain programme by peers: the table, and how many times faster ours is."""
    rows, times = [], {}
    for n in (100, 500, 2000):
        if not sizes.peers(n):
            continue
        programs, run = found["plain", n]
        some = programs[: sizes.peers(n)]
        unproven = len(programs) - run.proven
        beside = [Peer("this package", run.milliseconds(), run.violation, run.gap, unproven)]
        beside += peers_run(some, run)
        if n == 100:
            beside += libraries_run(some[: 6 if sizes.quick else 30], run)
        for peer in beside:
            times[peer.name, n] = peer.milliseconds / run.milliseconds()
            speed = (short(peer.milliseconds), short(times[peer.name, n]))
            errors = (short(peer.violation, 1), short(peer.gap, 1))
            rows.append([n, peer.name, *speed, *errors, peer.failed])
    show(
        "The plain programme by others",
        ["n", "by", "median ms", "times ours", "violation", "gap", "not solved"],
        rows,
        "OSQP and PIQP cannot say the volatility cap, which does not bind",
    )
    return times


def comparison(problems: list[Case]) -> None:
    """Libraries on the same problems: who solves what, who fails, and what can be said to each."""
    scores = compare(problems)
    rows: list[list[object]] = []
    wrong: list[list[object]] = []
    refusals: list[list[object]] = []
    for name, score in scores.items():
        if score is None:
            rows.append([name, "not installed", *[None] * 7])
            continue
        counts = [score.verdicts[answer] for answer in ANSWERS]
        errors = (short(score.violation, 1), short(score.loss, 1))
        rows.append([name, *counts, *errors, short(score.milliseconds)])
        refusals.append([name, ", ".join(score.refusals)])
        wrong += _failures(name, score)
    show(
        f"{len(problems)} problems, {sum(not case.feasible for case in problems)} of them without an answer",
        ["by", *ANSWERS, "violation", "loss", "median ms"],
        rows,
        "wrong: a limit broken by more than 1e-6, a loss of more than 1e-4, or an answer where there is none",
    )
    if wrong:
        show("Where they fail", ["by", "problems", "of", "silent wrong", "gave up"], wrong)
    show("How they refuse", ["by", "raises or returns"], refusals)
    show("What can be said", COLUMNS, FEATURES)


def _failures(name: str, score: Score) -> list[list[object]]:
    return [
        [name, family, sum(counts.values()), counts["silent wrong"], counts["gave up"]]
        for family, counts in score.by_family.items()
        if counts["silent wrong"] or counts["gave up"]
    ]


def main() -> None:
    """Run it."""
    asked = options(__doc__)
    sizes = Sizes(asked.quick)
    with threadpool_limits(1):
        found, tally, distance = ours(sizes, asked.seed)
        times = peers(sizes, found)
        problems = cases(sizes.random, sizes.pathological, asked.seed)
        comparison(problems)
        tally += confirm([case.program for case in problems if case.feasible])[0]
        tally += confirm([random_programme(asked.seed + i) for i in range(sizes.wild)])[0]
    runs = [run for _, run in found.values()]
    last_line(
        {
            **{f"n{n}_ms": found["plain", n][1].milliseconds() for n in (100, 500, 2000)},
            "speedup_osqp_n500": min(times["OSQP", 500], times["OSQP, polished", 500]),
            "speedup_piqp_n500": times.get(("PIQP", 500)),
            "speedup_skfolio_n100": times.get(("skfolio", 100)),
            "speedup_cvxportfolio_n100": times.get(("cvxportfolio, compiled once", 100)),
            "worst_violation": max(run.violation for run in runs),
            "worst_gap": max(run.gap for run in runs),
            "robust_n100_ms": found["robust", 100][1].milliseconds(),
            "robust_n500_ms": found["robust", 500][1].milliseconds(),
            "robust_gap_vs_cone": distance,
            "newton_share": tally.share,
        }
    )


if __name__ == "__main__":
    main()
