"""A programme is in its evidence record bit for bit, and comes back out of it."""

from dataclasses import fields, replace

import numpy as np
import pytest
from allocate.programmes import KINDS, programme
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.allocate import ProgramError
from stream_allocator.codec import decode, encode
from stream_allocator.events import Evidence, Matrix
from stream_allocator.evidence import decision_id, evidence_of, or_infinity, program_of


def record(program):
    return evidence_of("u.core.0.0123456789ab", "u", "core", 86_400_000_000, program)


def bits(program):
    """Every field as bytes or as what has no rounding."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.shape, value.tobytes()
        return np.float64(value).tobytes() if isinstance(value, float) else value

    return {f.name: plain(getattr(program, f.name)) for f in fields(program)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_every_kind_of_programme_survives_the_wire(kind):
    for seed in range(6):
        p = programme(kind, seed)
        back = program_of(decode(Evidence, encode(record(p))))
        assert bits(back) == bits(p)


def test_assets_at_rest_and_programmes_without_factors_survive_too():
    p = programme("benchmark", 3, n=6)
    for q in (replace(p, resting=(1, 4)), replace(p, factors=np.zeros((6, 0)))):
        assert bits(program_of(decode(Evidence, encode(record(q))))) == bits(q)


@given(st.integers(0, 500), st.sampled_from(KINDS))
def test_equal_programmes_have_equal_records(seed, kind):
    assert encode(record(programme(kind, seed))) == encode(record(programme(kind, seed)))


def test_where_a_programme_has_no_limit_the_record_has_null():
    e = record(programme("plain", 1))
    assert (e.gross, e.holding, e.benchmark, e.active, e.tracking, e.resting) == (None,) * 6
    assert or_infinity(None) == np.inf
    assert or_infinity(0.0) == 0.0
    half = programme("exit", 1, holding=np.array([0.1, np.inf, 0.2]), n=3)
    assert record(half).holding == (0.1, np.inf, 0.2)


@pytest.mark.parametrize(("rows", "columns"), [(-4, -1), (2, 2), (1, 4), (4, 2), (0, 0)])
def test_a_matrix_of_another_shape_is_refused(rows, columns):
    e = record(programme("plain", 1, n=4))
    with pytest.raises(ProgramError, match="factors"):
        program_of(replace(e, factors=Matrix(rows, columns, (0.1,) * 4)))


def test_an_id_names_its_place_and_every_part_of_it_counts():
    parts = ("u", "core", 3, 86_400_000_000, "schedule", "robust-v4", "p" * 64)
    name = decision_id(*parts)
    assert name.startswith("u.core.3.")
    assert len(name) == len("u.core.3.") + 12
    others = [
        (*parts[:i], f"{part}x" if isinstance(part, str) else part + 1, *parts[i + 1 :])
        for i, part in enumerate(parts)
    ]
    assert len({name, *(decision_id(*other) for other in others)}) == len(parts) + 1
