"""What a caller that is slow, broken or hostile can do: nothing to others."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from data.schema import MentionError
from model.triage import Ready, Triage
from serving.app import Service, create_app
from serving.connection import limited
from serving.limits import LimitError, Limits
from serving.live import Live
from serving.logs import configure, request_id, text_hash
from tests.processes import until

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]
ONE = {"mentions": [{"text": "Where is my order, @northtel?"}]}
SMALL = Limits(header_seconds=1, body_seconds=1, header_bytes=2_000, connections=4)


class Slow(Triage):
    """Takes half a second a mention, and counts them."""

    begun = 0

    def answer_ready(
        self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False
    ) -> list[list[dict[str, Any]] | MentionError]:
        """As ever, but slowly where a text asks for it."""
        if any("slow" in one.mention.text for one in turn):
            self.begun += len(turn)
            time.sleep(0.5 * len(turn))
        return super().answer_ready(turn, as_of=as_of, explain=explain)


@pytest.fixture
def address(tiny_triage: Triage) -> Any:
    """Address of a server with small limits on connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(Service(Live(lambda _: tiny_triage, Path()), SMALL))
    config = uvicorn.Config(app, loop="asyncio", http=limited(SMALL), ws="none", lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


def said(connection: socket.socket, seconds: float = 5.0) -> bytes:
    """Everything that comes until the server closes."""
    connection.settimeout(seconds)
    came = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            came += more
    return came


def problem(answer: bytes) -> int:
    """The status of an answer that is a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    status: int = json.loads(body)["status"]
    assert head.startswith(b"HTTP/1.1 %d " % status)
    return status


def test_deadline_of_the_request_is_504_and_what_waited_is_dropped(
    tiny_triage: Triage, serve: Serve, app_of: AppOf
) -> None:
    slow = Slow(tiny_triage.scorer, tiny_triage.policy)
    client = serve(app_of(slow))
    body = {"mentions": [{"text": "slow"}] * 40}
    began = time.monotonic()
    late = client.post("/v1/score", json=body, headers={"X-Request-Timeout": "0.2"})
    assert late.status_code == 504
    assert time.monotonic() - began < 2.0
    time.sleep(2.5)
    begun = slow.begun
    assert begun < 40
    time.sleep(0.7)
    assert slow.begun == begun
    assert client.post("/v1/score", json=ONE, headers={"X-Request-Timeout": "5"}).status_code == 200


@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon", ""])
def test_deadline_that_is_none_is_422(client: httpx.Client, value: str) -> None:
    assert client.post("/v1/score", json=ONE, headers={"X-Request-Timeout": value}).status_code == 422


def test_server_has_a_deadline_of_its_own(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    client = serve(app_of(Slow(tiny_triage.scorer, tiny_triage.policy), Limits(seconds=1)))
    late = client.post("/v1/score", json={"mentions": [{"text": "slow"}] * 20}, headers={"X-Request-Timeout": "900"})
    assert late.status_code == 504


def test_body_that_never_ends_is_408(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        head = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head + b'{"mentions"')
        answer = said(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("begin", [b"POST /v1/score HTT", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b"])
def test_headers_that_never_end_are_cut_off(address: tuple[str, int], begin: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(begin)
        began = time.monotonic()
        assert problem(said(connection)) == 408
        assert time.monotonic() - began < 4.0


def test_connection_that_asks_nothing_is_closed_without_a_word(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        assert said(connection) == b""


def test_headers_by_drops_are_cut_off_all_the_same(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        with pytest.raises(OSError):  # noqa: PT011  # closed or reset
            for _ in range(40):
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.1)


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 3_000 + b"\r\n\r\n",
        b"GET /livez?" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX-Long: " + b"a" * 100_000,
    ],
)
def test_oversized_headers_are_431(address: tuple[str, int], request_line: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(request_line)
        assert problem(said(connection)) == 431


def test_one_connection_too_many_is_503_and_the_others_stay(address: tuple[str, int]) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address)) for _ in range(SMALL.connections)]
        time.sleep(0.2)
        with socket.create_connection(address) as late:
            assert problem(said(late)) == 503
        held[0].sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert said(held[0]).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", [b"/livez", b"/v1/score"])
def test_answer_before_the_body_does_not_hold_the_connection(address: tuple[str, int], path: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        connection.settimeout(5)
        assert connection.recv(4_096).startswith((b"HTTP/1.1 405", b"HTTP/1.1 415"))
        connection.sendall(b"hello")
        assert b"HTTP/1.1" not in said(connection, 10)  # the rest of that answer; closed when nothing more comes


def test_trailers_without_end_are_refused(address: tuple[str, int]) -> None:
    head = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(address) as connection:
        connection.sendall(head + b"2\r\n{}\r\n0\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(b"X-Trailer: " + b"a" * 1_000 + b"\r\n")
                time.sleep(0.01)
        answer = said(connection)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 422"))


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 60\r\n",
        b"Content-Length: +5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Content-Length: 5\r\nX-A: b\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n X-Folded: b\r\n",
    ],
)
def test_request_of_two_lengths_is_refused(address: tuple[str, int], smuggled: bytes) -> None:
    hidden = b"0\r\n\r\nGET /v1/model HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST /v1/score HTTP/1.1\r\nHost: x\r\n" + smuggled + b"\r\n" + hidden)
        answer = said(connection)
    assert problem(answer) == 400
    assert answer.count(b"HTTP/1.1") == 1
    assert b"firstreply@" not in answer


def test_line_ends_in_a_header_do_not_come_back(client: httpx.Client) -> None:
    for path in ("/%0d%0aX-Injected:%201", "/v1/score%0d%0aSet-Cookie:%20a=b"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert not {"x-injected", "set-cookie"} & set(answer.headers)
    answer = client.get("/livez", headers={"traceparent": "00-\t;,%0d%0a" + "0" * 40})
    assert answer.headers["X-Request-Id"] != ""


def test_every_answer_has_the_headers_that_keep_browsers_from_harm(client: httpx.Client) -> None:
    for answer in (client.get("/livez"), client.get("/none"), client.post("/v1/score", content=b"x")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert "'unsafe-inline'" not in client.get("/docs").headers["Content-Security-Policy"].partition("style-src")[0]


def test_other_origins_may_call_only_where_they_are_named(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    client = serve(app_of(tiny_triage, origins=["https://crm.example"]))
    for origin, allowed in (("https://crm.example", "https://crm.example"), ("https://evil.example", None)):
        answer = client.post("/v1/score", json=ONE, headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        asked = client.options("/v1/score", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert asked.headers.get("Access-Control-Allow-Origin") == allowed


def test_metrics_and_documentation_can_be_closed(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    client = serve(app_of(tiny_triage, closed=["metrics", "docs"]))
    for path in ("/metrics", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"):
        assert client.get(path).status_code == 404
    assert client.post("/v1/score", json=ONE).status_code == 200


def test_request_id_is_that_of_the_callers_trace(client: httpx.Client) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = client.get("/livez", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.headers["X-Request-Id"] == trace
    for bad in ("", "00-0-0-0", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{trace}-00f067aa0ba902b7-01", "x" * 5_000):
        assert len(request_id(bad)) == 32
        assert request_id(bad) != request_id(bad)


def test_log_is_json_lines_without_posts(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, capfd: pytest.CaptureFixture[str]
) -> None:
    root, own = logging.getLogger(), logging.getLogger("firstreply.requests")
    before = root.handlers[:], root.level, own.level
    configure(as_json=True, requests=True)
    try:
        client = serve(app_of(tiny_triage))
        assert client.post("/v1/score", json=ONE, headers={"traceparent": "x"}).status_code == 200
        said = ""

        def is_told() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return '"/v1/score"' in said

        assert until(is_told)  # which is after the answer is out
    finally:
        root.handlers, root.level = before[0], before[1]
        own.setLevel(before[2])
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["message"] == "request" and line["path"] == "/v1/score"]
    assert (line["method"], line["path"], line["status"], line["mentions"]) == ("POST", "/v1/score", 200, 1)
    assert "northtel" not in json.dumps(lines)


def test_hash_of_a_text_tells_only_whether_it_is_the_same() -> None:
    assert text_hash("a") == text_hash("a") != text_hash("b")
    assert len(text_hash("\ud800")) == 16


def test_metrics_count_requests_mentions_and_what_was_read(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    client = serve(app_of(tiny_triage))
    body = {"mentions": [{"text": "I am leaving @northtel for good"}, {"text": ""}]}
    assert client.post("/v1/score", json=body).status_code == 200
    assert client.get("/nothing/here").status_code == 404
    lines = client.get("/metrics").text.splitlines()
    assert 'firstreply_requests_total{method="POST",path="/v1/score",status="200"} 1.0' in lines
    assert 'firstreply_requests_total{method="other",path="other",status="404"} 1.0' in lines
    assert 'firstreply_mentions_total{outcome="scored"} 1.0' in lines
    assert 'firstreply_mentions_total{outcome="error"} 1.0' in lines
    assert 'firstreply_probability_count{intent="churn_risk"} 1.0' in lines
    assert "firstreply_queue_tokens 0.0" in lines
    assert f'firstreply_model{{model="{tiny_triage.name}",sha256="{tiny_triage.sha256}"}} 1.0' in lines
    stages = [line for line in lines if line.startswith("firstreply_stage_seconds_count")]
    assert sorted(line.partition('"')[2].partition('"')[0] for line in stages) == ["body", "prepare", "wait", "work"]
    assert not any(line.endswith(" 0.0") for line in stages)


@pytest.mark.parametrize("setting", ["token=5", "tokens", "tokens=0", "tokens=-1", "tokens=many", "tokens=²"])
def test_limit_that_is_none_is_one_clear_line(setting: str) -> None:
    with pytest.raises(LimitError, match="--limit"):
        Limits().changed([setting])


def test_limits_can_be_set() -> None:
    assert Limits().changed(["tokens=5_000", "seconds=9"]) == Limits(tokens=5_000, seconds=9)
