"""What operators see of the gateway: counts and latencies for Prometheus, spans for OpenTelemetry.

Both are off unless a setting asks for them, and neither ever has an identifier: no tenant, key, event or
reference, no address. The heartbeat's two counts are always there.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.ingestion.doors import Door
from services.ingestion.errors import CallError, Context
from services.ingestion.intake import Taken


class Observation:
    """Counts, and hands on to Prometheus and OpenTelemetry where they are on."""

    def __init__(self, metrics_port: int, traces_endpoint: str) -> None:
        self.counts: Counter[str] = Counter()
        """Events by status, as `accepted`, and failed calls by reason."""
        self._metrics = _Metrics(metrics_port) if metrics_port else None
        self._tracer = _tracer(traces_endpoint) if traces_endpoint else None

    @contextlib.contextmanager
    def call(self, door: Door, verb: str, context: Context) -> Iterator[Call]:
        """One call, unary or stream."""
        if self._tracer is None:
            yield Call(self.counts, self._metrics, None, door.domain)
            return
        from opentelemetry.propagate import extract

        parent = extract(dict(context.invocation_metadata() or ()))
        name = f"{door.service.full_name}/{verb}"
        with self._tracer.start_as_current_span(name, context=parent) as span:
            yield Call(self.counts, self._metrics, span, door.domain)


class Call:
    """What happens in one call."""

    def __init__(self, counts: Counter[str], metrics: _Metrics | None, span: Any, domain: str) -> None:
        self._counts = counts
        self._metrics = metrics
        self._span = span
        self._domain = domain

    def answered(self, taken: Taken) -> None:
        """A batch is acknowledged."""
        by_status = taken.counts()
        self._counts.update(by_status)
        if self._metrics is not None:
            self._metrics.batch(self._domain, by_status, time.perf_counter() - taken.taken_at)
        if self._span is not None:
            self._span.add_event("batch acknowledged", {"circles.events": taken.count_events})

    def failed(self, error: CallError) -> None:
        self._counts[error.reason] += 1
        if self._metrics is not None:
            self._metrics.failures.labels(self._domain, error.reason).inc()
        if self._span is not None:
            self._span.set_attribute("circles.error", error.reason)


class _Metrics:
    def __init__(self, port: int) -> None:
        from prometheus_client import CollectorRegistry, Histogram, start_http_server
        from prometheus_client import Counter as Metric

        registry = CollectorRegistry()
        self.events = Metric(
            "circles_ingestion_events", "Events by status", ["domain", "status"], registry=registry
        )
        self.failures = Metric(
            "circles_ingestion_failed_calls", "Calls by reason", ["domain", "reason"], registry=registry
        )
        self.seconds = Histogram(
            "circles_ingestion_batch_seconds",
            "From a batch's arrival to Kafka's acknowledgement",
            ["domain"],
            registry=registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
        )
        start_http_server(port, addr="127.0.0.1", registry=registry)

    def batch(self, domain: str, by_status: Counter[str], seconds: float) -> None:
        for status, count in by_status.items():
            self.events.labels(domain, status).inc(count)
        self.seconds.labels(domain).observe(seconds)


def _tracer(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "circles-ingestion"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider.get_tracer("services.ingestion")
