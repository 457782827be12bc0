"""A consumer re-checks decisions from the two records alone, and finds what was touched."""

import io
import json
import subprocess
import sys
from dataclasses import asdict, replace

import fastavro
import numpy as np
import pytest
import recorded
import strategies
from allocate.programmes import KINDS, programme
from hypothesis import given, settings
from hypothesis import strategies as st
from published import Claim, binding_records, claims, failed, records, signed

from stream_allocator.allocate import RUNGS, decide
from stream_allocator.archive import decisions, read_decision, write_archive
from stream_allocator.codec import FINGERPRINT_HEADER, decode, digest, encode
from stream_allocator.contracts import canonical_fingerprint, versions
from stream_allocator.events import Allocation, Evidence, Matrix
from stream_allocator.verify import report, verify


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return recorded.default_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def binding():
    return binding_records()


# -- what is published passes ----------------------------------------------------------------------


def test_every_decision_of_a_run_passes(run):
    found = list(decisions(run[2]))
    assert len(found) >= 6
    assert {d.allocation.rung for d in found} == {"robust", "baseline"}
    for d in found:
        verdict = verify(d.allocation, d.evidence, d.evidence_body)
        assert verdict.passed, verdict.text()


@given(st.sampled_from(KINDS), st.integers(0, 300), st.sampled_from([None, *RUNGS]), st.booleans())
@settings(max_examples=100)
def test_every_rung_passes_for_every_kind_of_programme(kind, seed, force, drifted):
    p = programme(kind, seed)
    if drifted:  # then limits are broken, or contradict each other, now and then
        noise = np.random.default_rng(seed).normal(size=len(p.assets)) * 0.04
        p = replace(p, current=p.current * 1.3 + noise)
    allocation, evidence = records(p, decide(p, force=force))
    verdict = verify(allocation, decode(Evidence, encode(evidence)))
    assert verdict.passed, verdict.text()
    if allocation.rung == "robust":
        assert verdict.violation <= 1e-12
        assert verdict.gap <= 1e-9


def test_each_rung_claims_what_it_can_prove():
    p = programme("cash", 5, n=6, volatility=np.inf)
    proofs = {Claim.FEASIBLE, Claim.OPTIMAL, Claim.ASSET_PRICES}
    for rung in RUNGS:
        made = claims(*records(p, decide(p, force=rung)))
        assert made >= {Claim.TRADE, Claim.ADDING_UP, Claim.LIMITS, Claim.CERTIFICATE}
        assert made & proofs == (proofs if rung == "robust" else set())
        assert (Claim.NO_WORSE in made, Claim.REASONED in made) == ((rung != "robust"),) * 2
        assert (Claim.HELD in made) == (rung == "hold")


def test_the_other_rungs_are_held_to_their_own_claims():
    p = programme("cash", 5, n=6, volatility=np.inf)
    allocation, evidence = records(p, decide(p, force="hold"))
    assert failed(replace(allocation, reason=" "), evidence) == {Claim.REASONED}
    assert Claim.EXECUTABLE in failed(replace(allocation, mode="shadow"), evidence)
    moved, evidence = records(p, decide(p, force="baseline"))
    assert Claim.HELD in failed(replace(moved, rung="hold"), evidence)
    tight = replace(evidence, upper=tuple(max(w.current, 1e-9) for w in moved.weights))
    assert Claim.NO_WORSE in failed(*signed(moved, tight))


def test_missing_evidence_is_a_claim_that_fails(binding):
    allocation, _ = binding
    assert failed(allocation, None) == {Claim.NAMED}


@settings(max_examples=150)
@given(strategies.events(Allocation), strategies.events(Evidence), st.booleans())
def test_no_records_raise(allocation, evidence, fit):
    if fit:  # as many numbers as there are assets, so that more is computed
        n = len(evidence.assets)
        names = (
            "mean",
            "idiosyncratic",
            "current",
            "linear_cost",
            "quadratic_cost",
            "lower",
            "upper",
            "trade",
        )
        sized = {name: ((*getattr(evidence, name), 0.5, 0.5, 0.5))[:n] for name in names}
        evidence = replace(evidence, factors=Matrix(n, 0, ()), groups=(), **sized)
    assert not verify(allocation, evidence).passed


