"""Allocations and evidence made by hand, for tests that need no engine."""

import numpy as np

from stream_allocator import events

DAY = 86_400_000_000


def allocation(targets, *, current=None, index=0, event_time=DAY, **changes):
    """A scheduled, executable decision for assets A0, A1, ..."""
    targets = np.asarray(targets, dtype=float)
    current = np.zeros_like(targets) if current is None else np.asarray(current, dtype=float)
    traded = float(np.abs(targets - current).sum())
    fields = {
        "decision_id": f"u.core.{index}.0123456789ab",
        "universe": "u",
        "portfolio": "core",
        "index": index,
        "event_time": event_time,
        "valid_until": event_time + 5 * DAY,
        "mode": "active",
        "executable": True,
        "trigger": "schedule",
        "allocator": "robust-v4",
        "rung": "robust",
        "reason": "solved",
        "weights": tuple(
            events.Weight(f"A{i}", float(c), float(w), float(w - c))
            for i, (c, w) in enumerate(zip(current, targets, strict=True))
        ),
        "cash": 1.0 - float(targets.sum()),
        "regime": events.RegimeView("calm", False, 0.03, 120, 90.0, 0.11, 0.16, ()),
        "confidence": events.Confidence(0.8, (events.NamedValue("evidence", 0.8),)),
        "uncertainty": events.Uncertainty(0.001, 90.0, 1.25, 0.004, 0.2, 0.001, 0.003),
        "objective": events.Objective(-0.02, (events.NamedValue("expected_return", -0.02),)),
        "turnover": events.TurnoverGrant(float("nan"), 2.0, traded, 1.0),
        "limits": (),
        "certificate": events.CertificateValues(0.0, 1e-15, 2e-15, -0.02, -0.02),
        "solver": events.SolverReport("solved", 5, 300, True, 4, True),
        "policy_digest": "p" * 64,
        "evidence_digest": "e" * 64,
        "inputs": events.InputOffsets(10, 2, -1),
        "data_quality": events.DataQuality(0, 0, 0, ()),
    }
    return events.Allocation(**(fields | changes))


def evidence(targets, *, current=None, **changes):
    """The programme of :func:`allocation`: wide limits, identity factors scaled to 20 % volatility."""
    n = len(targets)
    fields = {
        "decision_id": "u.core.0.0123456789ab",
        "universe": "u",
        "portfolio": "core",
        "event_time": DAY,
        "assets": tuple(f"A{i}" for i in range(n)),
        "mean": (0.05,) * n,
        "factors": events.Matrix(n, n, tuple((0.2 * np.eye(n)).ravel().tolist())),
        "idiosyncratic": (0.0,) * n,
        "current": (0.0,) * n if current is None else tuple(float(c) for c in current),
        "risk_aversion": 5.0,
        "radius": 0.001,
        "mean_ambiguity": 0.5,
        "mean_evidence": 10.0,
        "linear_cost": (0.0,) * n,
        "quadratic_cost": (0.0,) * n,
        "lower": (0.0,) * n,
        "upper": (1.0,) * n,
        "cash_lower": 0.0,
        "cash_upper": 1.0,
        "groups": (),
        "turnover": 2.0,
        "trade": (float("inf"),) * n,
        "volatility": 0.3,
    }
    return events.Evidence(**(fields | changes))
