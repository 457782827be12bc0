"""Confluent framing end to end: a real registry, a real broker, a worker, and writers of other versions."""

import copy
import io
import json
import struct

import fastavro
import pytest
import worlds
import yaml
from absence import skip_unless_ci
from cluster import Feeder, WorkerProcess, make_topology
from typer.testing import CliRunner

from benchmarks.brokers import BrokerUnavailable
from benchmarks.brokers.registry import LocalRegistry
from stream_allocator import cli
from stream_allocator.archive import read_topics
from stream_allocator.codec import Codec, raw_schema, writer_schema
from stream_allocator.events import DeadLetter, RegimeUpdate
from stream_allocator.options import open_topology
from stream_allocator.packed import pack
from stream_allocator.replay import replay
from stream_allocator.stream.redrive import read_letters

try:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
except ImportError as absent:
    REASON = str(absent)
else:
    REASON = ""

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def registry():
    if REASON:
        skip_unless_ci(f"no registry client: {REASON}")
    try:
        made = LocalRegistry()
    except BrokerUnavailable as reason:
        skip_unless_ci(f"no schema registry: {reason}")
    with made:
        yield made


def framed(client, change, event):
    """A record written with a changed version of its schema, which the registry gets to know."""
    raw = copy.deepcopy(raw_schema("return_event"))
    change(raw["fields"])
    number = client.register_schema("stream_allocator.ReturnEvent", Schema(json.dumps(raw), "AVRO"))
    names = {f["name"] for f in raw["fields"]}
    fields = {n: getattr(event, n) for n in names & set(event.__dataclass_fields__)}
    out = io.BytesIO()
    data = fields | {"assets": list(event.assets), "returns": list(event.returns), "venue": "XNYS"}
    fastavro.schemaless_writer(out, writer_schema(raw), {k: v for k, v in data.items() if k in names})
    return struct.pack(">bI", 0, number) + out.getvalue()


def test_a_worker_reads_writers_of_all_versions_by_the_registry(kafka, registry, tmp_path):
    path, plain = make_topology(tmp_path, kafka.bootstrap_servers)
    wire = {"framing": "confluent", "registry": {"url": registry.url}}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"wire": wire}))
    before = CliRunner().invoke(cli.app, ["topics", "check", "-t", str(path)])
    assert "run stream-allocator schemas register" in str(before.exception)
    for _ in range(2):
        done = CliRunner().invoke(cli.app, ["schemas", "register", "-t", str(path)])
        assert done.exit_code == 0, done.output

    topology = open_topology(path)
    codec, client = Codec(topology.wire.schema_ids), SchemaRegistryClient({"url": registry.url})
    events = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(40))]
    old = framed(client, lambda fields: fields.pop(), events[10])
    venue = {"name": "venue", "type": "string", "default": ""}
    new = framed(client, lambda fields: fields.insert(2, venue), events[11])
    feeder = Feeder(plain)
    for i, event in enumerate(events):
        value = {10: old, 11: new}.get(i) or codec.frame(pack(event, worlds.ASSETS) if i % 2 else event)[0]
        feeder.raw("returns", value, b"u")
    feeder.raw("returns", struct.pack(">bI", 0, 1_000_000_000) + old[5:], b"u")
    feeder.flush()

    log = {}
    with WorkerProcess(path) as worker:
        while len(log.get(("regimes", 0), ())) < 40 or not read_letters(topology)["dead_letters", 0]:
            log = read_topics(topology)
            assert worker.process.poll() is None, worker.text()
        worker.kill()
    with WorkerProcess(path) as worker:  # restores what the first one wrote, by the registry again
        worker.until("restored partition=0 bars=40")
        assert worker.stop() == 0
    updates = [codec.unframe(RegimeUpdate, r.value, r.headers) for r in log["regimes", 0]]
    assert [u.bar for u in updates] == list(range(40))
    (record,) = read_letters(topology)["dead_letters", 0]
    letter = codec.unframe(DeadLetter, record.value, record.headers)
    assert (letter.code, letter.offset) == ("unknown_schema", 40)
    assert "1000000000 is not in" in letter.reason
    assert replay(topology, read_topics(topology)).identical
