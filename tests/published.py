"""The two records of a decision about any programme as the engine publishes them, and what fails of them."""

from dataclasses import replace
from enum import StrEnum

import numpy as np
import worlds
from allocate.programmes import programme

from stream_allocator.allocate import Decision, Program, decide
from stream_allocator.answer import of_ladder
from stream_allocator.book import Book
from stream_allocator.codec import digest, encode
from stream_allocator.decision import Context, publish
from stream_allocator.events import Allocation, DataQuality, Evidence
from stream_allocator.market import MarketView
from stream_allocator.regime.segmentation import Segment
from stream_allocator.verify import verify


class Claim(StrEnum):
    """What is claimed of a decision, by a short name."""

    NAMED = "the evidence is the one that the allocation names"
    USABLE = "the records hold a programme and an answer to it"
    IDENTIFIED = "the id is that of this decision"
    EXECUTABLE = "it is to be executed only where its mode asks for it"
    CONFIDENT = "confidence is the product of its factors"
    ADDING_UP = "weights, trades and cash add up"
    TURNOVER = "turnover is as published"
    TRADE = "turnover and liquidity hold"
    OBJECTIVE = "the objective and its terms are as published"
    UNCERTAINTY = "the price of uncertainty is as published"
    LIMITS = "limits are listed as they are"
    PRICES = "shadow prices are not negative, and stand on limits that bind"
    CERTIFICATE = "the certificate is as published"
    FEASIBLE = "no limit is violated"
    OPTIMAL = "no other weights could be better by more than the gap"
    ASSET_PRICES = "prices of single assets' limits follow from the others"
    NO_WORSE = "limits are broken no more than before"
    REASONED = "it says why no higher rung answered"
    HELD = "holding trades nothing"


VIEW = MarketView(
    segment=Segment(
        label="normal",
        switched=False,
        cause="",
        switch_probability=0.05,
        map_run_length=90.0,
        volatility_ratio=1.0,
        effective_sample_size=60.0,
        bars_in_label=90,
        bars_since_switch=90,
        confidence=0.9,
    ),
    expected_run_length=85.0,
    effective_sample_size=60.0,
    segment_volatility=0.15,
    reference_volatility=0.15,
    confidence=0.72,
    confidence_factors=(("evidence", 0.8), ("data", 0.9)),
    top_assets=(),
    missing=(),
)


def records(
    program: Program, decision: Decision | None = None, mode: str = "active"
) -> tuple[Allocation, Evidence]:
    """What is published of a decision; of the ladder's own where none is given."""
    book = Book("core", len(program.assets), worlds.policy(), mode)
    context = Context(worlds.universe(), worlds.DAY, 5, DataQuality(0, 0, 0, ()))
    answer = of_ladder(program, decision or decide(program))
    evidence, allocation = publish(context, VIEW, book, answer, "schedule", mode == "active")
    return allocation, evidence


def binding_records() -> tuple[Allocation, Evidence]:
    """A robust decision at which limits of many kinds bind, with prices on them."""
    every = {
        "cash_upper": 0.5,
        "turnover": 0.3,
        "radius": 0.002,
        "mean_ambiguity": 0.5,
        "linear_cost": np.full(12, 0.005),
        "quadratic_cost": np.full(12, 0.05),
        "gross": 0.95,
        "holding": np.full(12, 0.2),
        "volatility": 0.16,
    }
    allocation, evidence = records(programme("everything_binds", 185, n=12, **every))
    assert allocation.rung == "robust"
    priced = {x.kind for x in allocation.limits if x.shadow_price > 0}
    assert priced == {"box_lower", "cash_upper", "exit", "group_upper", "liquidity", "turnover"}
    return allocation, evidence


def failed(allocation: Allocation, evidence: Evidence | None, body: bytes | None = None) -> set[str]:
    """The claims that do not hold."""
    return {c.claim for c in verify(allocation, evidence, body).failed}


def claims(allocation: Allocation, evidence: Evidence | None) -> set[str]:
    """All that is claimed."""
    return {c.claim for c in verify(allocation, evidence).checks}


def signed(allocation: Allocation, evidence: Evidence) -> tuple[Allocation, Evidence]:
    """The two records after someone who changed the evidence has also renewed its digest."""
    return replace(allocation, evidence_digest=digest(encode(evidence))), evidence
