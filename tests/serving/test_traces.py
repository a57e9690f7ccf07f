from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from model.triage import Triage
from serving.traces import Traces
from tests.processes import until

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Address of something that takes spans, and what it was sent."""
    sent: list[bytes] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", sent
    server.shutdown()
    thread.join()
    server.server_close()


def test_request_is_a_span_of_its_callers_trace(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, collector: tuple[str, list[bytes]]
) -> None:
    address, sent = collector
    traces = Traces(address)
    client = serve(app_of(tiny_triage, traces=traces))
    header = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    assert client.post("/v1/score", json={"mentions": [{"text": "secret"}] * 3}, headers=header).status_code == 200
    assert until(lambda: sent)  # the span ends once the answer is out, and goes with others of the next seconds
    request = ExportTraceServiceRequest()
    request.ParseFromString(sent[0])
    (span,) = request.resource_spans[0].scope_spans[0].spans
    told = {item.key: item.value for item in span.attributes}
    assert span.name == "POST /v1/score"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, "00f067aa0ba902b7")
    assert told["http.response.status_code"].int_value == 200
    assert told["firstreply.mentions"].int_value == 3
    assert told["firstreply.request_id"].string_value == TRACE
    assert b"secret" not in sent[0]
