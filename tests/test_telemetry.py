"""Spans link to what fed them, metrics count what happened, and nothing secret is in either."""

import pytest
import recorded
import worlds
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stream_allocator.codec import Codec
from stream_allocator.errors import ConfigurationError
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard
from stream_allocator.telemetry import LINKS, Telemetry
from stream_allocator.topology import load_topology

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def metered():
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    return Telemetry("none", "w-0", spans=spans, metrics=metrics), spans, metrics


def points(reader):
    """Metric name -> its data points."""
    data = reader.get_metrics_data()
    metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    return {m.name: list(m.data.data_points) for m in metrics}


def test_a_batch_links_to_the_traces_of_its_records(metered):
    telemetry, spans, _ = metered
    batch = [[("traceparent", PARENT.encode())], [], [("other", b"x")]]
    span = telemetry.batch(batch)
    ((name, value),) = telemetry.trace_headers(span)
    span.end()
    telemetry.close()
    (finished,) = spans.get_finished_spans()
    (link,) = finished.links
    assert f"{link.context.trace_id:032x}" == PARENT.split("-")[1]
    assert finished.parent is None
    assert (name, value.decode().split("-")[1]) == ("traceparent", f"{finished.context.trace_id:032x}")


def test_junk_in_a_trace_header_does_no_harm_and_links_are_bounded(metered):
    telemetry, spans, _ = metered
    telemetry.batch([[("traceparent", b"\xff\x00junk")]]).end()
    telemetry.batch([[("traceparent", PARENT.encode())]] * (LINKS + 10)).end()
    telemetry.close()
    junk, many = spans.get_finished_spans()
    assert [link for link in junk.links if link.context.is_valid] == []
    assert len(many.links) == LINKS


def test_without_an_exporter_there_are_no_trace_headers():
    telemetry = Telemetry("none", "w-0")
    assert telemetry.trace_headers(telemetry.batch([[]])) == []
    telemetry.close()


def test_metrics_count_records_bars_decisions_and_dead_letters(metered, tmp_path):
    telemetry, _, metrics = metered
    shard, codec = Shard(load_topology(recorded.write_topology(tmp_path)), 0), Codec()
    outputs = []
    for i, x in enumerate(worlds.returns(30)):
        value, headers = codec.frame(worlds.tick(i, x))
        outputs += shard.apply(Record("returns", 0, i, b"u", value, tuple(headers)))
    outputs += shard.apply(Record("returns", 0, 30, b"u", b"junk"))
    telemetry.processed(31, [o.event for o in outputs], 0.5)
    telemetry.committed(0.003)
    telemetry.restored(0, 1.5)
    telemetry.restore_refused(3)
    telemetry.lag("returns", 0, 7)
    telemetry.session_lost("SessionLost")
    seen = points(metrics)
    decided = [o.event for o in outputs if o.role == "allocations"]
    assert [p.value for p in seen["stream_allocator.records.consumed"]] == [31]
    assert [p.value for p in seen["stream_allocator.bars.closed"]] == [30]
    decisions = seen["stream_allocator.decisions"]
    assert sum(p.value for p in decisions) == len(decided)
    assert {p.attributes["trigger"] for p in decisions} == {a.trigger for a in decided}
    assert {p.attributes["rung"] for p in decisions} == {a.rung for a in decided}
    (letter,) = seen["stream_allocator.dead_letters"]
    assert letter.attributes["code"] == "malformed"
    (bucket,) = seen["stream_allocator.turnover.bucket"]
    assert bucket.value == decided[-1].turnover.bucket
    (lag,) = seen["stream_allocator.lag"]
    assert (lag.value, dict(lag.attributes)) == (7, {"topic": "returns", "partition": 0})
    for name in ("batch", "transaction", "restore"):
        (duration,) = seen[f"stream_allocator.{name}.duration"]
        assert duration.count == 1
        assert duration.explicit_bounds[0] <= 0.001, "seconds, not milliseconds"
    assert len(seen["stream_allocator.sessions.lost"]) == 1
    (refused,) = seen["stream_allocator.restores.refused"]
    assert (refused.value, dict(refused.attributes)) == (1, {"partition": 3})
    telemetry.close()


def test_an_unknown_exporter_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="jaeger is not one of none, console, otlp"):
        Telemetry("jaeger", "w-0")


def test_otlp_goes_where_the_standard_variables_point(monkeypatch):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    seen = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        telemetry = Telemetry("otlp", "w-0")
        telemetry.batch([[]]).end()
        telemetry.committed(0.1)
        telemetry.close()
        server.shutdown()
    assert set(seen) == {"/v1/traces", "/v1/metrics"}
