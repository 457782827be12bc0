"""Secrets appear in no output, log, error, trace or report, whatever else goes wrong."""

import logging
import traceback

import pytest
import recorded
import worlds
import yaml
from confluent_kafka import Producer
from typer.testing import CliRunner

from stream_allocator.cli import app
from stream_allocator.errors import ConfigurationError, StreamAllocatorError
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.topology import load_topology

SECRET = "hunter2-correct-horse"
WHO = ("--universe", "u", "--portfolio", "core", "--operator", "ann", "--reason", "drill", "--mode", "active")
#: Every command that meets a broker.
COMMANDS = [
    ("run",),
    ("run", "--telemetry", "console"),
    ("replay",),
    ("record", "archive"),
    ("explain",),
    ("verify", "--json"),
    ("control", *WHO),
    ("feed", "--prices", "prices.csv"),
    ("execute",),
    ("topics", "create"),
    ("topics", "check", "--role", "worker"),
    ("acls", "--role", "worker"),
    ("acls", "--role", "worker", "--principal", "User:w", "--apply"),
    ("dead-letters", "list"),
]
PATIENCE = [
    *("clients.ANSWER_SECONDS", "reader.REQUEST_SECONDS", "feed.DELIVERY_SECONDS"),
    *("control.DELIVERY_SECONDS", "execute.METADATA_SECONDS"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A topology of a broker that is away, its secrets in files and in the environment, and prices."""
    monkeypatch.chdir(tmp_path)
    for name in ("SASL_USERNAME", "SASL_PASSWORD", "KEY_PASSWORD"):
        monkeypatch.setenv(f"STREAM_ALLOCATOR_{name}", f"{SECRET}-{name}")
    for name in PATIENCE:
        monkeypatch.setattr(f"stream_allocator.stream.{name}", 0.2)
    (tmp_path / "password").write_text(SECRET + "\n")
    levels = 100 * (1 + worlds.returns(40)).cumprod(axis=0)
    rows = [f"2020-{i // 28 + 1:02d}-{i % 28 + 1:02d}," + ",".join(map(str, x)) for i, x in enumerate(levels)]
    (tmp_path / "prices.csv").write_text("\n".join([f"date,{','.join(worlds.ASSETS)}", *rows]) + "\n")
    write(tmp_path, protocol="SASL_PLAINTEXT", password_file=str(tmp_path / "password"))
    return tmp_path


def write(folder, **security):
    path = recorded.write_topology(folder)
    data = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(data | {"bootstrap_servers": "127.0.0.1:1", "security": security}))
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_tells_a_secret_when_the_broker_is_away(folder, command, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    result = CliRunner().invoke(app, [*command, "--topology", "topology.yaml"])
    assert (result.exit_code == 0) == (command == ("acls", "--role", "worker"))
    told = [result.output, caplog.text, *capfd.readouterr()]
    if result.exception is not None:
        assert isinstance(result.exception, StreamAllocatorError | SystemExit), result.exception
        told += traceback.format_exception(result.exception)
    assert SECRET not in "".join(told)


@pytest.mark.parametrize(
    "security",
    [
        {"password": SECRET},
        {"password_env": SECRET},
        {"username_env": SECRET},
        {"protocol": SECRET},
        {"password_file": SECRET + "/x", "protocol": [SECRET]},
        {"token_endpoint": f"https://id:{SECRET}@idp.test/token"},
    ],
    ids=str,
)
def test_a_secret_that_was_put_into_the_topology_is_refused_without_showing_it(folder, security):
    write(folder, **security)
    with pytest.raises(ConfigurationError, match="security") as caught:
        load_topology(folder / "topology.yaml")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_topology_that_does_not_parse_is_placed_without_showing_the_line(folder):
    (folder / "topology.yaml").write_text(f"name: t\nsecurity: {{password: {SECRET}\nuniverses: []\n")
    with pytest.raises(ConfigurationError, match=r"topology\.yaml, line \d+") as caught:
        load_topology(folder / "topology.yaml")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER"])
def test_librdkafka_tells_no_secret_even_when_it_tells_everything_else(folder, mechanism, capfd, monkeypatch):
    monkeypatch.setenv("STREAM_ALLOCATOR_SASL_USERNAME", "ann")  # a client's id is told, as a name is
    path = write(
        folder,
        protocol="SASL_PLAINTEXT",
        mechanism=mechanism,
        token_endpoint="http://127.0.0.1:1/token",
        password_file=str(folder / "password"),
    )
    topology = load_topology(path)
    producer = Producer({**producer_settings(topology), "debug": "all"})
    producer.poll(0.3)
    out, err = capfd.readouterr()
    assert "sasl.mechanism" in err
    assert SECRET not in out + err
    assert SECRET not in repr(topology) + topology.model_dump_json()
    assert SECRET in str(consumer_settings(topology, "g"))  # so the settings themselves are never shown


def test_a_report_and_its_bundle_hold_no_secret_of_the_environment(folder):
    result = CliRunner().invoke(
        app, ["backtest", "prices.csv", "--policy", "policy.yaml", "--report", "out/report.html"]
    )
    assert result.exit_code == 0, result.output
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert len(files) >= 1
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in result.output
