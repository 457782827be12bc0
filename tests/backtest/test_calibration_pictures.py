"""Pictures of calibration repeat, take the page's colours, and say in words what they show."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from stream_allocator.backtest.calibration import Bin, Penalties
from stream_allocator.backtest.calibration_pictures import (
    penalties_through_time,
    reliability,
    transform_histograms,
)
from stream_allocator.backtest.scores import histogram

BINS = tuple(
    Bin(c, c + 0.08, 40, 0.1, 0.1 + 0.05 * (0.9 - c), 0.2, 0.25, 0.12, 0.5, 0.64, 0.02, 0.03, 0.9)
    for c in (0.2, 0.4, 0.6, 0.8)
)
DAY = 86_400_000_000
PENALTIES = Penalties(
    np.arange(1, 6, dtype=np.int64) * 30 * DAY,
    np.array([1e-3, 2e-3, 9e-3, 2e-3, 1e-3]),
    np.array([90.0, 45.0, 10.0, 45.0, 90.0]),
    np.full(5, 0.001),
    np.array([0.001, 0.002, 0.009, 0.002, 0.001]),
    np.array([0.002, 0.003, 0.010, 0.003, 0.002]),
)
HISTOGRAMS = {
    "normal": histogram(np.linspace(0.0, 1.0, 4000) ** 2),
    "Student t": histogram(np.linspace(0.0, 1.0, 4000)),
}
DRAWN = {
    "reliability": lambda: reliability(BINS),
    "transform": lambda: transform_histograms(HISTOGRAMS),
    "penalties": lambda: penalties_through_time(PENALTIES),
}


@pytest.fixture(scope="module")
def pictures():
    return {name: draw() for name, draw in DRAWN.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_a_fragment_that_repeats(name, pictures, root):
    picture = pictures[name]
    assert picture == DRAWN[name]()
    ET.fromstring(picture.svg.replace("xlink:href", "href"))
    assert 'aria-hidden="true"' in picture.svg
    page = (root / "stream_allocator/backtest/templates/report.html").read_text("utf-8")
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", picture.svg))
    assert used
    assert used <= set(re.findall(r"(--[a-z0-9-]+):", page))
    assert not re.search(r"#(?:0[1-9a-f]0|1[1-6]1)", picture.svg.replace("url(#", ""))
    ids = re.findall(r' id="([^"]+)"', picture.svg)
    assert all(x.startswith(f"{name}-") for x in ids)
    assert len(set(ids)) == len(ids)


def test_reliability_says_in_words_what_was_predicted_and_what_came(pictures):
    text = pictures["reliability"].text
    assert "predicted a volatility of 10.0% and had 13.5%" in text
    assert "the surest predicted 10.0% and had 10.5%" in text
    assert "held for 50% of the decisions, where 64% were promised" in text
    assert "confidence 20% to 28%" in text


def test_the_parts_of_reliability_follow_their_numbers(pictures):
    other = reliability((*BINS[:3], replace(BINS[3], realised=0.3)))
    assert other.svg != pictures["reliability"].svg
    assert "10.0% predicted and 30.0% realised" in other.text


def test_decisions_without_a_robust_bound_are_shown_without_one():
    none = float("nan")
    picture = reliability(
        [replace(b, bound=none, covered=none, promised=none, loss_covered=none) for b in BINS]
    )
    assert "robust bound held" not in picture.text
    assert "nan" not in picture.text
    ET.fromstring(picture.svg.replace("xlink:href", "href"))


def test_a_histogram_says_how_far_it_is_from_right(pictures):
    text = pictures["transform"].text
    assert "By the Student t forecast 0 of 20 bins" in text
    assert re.search(r"By the normal forecast 1\d of 20 bins", text)


def test_penalties_say_when_they_were_worst(pictures):
    text = pictures["penalties"].text
    assert "5 decisions: 30 basis points a year in the median" in text
    assert "at most 100 on 1970-04-01, when the effective sample size was 10 bars" in text
    assert "The mean's part is 25% of all" in text


def test_one_ball_is_shown_as_one():
    zero = np.zeros(5)
    whole = replace(PENALTIES, mean=zero, covariance=zero)
    picture = penalties_through_time(whole)
    assert "for one ball" in picture.svg
    assert "The mean's part" not in picture.text


def test_nothing_to_show_is_an_error():
    with pytest.raises(ValueError, match="too few"):
        reliability(())
    with pytest.raises(ValueError, match="no histogram"):
        transform_histograms({})
    none = np.zeros(0)
    with pytest.raises(ValueError, match="no executable"):
        penalties_through_time(Penalties(none.astype(np.int64), none, none, none, none, none))
