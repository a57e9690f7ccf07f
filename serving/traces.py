"""Each request as an OpenTelemetry span, where somebody collects them; the extra ``otel`` brings what that needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import Scope

from data.schema import FirstreplyError

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class TracesError(FirstreplyError):
    """Traces are asked for, and what sends them is not installed."""


def check_installed() -> None:
    """Whether spans could be sent.

    Raises:
        TracesError: the extra ``otel`` is not installed.
    """
    try:
        importlib.import_module(_EXPORTER)
    except ImportError:
        raise TracesError("--traces needs OpenTelemetry; install firstreply[otel]") from None


class Traces:
    """Where requests are told.

    Args:
        collector: address that takes OTLP over HTTP, such as ``http://localhost:4318/v1/traces``; None tells nobody.

    Raises:
        TracesError: the extra ``otel`` is not installed.
    """

    def __init__(self, collector: str | None = None) -> None:
        self._tracer: Any = None
        self._provider: Any = None
        if collector is None:
            return
        check_installed()
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        otlp = importlib.import_module(_EXPORTER)
        self._context = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._trace = importlib.import_module("opentelemetry.trace")
        self._provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": "firstreply"}))
        self._provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(endpoint=collector)))
        self._tracer = self._provider.get_tracer("firstreply")

    @contextmanager
    def request(self, scope: Scope, traceparent: str) -> Iterator[Callable[[int], None]]:
        """A span around one request, part of the trace that its caller began; what it gives is told the status."""
        if self._tracer is None:
            yield lambda _: None
            return
        parent = self._context.TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        kind = self._trace.SpanKind.SERVER
        with self._tracer.start_as_current_span(scope["method"], context=parent, kind=kind) as span:

            def answered(status: int) -> None:
                path = getattr(scope.get("route"), "path", "other")
                span.update_name(f"{scope['method']} {path}")
                span.set_attributes(
                    {"http.request.method": scope["method"], "http.route": path, "http.response.status_code": status}
                )
                for name in ("mentions", "tokens", "request_id"):
                    if name in scope:
                        span.set_attribute(f"firstreply.{name}", scope[name])

            yield answered

    def stop(self) -> None:
        """Send what has not been sent."""
        if self._provider is not None:
            self._provider.shutdown()
