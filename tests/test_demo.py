"""The demo over the wire decides exactly what the walk-forward decides, and fails with a clear word."""

import io
from pathlib import Path

import numpy as np
import pytest
import worlds
import yaml
from rich.console import Console

from stream_allocator import demo
from stream_allocator.backtest.prices import Prices
from stream_allocator.backtest.run import Recorder
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.codec import encode
from stream_allocator.errors import BusError
from stream_allocator.shipped import shipped_topology
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.stream.lockstep import Lockstep
from stream_allocator.topology import load_topology

BARS = 160


def history(bars=BARS):
    returns = worlds.returns(bars, shift=90)
    closes = 50.0 * np.vstack((np.ones(4), np.cumprod(1.0 + returns, axis=0)))
    return Prices("made up", worlds.ASSETS, np.arange(bars + 1, dtype=np.int64) * worlds.DAY, closes)


def write_topology(folder, **changes):
    universe = {
        "name": "u",
        "assets": list(worlds.ASSETS),
        "groups": {"first": ["AAA", "BBB"]},
        "portfolios": [{"name": "core", "policy": "policy.yaml"}],
    }
    topics = {"partitions": 4, "replication_factor": 1, "min_insync_replicas": 1}
    topology = {"name": "small", "topics": topics, "universes": [universe]} | changes
    (folder / "policy.yaml").write_text(yaml.safe_dump(worlds.policy().model_dump(mode="json")), "utf-8")
    (folder / "topology.yaml").write_text(yaml.safe_dump(topology), "utf-8")
    return folder / "topology.yaml"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """One demo: its exit code, what it printed, its report, and the run that it recorded."""
    folder = tmp_path_factory.mktemp("demo")
    seen = []
    original = demo.lockstep_run

    def listening(*arguments):
        seen.append(original(*arguments))
        return seen[0]

    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "lockstep_run", listening)
        code = demo.run_demo(
            report=folder / "out" / "report.html",
            topology_file=write_topology(folder),
            prices=history(),
            console=Console(file=text, width=100),
        )
    return code, text.getvalue(), folder / "out" / "report.html", seen[0][0]


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    topology = load_topology(write_topology(tmp_path_factory.mktemp("walk")))
    return walk_forward(history(), topology.universes[0], topology.policies("u"))


def test_decisions_over_the_broker_equal_the_walk_forwards_byte_for_byte(outcome, walked):
    over_the_wire = [encode(d) for d in outcome[3].portfolios[0].decisions]
    assert len(over_the_wire) > 10
    assert over_the_wire == [encode(d) for d in walked.portfolios[0].decisions]


def test_the_audit_chain_names_the_same_events_in_the_same_order(outcome, walked):
    assert outcome[3].chain == walked.chain


def test_the_paper_account_earns_the_same(outcome, walked):
    assert outcome[3].portfolios[0].nav.tobytes() == walked.portfolios[0].nav.tobytes()
    assert outcome[3].regimes.label == walked.regimes.label


def test_the_demo_ends_with_a_table_and_a_report(outcome):
    code, text, report, run = outcome
    assert code == 0
    assert "beside static portfolios" in text
    assert str(report) in text.replace("\n", "")
    assert run.chain in report.read_text("utf-8")


def test_a_worker_that_dies_is_reported_with_the_end_of_its_log(tmp_path):
    broken = write_topology(tmp_path)
    good = broken.read_text("utf-8")
    console = Console(file=io.StringIO())

    def vanish(*arguments, **settings):  # the topology breaks after the demo has read it
        broken.write_text(good + "nonsense: 1\n", "utf-8")
        return worker(*arguments, **settings)

    worker = demo.Worker
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "Worker", vanish)
        with pytest.raises(BusError, match=r"exit code 2[\s\S]*nonsense"):
            demo.lockstep_run(broken, history(20), console)


def test_a_worker_that_does_not_answer_is_an_error_after_the_patience(tmp_path):
    topology = load_topology(write_topology(tmp_path))
    universe = topology.universes[0]
    with EmbeddedBroker(tuple(topology.topics.names.values())) as broker:
        topology = topology.at(broker.bootstrap_servers)
        recorder = Recorder(universe, topology.policies("u"))
        asked = []
        client = Lockstep(topology, recorder, alive=lambda: asked.append(1), patience=0.6)
        try:
            with pytest.raises(BusError, match=r"waited 0\.6 s for the worker's answer to bar 0"):
                client.drive([worlds.tick(0, [0.01] * 4)], lambda u, d: None)
        finally:
            client.close()
    assert asked


def test_the_shipped_topology_is_found_from_any_folder(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    assert load_topology(shipped_topology()).universes[0].name == "us-large-cap"
    assert shipped_topology().samefile(Path(root) / "topologies" / "demo.yaml")
