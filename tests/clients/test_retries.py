from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from firstreply_client import (
    AsyncClient,
    FirstreplyError,
    Limits,
    NotAuthenticatedError,
    OverloadedError,
    RefusedError,
    Result,
    ServerError,
    TimedOutError,
    UnreachableError,
)
from firstreply_client.exchange import Deadline, Reply, Request, score
from firstreply_client.mentions import encode
from firstreply_client.parts import split
from hypothesis import given
from hypothesis import strategies as st

from tests.clients.conftest import Awaited, Connect, Scripted, reply, scored

Script = Callable[..., Scripted]


def cut(handler: BaseHTTPRequestHandler, body: Any) -> None:
    """Break the connection without a word."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def half(handler: BaseHTTPRequestHandler, body: Any) -> None:
    """Break it in the middle of an answer."""
    reply(handler, 200, {"Content-Length": "1000"}, b'{"model": "x", ')


@pytest.mark.parametrize("first", [408, 429, 502, 503, 504, cut, half])
def test_what_fails_for_a_while_is_asked_again(connect: Connect, scripted: Script, first: Any) -> None:
    server = scripted(first, scored)
    (result,) = connect(server.url).score(["Where is my order?"])
    assert isinstance(result, Result)
    assert result.model == "scripted@1"
    once, again = server.seen
    assert once.body == again.body == {"explain": False, "mentions": [{"id": "1", "text": "Where is my order?"}]}
    assert float(again.headers["X-Request-Timeout"]) < float(once.headers["X-Request-Timeout"]) <= 30


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (308, RefusedError),
        (400, RefusedError),
        (401, NotAuthenticatedError),
        (403, NotAuthenticatedError),
        (404, RefusedError),
        (413, RefusedError),
        (422, RefusedError),
        (500, ServerError),
        (599, ServerError),
    ],
)
def test_what_would_fail_again_is_asked_once(
    connect: Connect, scripted: Script, status: int, error: type[FirstreplyError]
) -> None:
    server = scripted((status, {"Location": "https://elsewhere/"}, {"title": "A title", "detail": "And detail."}))
    with pytest.raises(error, match=f"^{status} A title: And detail.$") as raised:
        connect(server.url).score(["ok"])
    assert type(raised.value) is error
    assert (raised.value.status, raised.value.title, raised.value.detail) == (status, "A title", "And detail.")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("step", "error", "status"),
    [
        (429, OverloadedError, 429),
        (503, OverloadedError, 503),
        (504, TimedOutError, 504),
        (502, ServerError, 502),
        (cut, UnreachableError, None),
    ],
)
def test_what_goes_on_failing_is_told_after_the_last_attempt(
    connect: Connect, scripted: Script, step: Any, error: type[FirstreplyError], status: int | None
) -> None:
    server = scripted(step)
    with pytest.raises(error, match="asked 2 times") as raised:
        connect(server.url, retries=1).score(["ok"])
    assert raised.value.status == status
    assert len(server.seen) == 2


def test_nobody_at_the_address(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        client = connect(f"http://127.0.0.1:{taken.getsockname()[1]}", retries=1)
        with pytest.raises(UnreachableError, match="is a firstreply server at that address") as raised:
            client.score(["ok"])
        assert isinstance(raised.value.__cause__, httpx.ConnectError)
        assert client.ready() is False


def _in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # in whole seconds: at least one


@pytest.mark.parametrize("after", [lambda: "1", _in_two_seconds])
def test_retry_after_is_waited_for(connect: Connect, scripted: Script, after: Callable[[], str]) -> None:
    server = scripted(lambda handler, body: reply(handler, 429, {"Retry-After": after()}), scored)
    assert len(connect(server.url).score(["ok"])) == 1
    assert server.seen[1].at - server.seen[0].at >= 0.99


@pytest.mark.parametrize(("after", "timeout"), [("20", 10), ("61", 3_600)])
def test_server_that_wants_to_be_left_alone_for_longer_is_not_waited_for(
    connect: Connect, scripted: Script, after: str, timeout: float
) -> None:
    server = scripted((503, {"Retry-After": after}))
    with pytest.raises(OverloadedError) as raised:
        connect(server.url).score(["ok"], timeout=timeout)
    assert raised.value.retry_after == float(after)
    assert len(server.seen) == 1


_NEVER = f"Sun, 06 Nov {10**20} 08:49:37 GMT"


@given(
    statuses=st.lists(st.sampled_from([408, 429, 502, 503, 504]), max_size=8),
    after=st.sampled_from(["", "soon", "-1", "0", "3", "Sun, 06 Nov 1994 08:49:37 GMT", "²", _NEVER]),
    retries=st.integers(0, 8),
)
def test_waits_are_random_within_bounds_that_double(statuses: list[int], after: str, retries: int) -> None:
    """The exchange is driven by hand: nobody waits."""
    (part,) = split(encode(["ok"]), False, Limits())
    now = 0.0
    steps = score(part, Deadline(1_000, lambda: now), retries)
    headers = httpx.Headers([(b"Retry-After", after.encode())])
    request = next(steps)
    for attempt, status in enumerate(statuses[:retries]):
        wait = steps.send(Reply(status, headers, b""))
        assert isinstance(wait, float)
        told = 3.0 if after == "3" and status in (429, 503) else 0.0
        assert told <= wait <= told + min(8.0, 0.5 * 2**attempt)
        now += wait
        request = steps.send(None)
    assert isinstance(request, Request)
    assert float(request.headers["X-Request-Timeout"]) == pytest.approx(1_000 - now, abs=0.01)
    for status in statuses[retries : retries + 1]:
        with pytest.raises(FirstreplyError) as raised:
            steps.send(Reply(status, headers, b""))
        assert raised.value.status == status


def test_waits_are_spread_over_what_they_are_drawn_from() -> None:
    (part,) = split(encode(["ok"]), False, Limits())
    longest = [0.0] * 7
    for _ in range(100):
        steps = score(part, Deadline(1_000), 7)
        for attempt in range(7):
            next(steps)
            wait = steps.send(httpx.ConnectError("nobody is there"))
            assert isinstance(wait, float)
            longest[attempt] = max(longest[attempt], wait)
    assert longest == pytest.approx([0.5, 1, 2, 4, 8, 8, 8], rel=0.5)


def test_time_is_for_the_whole_call(connect: Connect, scripted: Script) -> None:
    def hold(handler: BaseHTTPRequestHandler, body: Any) -> None:
        server.over.wait(20)

    server = scripted(scored, hold)
    with pytest.raises(TimedOutError, match="within 1 s, the time of the whole call") as raised:
        connect(server.url, limits=Limits(mentions=1, at_once=1)).score(["one", "two", "three"], timeout=1)
    assert raised.value.status is None
    assert [result.id for result in raised.value.scored] == ["1"]
    assert len(server.seen) == 2
    assert all(0 < float(seen.headers["X-Request-Timeout"]) <= 1 for seen in server.seen)


def test_answer_that_comes_in_drops_is_cut_off(connect: Connect, scripted: Script) -> None:
    def drip(handler: BaseHTTPRequestHandler, body: Any) -> None:
        reply(handler, 200, {"Content-Length": "1000000"}, b"{")
        for _ in range(200):
            if server.over.wait(0.1):
                return
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    server = scripted(drip)
    with pytest.raises(TimedOutError):
        connect(server.url, timeout=0.5).score(["ok"])
    assert len(server.seen) == 1


def test_answer_that_stops_after_late_headers_is_cut_off_in_time(connect: Connect, scripted: Script) -> None:
    def stall(handler: BaseHTTPRequestHandler, body: Any) -> None:
        server.over.wait(3)
        reply(handler, 200, {"Content-Length": "1000000"}, b"{")
        server.over.wait(20)

    server, began = scripted(stall), time.monotonic()
    with pytest.raises(TimedOutError):
        connect(server.url, timeout=4).score(["ok"])
    assert time.monotonic() - began < 6  # 7 if the body had the whole time once more


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"model": "x", "results": ',
        b'{"model": "x"}',
        b'{"model": "x", "results": []}',
        b'{"model": "x", "results": [1]}',
        b'{"model": "x", "results": [{"id": "1"}]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_answer_that_is_none_of_a_firstreply_server(connect: Connect, scripted: Script, body: bytes) -> None:
    server = scripted((200, {}, body))
    with pytest.raises(ServerError):
        connect(server.url).score(["ok"])
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [b"<html>", b'{"title": "only"}', b"[]", b"[" * 100_000])
def test_error_without_a_problem_document_says_where_to_look(connect: Connect, scripted: Script, body: bytes) -> None:
    server = scripted((301, {"Location": "https://care.example/"}, body))
    with pytest.raises(
        RefusedError, match="^301 Moved Permanently to https://care.example/, not in firstreply's words"
    ):
        connect(server.url).model()


def test_what_was_scored_before_a_failure_is_kept(connect: Connect, scripted: Script) -> None:
    server = scripted(scored, scored, 500)
    with pytest.raises(ServerError) as raised:
        connect(server.url, limits=Limits(mentions=2, at_once=1)).score(list("abcdefgh"))
    assert [result.id for result in raised.value.scored] == ["1", "2", "3", "4"]
    assert len(server.seen) == 3


def test_awaited_requests_go_out_side_by_side_and_no_more_than_asked(scripted: Script) -> None:
    together, lock, most = threading.Barrier(3), threading.Lock(), itertools.count()
    inside: set[int] = set()
    largest = 0

    def meet(handler: BaseHTTPRequestHandler, body: Any) -> None:
        nonlocal largest
        number = next(most)
        with lock:
            inside.add(number)
            largest = max(largest, len(inside))
        together.wait(20)  # broken, and the request lost, if there are never three
        server.over.wait(0.2)  # for a fourth, if one comes
        with lock:
            inside.remove(number)
        scored(handler, body)

    server = scripted(meet)

    async def ask() -> list[str]:
        async with AsyncClient(server.url, retries=0, limits=Limits(mentions=1, at_once=3)) as client:
            return [result.id for result in await client.score(["ok"] * 9)]

    assert asyncio.run(ask()) == [str(number) for number in range(1, 10)]
    assert largest == 3


def test_failure_of_one_awaited_request_gives_up_the_others(scripted: Script) -> None:
    def answer(handler: BaseHTTPRequestHandler, body: Any) -> None:
        match body["mentions"][0]["text"]:
            case "hold":
                held.set()
                server.over.wait(20)
            case "fail":
                held.wait(20)
                reply(handler, 500)
            case _:
                scored(handler, body)

    server, held = scripted(answer), threading.Event()

    async def ask() -> None:
        async with AsyncClient(server.url, limits=Limits(mentions=1, at_once=2)) as client:
            await client.score(["ok", "hold", "fail", "never sent"], timeout=60)

    with pytest.raises(ServerError) as raised:
        asyncio.run(ask())
    assert [result.id for result in raised.value.scored] == ["1"]
    assert "never sent" not in {seen.body["mentions"][0]["text"] for seen in server.seen}


@pytest.mark.parametrize("path", ["", "/", "/care", "/care/"])
def test_path_of_the_url_is_put_before_every_address(connect: Connect, scripted: Script, path: str) -> None:
    server = scripted(scored)
    connect(server.url + path).score(["ok"])
    assert server.seen[0].path == path.rstrip("/") + "/v1/score"


def test_transport_of_the_callers_own(connect: Connect, scripted: Script) -> None:
    proxy = scripted(scored)
    kind = httpx.AsyncHTTPTransport if connect is Awaited else httpx.HTTPTransport
    client = connect("http://care.example", "fr_key", transport=kind(proxy=proxy.url))
    assert len(client.score(["ok"])) == 1
    assert proxy.seen[0].path == "http://care.example/v1/score"
    assert proxy.seen[0].headers["Authorization"] == "Bearer fr_key"
