"""Dead letters on real Kafka, by the command line: listed, shown, mended, sent back once, applied."""

import json
from dataclasses import asdict, replace

import pytest
import worlds
from cluster import Feeder, Outputs, WorkerProcess, log_of, make_topology
from typer.testing import CliRunner

from stream_allocator import cli
from stream_allocator.codec import Codec
from stream_allocator.errors import DataError
from stream_allocator.replay import replay

pytestmark = pytest.mark.kafka


def command(path, *arguments):
    """A command of the group, run in this process; what it printed."""
    done = CliRunner().invoke(cli.app, ["dead-letters", *arguments, "-t", str(path)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def redrive(path, place, *more):
    return json.loads(command(path, "redrive", place, "--operator", "ann", "--yes", "--json", *more))


@pytest.fixture
def world(kafka, tmp_path):
    path, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    feeder = Feeder(topology)
    value, headers = Codec().frame(worlds.tick(3, [0.01] * 4))
    held, held_headers = Codec().frame(worlds.position(2, 0, [250.0] * 4))
    feeder.send([worlds.tick(i, [0.01] * 4) for i in range(3)])
    feeder.raw("returns", value[:-10], b"u", headers)
    feeder.raw("positions", held, b"x", held_headers)
    feeder.flush()
    feeder.send([worlds.tick(1, [0.01] * 4, sequence=3)])
    with WorkerProcess(path) as worker:
        letters = Outputs(topology, "dead_letters")
        letters.until(3, worker)
        listed = json.loads(command(path, "list", "--json"))["letters"]
        yield path, topology, feeder, worker, {x["code"]: x["letter"] for x in listed}
        assert worker.stop() == 0
    letters.close()


def test_a_malformed_record_is_mended_and_applied_once(world, tmp_path):
    path, topology, _, worker, places = world
    listed = json.loads(command(path, "list", "--json", "--topic", topology.topics.returns))
    assert listed["codes"] == {"late": 1, "malformed": 1}
    told = json.loads(command(path, "show", places["malformed"], "--json"))
    assert told["decoded"]["sequence"] == 3
    assert told["fault"].startswith("field returns")
    with pytest.raises(DataError, match="would become one again"):
        redrive(path, places["malformed"])

    file = tmp_path / "mended.json"
    event = worlds.tick(3, [0.01] * 4)
    file.write_text(json.dumps(asdict(replace(event, returns=(0.01, -2.0, 0.0, 0.0)))))
    with pytest.raises(DataError, match="return of BBB is -2"):
        redrive(path, places["malformed"], "--event", str(file))
    file.write_text(json.dumps(asdict(event)))
    sent = redrive(path, places["malformed"], "--event", str(file))
    assert sent["topic"] == topology.topics.returns
    updates = Outputs(topology, "regimes")
    assert updates.until(4, worker)[-1].returns_offset == sent["offset"]
    with pytest.raises(DataError, match=f"was sent before, as offset {sent['offset']} "):
        redrive(path, places["malformed"], "--event", str(file))
    again = redrive(path, places["malformed"], "--event", str(file), "--again")
    assert again["offset"] == sent["offset"] + 1

    with pytest.raises(DataError, match="its bar has closed"):
        redrive(path, places["late"])
    log = log_of(topology)
    headers = dict(log["returns", 0][sent["offset"]].headers)
    assert headers["redriven-from"] == f"{topology.topics.dead_letters}/{places['malformed']}".encode()
    assert headers["redriven-by"] == b"ann"
    assert replay(topology, log).identical


def test_a_record_under_the_wrong_key_goes_back_under_its_universe(world):
    path, topology, _, worker, places = world
    sent = redrive(path, places["wrong_key"])
    audit = Outputs(topology, "audit")
    (entry,) = [e for e in audit.until(2, worker) if e.kind == "position"]
    assert (entry.outcome, entry.offset) == ("applied", sent["offset"])


def test_what_its_source_has_replaced_since_is_not_sent(world):
    path, _, feeder, _, places = world
    feeder.send([worlds.position(2, 1, [200.0] * 4)])
    with pytest.raises(DataError, match="has sent sequence 1 since"):
        redrive(path, places["wrong_key"])


def test_without_a_yes_nothing_is_sent(world):
    path, topology, _, _, places = world
    arguments = ["dead-letters", "redrive", places["wrong_key"], "--operator", "ann", "-t", str(path)]
    done = CliRunner().invoke(cli.app, arguments, input="n\n")
    assert done.exit_code == 1
    assert "Send the record as it was" in done.output
    assert len(log_of(topology)["positions", 0]) == 1
