"""A programme refuses numbers that cannot mean anything, and says which."""

from dataclasses import replace

import numpy as np
import pytest
from programmes import programme

from stream_allocator.allocate import Group, ProgramError


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("assets", (), "at least one"),
        ("assets", ("A", "A", "B"), "repeated: A"),
        ("mean", np.array([0.1, np.nan, 0.1]), "A1: must be finite"),
        ("mean", np.zeros(2), r"shape \(3,\), got \(2,\)"),
        ("factors", np.zeros(3), r"shape \(3, k\)"),
        ("factors", np.array([[0.1], [np.inf], [0.1]]), "A1: must be finite"),
        ("idiosyncratic", np.array([0.1, 0.1, -1e-9]), "A2: must be finite and not negative"),
        ("current", np.array([0.1, 0.1, np.inf]), "A2: must be finite"),
        ("linear_cost", np.array([-0.1, 0.1, 0.1]), "A0: must be finite and not negative"),
        ("quadratic_cost", np.array([0.1, np.inf, 0.1]), "A1: must be finite"),
        ("lower", np.array([0.0, -np.inf, 0.0]), "A1: must be finite"),
        ("lower", np.array([0.0, 2.0, 0.0]), "A1: must not be above upper"),
        ("trade", np.array([0.1, np.nan, 0.1]), "A1: must be not NaN"),
        ("trade", np.array([0.1, -0.1, 0.1]), "A1"),
        ("risk_aversion", 0.0, "must be positive where deviation_aversion is 0"),
        ("radius", -1e-9, "finite and not negative"),
        ("mean_ambiguity", float("nan"), "finite and not negative"),
        ("mean_evidence", 0.0, "finite and positive"),
        ("cash_lower", 1.1, "must not be above cash_upper"),
        ("cash_upper", float("inf"), "finite"),
        ("turnover", -0.1, "not negative"),
        ("turnover", float("nan"), "not negative"),
        ("volatility", 0.0, "positive"),
        ("groups", (Group("g", (0, 0), 0.0, 1.0),), "each once"),
        ("groups", (Group("g", (), 0.0, 1.0),), "each once"),
        ("groups", (Group("g", (3,), 0.0, 1.0),), "below 3"),
        ("groups", (Group("g", (0,), 0.5, 0.4),), "must not be above upper"),
        ("groups", (Group("g", (0,), 0.0, 1.0), Group("g", (1,), 0.0, 1.0)), "used twice"),
    ],
)
def test_a_number_without_meaning_is_refused_by_field_and_asset(field, value, says):
    p = programme("cash", 0, n=3)
    with pytest.raises(ProgramError, match=says) as error:
        replace(p, **{field: value})
    assert error.value.field == field
    assert str(error.value).startswith(field)


def test_the_numbers_are_copied_and_read_only():
    mean = np.array([0.1, 0.2, 0.3])
    p = programme("cash", 0, n=3, mean=mean)
    mean[0] = 9.0
    assert p.mean[0] == 0.1
    with pytest.raises(ValueError, match="read-only"):
        p.mean[0] = 1.0


def test_infinite_turnover_liquidity_and_volatility_mean_no_limit():
    p = programme("cash", 0, n=3, turnover=np.inf, trade=np.full(3, np.inf), volatility=np.inf)
    assert p.turnover == p.volatility == np.inf


def test_no_factors_and_whole_numbers_are_welcome():
    p = programme("cash", 0, n=3, factors=np.zeros((3, 0)), mean=np.array([1, 2, 3]), turnover=1)
    assert p.mean.dtype == np.float64
    assert isinstance(p.turnover, float)
