"""A registry gives ids at start and writers' schemas when they are met; old and new read one another."""

import copy
import json
import os
import struct

import fastavro
import pytest
import recorded
import worlds
import yaml
from absence import skip_unless_ci

from stream_allocator import cli
from stream_allocator.codec import Codec, encode, raw_schema, writer_schema
from stream_allocator.errors import BrokerAway, BusError, CodecError, ConfigurationError
from stream_allocator.events import AuditEntry, PackedReturnEvent, ReturnEvent
from stream_allocator.packed import pack
from stream_allocator.registry import connected, register, subjects
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import Registry, load_topology

try:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
except ImportError as absent:
    REASON = str(absent)
else:
    REASON = ""

TICK = worlds.tick(3, [0.01, -0.02, 0.0, 0.005])
#: A real one where the variable names it; else the mock inside the client.
URL = os.environ.get("SCHEMA_REGISTRY", "mock://test")


@pytest.fixture
def client():
    if REASON:
        skip_unless_ci(f"no registry client: {REASON}")
    return SchemaRegistryClient.new_client({"url": URL})


def topology_with(folder, **registry):
    path = recorded.write_topology(folder)
    data = yaml.safe_load(path.read_text())
    data["wire"] = {"framing": "confluent", "registry": {"url": URL} | registry}
    path.write_text(yaml.safe_dump(data))
    return load_topology(path)


@pytest.fixture
def live(tmp_path, client):
    topology = topology_with(tmp_path)
    register(topology, client)
    return connected(topology, client)


def written(client, raw, data):
    """A framed record under a schema that the registry has and this release does not ship."""
    number = client.register_schema(f"{raw['namespace']}.{raw['name']}", Schema(json.dumps(raw), "AVRO"))
    from io import BytesIO

    out = BytesIO()
    fastavro.schemaless_writer(out, writer_schema(raw), data)
    return struct.pack(">bI", 0, number) + out.getvalue()


def plain():
    return {f: getattr(TICK, f) for f in TICK.__dataclass_fields__} | {
        "assets": list(TICK.assets),
        "returns": list(TICK.returns),
    }


@pytest.mark.parametrize("strategy", ["record", "topic"])
def test_registering_twice_changes_no_id_and_both_strategies_serve(tmp_path, client, strategy):
    topology = topology_with(tmp_path, subjects=strategy)
    first = register(topology, client)
    assert register(topology, client) == first
    assert set(first) == set(subjects(topology).values())
    codec = Codec(connected(topology, client).wire.schema_ids)
    value, headers = codec.frame(TICK)
    assert value[:5] == struct.pack(">bI", 0, first[subjects(topology)["return_event"]])
    assert headers == []
    assert codec.unframe_form(ReturnEvent, value, headers) == TICK


def test_both_forms_of_returns_go_by_their_schema_ids(live):
    codec = Codec(live.wire.schema_ids)
    for event in (TICK, pack(TICK, worlds.ASSETS)):
        value, headers = codec.frame(event)
        assert codec.unframe_form(ReturnEvent, value, headers) == event


def test_an_old_writer_is_read_by_this_reader(live, client):
    old = copy.deepcopy(raw_schema("return_event"))
    old["fields"] = [f for f in old["fields"] if f["name"] != "dollar_volumes"]
    value = written(client, old, {k: v for k, v in plain().items() if k != "dollar_volumes"})
    assert Codec(live.wire.schema_ids).unframe_form(ReturnEvent, value, []) == TICK


def test_a_newer_writer_is_read_by_this_reader_which_passes_over_what_it_does_not_know(live, client):
    new = copy.deepcopy(raw_schema("return_event"))
    new["fields"].insert(2, {"name": "venue", "type": "string", "default": ""})
    value = written(client, new, plain() | {"venue": "XNYS"})
    assert Codec(live.wire.schema_ids).unframe_form(ReturnEvent, value, []) == TICK
    out = Shard(live, 0).apply(Record("returns", 0, 0, b"u", value))
    assert [o.role for o in out] == ["audit", "regimes"]


