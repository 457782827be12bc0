"""The command line: help for everything, clear errors, exit codes a script can use."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import recorded

from stream_allocator.archive import write_archive
from stream_allocator.codec import decode, encode
from stream_allocator.events import Allocation

COMMANDS = [
    ["run"],
    ["demo"],
    ["backtest"],
    ["regimes"],
    ["stress"],
    ["replay"],
    ["record"],
    ["explain"],
    ["verify"],
    ["control"],
    ["feed"],
    ["execute"],
    ["health"],
    ["topics", "create"],
    ["topics", "check"],
    ["acls"],
    ["schemas", "check"],
    ["schemas", "write"],
    ["schemas", "release"],
]


def call(*arguments, **env):
    command = [sys.executable, "-m", "stream_allocator.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    path, _, log = recorded.default_run(folder)
    write_archive(log, folder / "archive")
    return path, folder / "archive", log


def test_every_command_explains_itself():
    from typer.testing import CliRunner

    from stream_allocator.cli import app

    for command in COMMANDS:
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_a_bad_topology_is_one_clear_line_and_exit_code_2(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("name: t\nuniverses: []\nbroker: x\n")
    result = call("run", "--topology", path)
    assert result.returncode == 2
    assert "broker: Extra inputs are not permitted" in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_an_unknown_portfolio_is_refused_before_anything_is_sent(run):
    path, _, _ = run
    arguments = (
        "--universe",
        "u",
        "--portfolio",
        "other",
        "--mode",
        "active",
        "--operator",
        "a",
        "--reason",
        "r",
    )
    result = call("control", "--topology", path, *arguments)
    assert result.returncode == 2
    assert "known: u/core" in result.stderr


def test_the_schemas_of_the_tree_are_checked(root):
    assert call("schemas", "check", "--folder", root / "schemas").returncode == 0


def test_health_follows_the_heartbeat(tmp_path):
    beat = tmp_path / "beat"
    assert call("health", STREAM_ALLOCATOR_HEARTBEAT=str(beat)).returncode == 1
    beat.touch()
    assert call("health", STREAM_ALLOCATOR_HEARTBEAT=str(beat)).returncode == 0
    os.utime(beat, (time.time() - 100,) * 2)
    assert call("health", STREAM_ALLOCATOR_HEARTBEAT=str(beat)).returncode == 1


def test_replay_of_an_archive_is_identical_and_says_so(run):
    path, archive, _ = run
    result = call("replay", "--topology", path, "--archive", archive, "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["identical"] is True


def test_replay_of_an_edited_archive_fails(run, tmp_path):
    path, _, log = run
    edited = {**log, ("regimes", 0): log["regimes", 0][:-1]}
    write_archive(edited, tmp_path / "edited")
    result = call("replay", "--topology", path, "--archive", tmp_path / "edited")
    assert result.returncode == 1
    assert "regimes of u differ first" in result.stdout


def test_explain_tells_the_last_decision_in_words_with_its_proof(run):
    path, archive, _ = run
    result = call("explain", "--topology", path, "--archive", archive)
    assert result.returncode == 0
    assert "✓ turnover and liquidity hold" in result.stdout
    structured = call("explain", "--archive", archive, "--json")  # files need no topology
    assert json.loads(structured.stdout)["verdict"]["passed"] is True


def test_verify_proves_every_decision_of_an_archive_without_a_topology(run):
    _, archive, log = run
    result = call("verify", "--archive", archive)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"{len(log['allocations', 0])} decisions, all proven"
    told = json.loads(call("verify", "--archive", archive, "--json").stdout)
    assert told["passed"] is True
    assert len(told["decisions"]) == len(log["allocations", 0])


def test_verify_names_the_decision_and_the_claim_that_fails(run, tmp_path):
    _, _, log = run
    records = log["allocations", 0]
    changed = replace(decode(Allocation, records[1].value), cash=0.5)
    edited = [*records[:1], replace(records[1], value=encode(changed)), *records[2:]]
    write_archive({**log, ("allocations", 0): edited}, tmp_path)
    result = call("verify", "--archive", tmp_path)
    assert result.returncode == 1
    assert f"{changed.decision_id} ✗ weights, trades and cash add up" in result.stdout
    one = call("verify", "--archive", tmp_path, "--decision", changed.decision_id)
    assert one.returncode == 1
    assert one.stdout.count("✗") == 1
    write_archive({**log, ("allocations", 0): [*records[:1], replace(records[1], value=b"junk")]}, tmp_path)
    unreadable = call("verify", "--archive", tmp_path)
    assert unreadable.returncode == 2
    assert "allocations [0] offset 1: not a" in unreadable.stderr


def test_verify_takes_two_messages_and_refuses_half_a_question(run, tmp_path):
    _, archive, log = run
    files = {role: tmp_path / role for role in ("allocations", "evidence")}
    for role, file in files.items():
        file.write_bytes(log[role, 0][2].value)
    result = call("verify", "--allocation", files["allocations"], "--evidence", files["evidence"])
    assert result.returncode == 0, result.stderr
    assert "✓ no other weights could be better" in result.stdout
    for wrong in (
        ("--allocation", files["allocations"]),
        ("--allocation", files["allocations"], "--evidence", tmp_path / "absent"),
        ("--allocation", files["evidence"], "--evidence", files["allocations"]),
        ("--archive", archive, "--decision", "nowhere"),
        ("--archive", tmp_path / "absent"),
        (),
    ):
        assert call("verify", *wrong).returncode == 2


def test_a_missing_archive_is_named(run, tmp_path):
    path, _, _ = run
    result = call("replay", "--topology", path, "--archive", tmp_path / "absent")
    assert result.returncode == 2
    assert "returns.avro" in result.stderr
