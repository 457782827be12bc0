"""The plot holds whatever a run may hold: restarts, a broker that is away, and faults."""

from benchmarks.soak.faults import KINDS, Fault
from benchmarks.soak.picture import Run, draw
from benchmarks.soak.samples import Sample, Usage


def test_a_run_is_drawn_and_the_same_run_is_the_same_bytes(tmp_path):
    samples = [
        Sample(
            1000.0 + t,
            {
                "steady": (0, t + 5.0, Usage(200_000_000 + 1000 * t, 40, 20, 1.0 * t)),
                **({"struck": (t // 20, t % 20, Usage(210_000_000, 41, 20, 0.5 * t))} if t % 20 else {}),
            },
            None if 30 < t < 34 else {"returns": t % 7, "positions": 0, "control": 0},
            500_000_000,
        )
        for t in range(60)
    ]
    lines = [{"time": 1000.0 + t, "p50": 0.005, "p99": 0.02 + 0.001 * t} for t in range(60)]
    faults = [Fault(kind, 1005.0 + 7 * i) for i, kind in enumerate(KINDS)]
    run = Run(samples, lines, faults, "steady", "struck")
    for name in ("a", "b"):
        draw(run, tmp_path / f"{name}.svg")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert "a worker that is never ended" in text
    for number, kind in enumerate(KINDS, 1):
        assert f"{number} {kind}" in text