def test_a_newer_packed_writer_is_known_by_its_name(live, client):
    event = pack(TICK, worlds.ASSETS)
    new = copy.deepcopy(raw_schema("packed_return_event"))
    new["fields"].append({"name": "venue", "type": "string", "default": ""})
    fields = {f: getattr(event, f) for f in event.__dataclass_fields__}
    found = Codec(live.wire.schema_ids).unframe_form(
        ReturnEvent, written(client, new, fields | {"venue": ""}), []
    )
    assert isinstance(found, PackedReturnEvent)
    assert found == event


def test_what_cannot_be_read_is_an_unknown_schema_with_its_reason(live, client):
    codec = Codec(live.wire.schema_ids)
    other = {"type": "record", "name": f"Other{os.getpid()}", "namespace": "x", "fields": []}
    entry = AuditEntry("u", 0, 0, "start", None, -1, -1, *[""] * 7)
    for value, said in (
        (struct.pack(">bI", 0, 2_000_000_000) + encode(TICK), "is not in"),
        (written(client, other, {}), "none of this release's"),
        (codec.frame(entry)[0], "is that of audit_entry"),
    ):
        with pytest.raises(CodecError, match=said) as caught:
            codec.unframe_form(ReturnEvent, value, [])
        assert caught.value.code == "unknown_schema"


class Away:
    """A registry that does not answer."""

    def get_schema(self, number):
        raise ConnectionError("refused")

    def lookup_schema(self, subject, schema):
        raise ConnectionError("refused")


def test_a_registry_that_is_away_ends_the_session_and_no_record(live):
    live.wire.schema_ids._client = Away()
    with pytest.raises(BrokerAway, match="does not answer: refused"):
        Shard(live, 0).apply(Record("returns", 0, 0, b"u", struct.pack(">bI", 0, 77_777) + encode(TICK)))


def test_at_start_a_missing_registry_and_missing_schemas_are_one_clear_line_each(tmp_path, client):
    topology = topology_with(tmp_path)
    with pytest.raises(BusError, match=r"schema registry .* does not answer: refused"):
        connected(topology, Away())
    empty = SchemaRegistryClient.new_client({"url": "mock://empty"})
    with pytest.raises(ConfigurationError, match=r"ReturnEvent.*run stream-allocator schemas register"):
        connected(topology, empty)


def test_ids_come_from_a_registry_or_from_the_topology_never_both(tmp_path):
    path = recorded.write_topology(tmp_path)
    data = yaml.safe_load(path.read_text())
    for wire in (
        {"registry": {"url": "http://r"}},
        {"framing": "confluent", "registry": {"url": "http://r"}, "schema_ids": {"snapshot": 1}},
        {"framing": "confluent", "registry": {"url": "http://user:secret@r"}},
        {"framing": "confluent"},
    ):
        path.write_text(yaml.safe_dump(data | {"wire": wire}))
        with pytest.raises(ConfigurationError) as caught:
            load_topology(path)
        assert "secret" not in str(caught.value)


def test_credentials_come_from_files_or_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "password"
    file.write_text("from:file\n")
    monkeypatch.setenv("STREAM_ALLOCATOR_REGISTRY_USERNAME", "ann")
    settings = Registry(url="https://r", password_file=str(file), ca_location="ca.pem").client_settings()
    assert settings["basic.auth.user.info"] == "ann:from:file"
    assert settings["ssl.ca.location"] == "ca.pem"
    monkeypatch.delenv("STREAM_ALLOCATOR_REGISTRY_USERNAME")
    assert "basic.auth.user.info" not in Registry(url="https://r").client_settings()


def test_a_topology_without_a_registry_cannot_register(tmp_path):
    with pytest.raises(ConfigurationError, match=r"wire\.registry\.url is not set"):
        register(load_topology(recorded.write_topology(tmp_path)))


def test_the_command_registers_and_says_what(tmp_path, client, capsys):
    topology_with(tmp_path)
    from typer.testing import CliRunner

    done = CliRunner().invoke(cli.app, ["schemas", "register", "-t", str(tmp_path / "topology.yaml")])
    assert done.exit_code == 0, done.output
    assert "stream_allocator.ReturnEvent: id " in done.stdout
