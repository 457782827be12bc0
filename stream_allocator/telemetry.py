"""OpenTelemetry traces and metrics of the worker. Attributes hold names and counts, never secrets.

Exporters: ``console`` prints to standard error, ``otlp`` sends over HTTP to where the standard ``OTEL_*``
variables point, ``none`` records nothing.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Literal, get_args

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider as MeterProviderAPI
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Link, NoOpTracerProvider, Span, get_current_span
from opentelemetry.trace import TracerProvider as TracerProviderAPI
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from stream_allocator import __version__
from stream_allocator.errors import ConfigurationError
from stream_allocator.events import Allocation, DeadLetter, RegimeUpdate, WireEvent

__all__ = ["EXPORTERS", "Exporter", "Telemetry"]

Exporter = Literal["none", "console", "otlp"]
EXPORTERS: tuple[Exporter, ...] = get_args(Exporter)

TRACE_HEADER = "traceparent"
#: A batch links to so many of its records' traces at most.
LINKS = 32
#: Seconds; the default boundaries are made for milliseconds.
DURATION_BOUNDARIES = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)

_propagator = TraceContextTextMapPropagator()


class Telemetry:
    """Instruments of one worker.

    Parameters
    ----------
    exporter : {"none", "console", "otlp"}
    instance : str
        Names the worker in every span and metric.
    spans, metrics : optional
        Exporter and reader to use instead, for tests.

    Raises
    ------
    ConfigurationError
        For an exporter that does not exist.
    """

    def __init__(
        self,
        exporter: str,
        instance: str,
        *,
        spans: SpanExporter | None = None,
        metrics: MetricReader | None = None,
    ) -> None:
        if exporter not in EXPORTERS:
            raise ConfigurationError(f"telemetry {exporter} is not one of {', '.join(EXPORTERS)}")
        if exporter == "console":
            spans = spans or ConsoleSpanExporter(out=sys.stderr)
            metrics = metrics or PeriodicExportingMetricReader(ConsoleMetricExporter(out=sys.stderr))
        elif exporter == "otlp":  # their imports take 0.2 s, which a worker without them need not wait for
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            spans = spans or OTLPSpanExporter()
            metrics = metrics or PeriodicExportingMetricReader(OTLPMetricExporter())
        resource = Resource.create(
            {
                "service.name": "stream-allocator",
                "service.version": __version__,
                "service.instance.id": instance,
            }
        )
        self._traced, self._measured = spans is not None, metrics is not None
        self._providers: list[TracerProvider | MeterProvider] = []
        traces: TracerProviderAPI = NoOpTracerProvider()
        meters: MeterProviderAPI = NoOpMeterProvider()
        if spans is not None:
            provider = TracerProvider(resource=resource)
            provider.add_span_processor(BatchSpanProcessor(spans))
            self._providers.append(provider)
            traces = provider
        if metrics is not None:
            meters = MeterProvider(metric_readers=[metrics], resource=resource)
            self._providers.append(meters)
        self._tracer = traces.get_tracer("stream_allocator", __version__)
        meter = meters.get_meter("stream_allocator", __version__)
        self._consumed = meter.create_counter("stream_allocator.records.consumed", unit="{record}")
        self._bars = meter.create_counter("stream_allocator.bars.closed", unit="{bar}")
        self._decisions = meter.create_counter("stream_allocator.decisions", unit="{decision}")
        self._dead_letters = meter.create_counter("stream_allocator.dead_letters", unit="{record}")
        durations = partial(
            meter.create_histogram, unit="s", explicit_bucket_boundaries_advisory=DURATION_BOUNDARIES
        )
        self._batch = durations("stream_allocator.batch.duration")
        self._transaction = durations("stream_allocator.transaction.duration")
        self._restore = durations("stream_allocator.restore.duration")
        self._refused = meter.create_counter("stream_allocator.restores.refused", unit="{restore}")
        self._sessions = meter.create_counter("stream_allocator.sessions.lost", unit="{session}")
        self._lag = meter.create_gauge("stream_allocator.lag", unit="{record}")
        self._bucket = meter.create_gauge("stream_allocator.turnover.bucket", unit="1")

    def batch(self, headers: Iterable[Iterable[tuple[str, bytes | None]] | None]) -> Span:
        """A span for one batch, linked to the traces in its records' headers. The caller ends it.

        The headers are looked at where spans go somewhere, and there until the links are full.
        """
        links: list[Link] = []
        for record in headers if self._traced else ():
            parent = next((v for k, v in record or () if k == TRACE_HEADER), None)
            if len(links) == LINKS:
                break
            if parent is not None:
                context = _propagator.extract({TRACE_HEADER: parent.decode("ascii", "replace")}, Context())
                links.append(Link(get_current_span(context).get_span_context()))
        return self._tracer.start_span("process batch", context=Context(), links=links)

    def trace_headers(self, span: Span) -> list[tuple[str, bytes]]:
        """The span's trace context as record headers; empty where nothing is traced."""
        context = span.get_span_context()
        if not context.is_valid:
            return []
        ids = f"{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        return [(TRACE_HEADER, f"00-{ids}".encode())]

    def processed(self, consumed: int, published: Iterable[WireEvent], seconds: float) -> None:
        """A batch went through the engines."""
        if not self._measured:
            return
        self._consumed.add(consumed)
        self._batch.record(seconds)
        bars: Counter[str] = Counter()
        for event in published:
            if isinstance(event, RegimeUpdate):
                bars[event.universe] += 1
            elif isinstance(event, Allocation):
                where = {"universe": event.universe, "portfolio": event.portfolio}
                self._decisions.add(
                    1,
                    {**where, "rung": event.rung, "trigger": event.trigger, "executable": event.executable},
                )
                self._bucket.set(event.turnover.bucket, where)
            elif isinstance(event, DeadLetter):
                self._dead_letters.add(1, {"code": event.code})
        for universe, closed in bars.items():
            self._bars.add(closed, {"universe": universe})

    def committed(self, seconds: float) -> None:
        """A transaction was committed."""
        self._transaction.record(seconds)

    def restored(self, partition: int, seconds: float) -> None:
        """A partition is back."""
        self._restore.record(seconds, {"partition": partition})

    def restore_refused(self, partition: int) -> None:
        """The state rebuilt from the log is not the committed one: the worker stops."""
        self._refused.add(1, {"partition": partition})

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Records that wait on an input partition, commit markers included."""
        self._lag.set(records, {"topic": topic, "partition": partition})

    def session_lost(self, why: str) -> None:
        """The worker had to start over from the committed state."""
        self._sessions.add(1, {"why": why})

    def close(self) -> None:
        """Send what is left."""
        for provider in self._providers:
            provider.shutdown()