def test_the_page_tells_every_claim(root):
    page = (root / "docs" / "verify.md").read_text("utf-8")
    p = programme("cash", 5, n=6, volatility=np.inf)
    made = set().union(*(claims(*records(p, decide(p, force=rung))) for rung in RUNGS))
    assert made == set(Claim)
    assert [claim for claim in made if f"| {claim}" not in page] == []


# -- versions of the schema ------------------------------------------------------------------------


def older_versions(root):
    return [json.loads(path.read_text("utf-8")) for path in versions(root / "schemas", "evidence")[:-1]]


def written_with(schema, evidence):
    """The bytes of a record of an older release, and the fingerprint of its schema."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas={}), listed(asdict(evidence)))
    return out.getvalue(), bytes.fromhex(canonical_fingerprint(schema))


def listed(value):
    """Tuples as lists: within a union fastavro reads a tuple as (branch, value)."""
    if isinstance(value, dict):
        return {k: listed(v) for k, v in value.items()}
    return [listed(v) for v in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("with_header", [True, False])
def test_evidence_of_an_older_release_verifies_by_the_bytes_that_were_published(
    run, root, tmp_path, with_header
):
    _, _, log = run
    olds = older_versions(root)
    assert olds
    for schema in olds:
        aged = {**log, ("allocations", 0): [], ("evidence", 0): []}
        for i, d in enumerate(decisions(log)):
            body, fingerprint = written_with(schema, d.evidence)
            assert body != d.evidence_body
            value = encode(replace(d.allocation, evidence_digest=digest(body)))
            headers = ((FINGERPRINT_HEADER, fingerprint),) if with_header else ()
            aged["allocations", 0].append(replace(log["allocations", 0][i], value=value))
            aged["evidence", 0].append(replace(log["evidence", 0][i], value=body, headers=headers))
        found = list(decisions(aged))
        for d, today in zip(found, decisions(log), strict=True):
            assert d.evidence == today.evidence
            assert verify(d.allocation, d.evidence, d.evidence_body).passed
            assert failed(d.allocation, d.evidence) == {Claim.NAMED}, "encoded anew it has another digest"
        files = tmp_path / "allocation", tmp_path / "evidence"
        for file, role in zip(files, ("allocations", "evidence"), strict=True):
            file.write_bytes(aged[role, 0][0].value)
        d = read_decision(*files)
        assert verify(d.allocation, d.evidence, d.evidence_body).passed


# -- what is said of it ----------------------------------------------------------------------------


def test_the_report_is_short_and_names_what_fails(binding):
    allocation, evidence = binding
    good, bad = verify(allocation, evidence), verify(replace(allocation, cash=0.123), evidence)
    lines = report([good, good, good]).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:3] == ["robust", "3", "3"]
    assert lines[-1] == "3 decisions, all proven"
    text = report([good, bad, verify(allocation, None)])
    assert f"{allocation.decision_id} ✗ {Claim.ADDING_UP}" in text
    assert text.splitlines()[-1] == "2 of 3 decisions not proven"
    assert [line[0] for line in bad.text().splitlines()].count("✗") == 1
    summary = json.loads(json.dumps(verify(allocation, None).summary(), allow_nan=False))
    assert (summary["passed"], summary["gap"], summary["violation"]) == (False, None, None)


SOLVERS = ("osqp", "scipy", "numba", "highspy", "confluent_kafka", "stream_allocator.engine", "pydantic")


@pytest.mark.parametrize("source", ["archive", "files"])
def test_verifying_files_loads_no_solver_no_engine_and_no_kafka(run, tmp_path, source):
    _, _, log = run
    write_archive(log, tmp_path)
    for role in ("allocations", "evidence"):
        (tmp_path / role).write_bytes(log[role, 0][0].value)
    found = (
        f"read_archive(Path({str(tmp_path)!r}), DECISIONS)"
        if source == "archive"
        else f"read_decision(Path({str(tmp_path / 'allocations')!r}), Path({str(tmp_path / 'evidence')!r}))"
    )
    code = f"""
import sys
from pathlib import Path
from stream_allocator.archive import DECISIONS, decisions, read_archive, read_decision
from stream_allocator.verify import verify
found = {found}
found = [found] if {source == "files"} else list(decisions(found))
assert found and all(verify(d.allocation, d.evidence, d.evidence_body).passed for d in found)
loaded = [name for name in {SOLVERS!r} if name in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
