from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import Iterator

import pytest
import uvicorn

from serving.limits import Limits
from tests.deploy.balancer import CONFIGURATION, NGINX, Balanced, answers, asking, balanced, failed, refill
from tests.torture.clients import Account

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    """Two replicas behind nginx; every test leaves both as they were, ready."""
    with balanced(tmp_path_factory.mktemp("balancer")) as both:
        yield both


def asked(behind: Balanced, method: str, path: str, body: bytes = b"") -> tuple[http.client.HTTPResponse, bytes]:
    """What a caller gets who sends one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", behind.port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_replicas_share_the_work_and_nobody_notices_one_that_is_replaced(behind: Balanced) -> None:
    first, second = behind.ports

    async def restart() -> Account:
        async with asking(behind.port) as account:
            await answers(account, 100)
            assert behind.scored(first) > 0 < behind.scored(second)
            await asyncio.to_thread(behind.drain, first)
            await answers(account, 50)
            await refill(behind, first, account)
        return account

    account = asyncio.run(restart())
    assert failed(account) == 0, account
    assert behind.sent_on() > 0, "every request met a replica that was there: this proves nothing"


def test_replica_that_is_killed_costs_only_answers_that_were_half_sent(behind: Balanced) -> None:
    async def kill() -> Account:
        async with asking(behind.port) as account:
            await answers(account, 50)
            await asyncio.to_thread(behind.kill, behind.ports[1])
            await answers(account, 50)
            await refill(behind, behind.ports[1], account)
        return account

    before = behind.cut_off()
    account = asyncio.run(kill())
    assert failed(account) == len(account.lost) == behind.cut_off() - before, account


def test_what_is_of_one_replica_cannot_be_asked_of_any(behind: Balanced) -> None:
    for method, path in (("GET", "/metrics"), ("POST", "/v1/admin/reload")):
        response, body = asked(behind, method, path)
        assert (response.status, response.headers["Content-Type"]) == (404, "application/problem+json")
        assert json.loads(body)["status"] == 404
    assert asked(behind, "GET", "/v1/model")[0].status == 200


@pytest.mark.parametrize(
    ("size", "says"), [(Limits().body_bytes + 1, "is larger than 8,000,000 bytes"), (10_000_000, "Send fewer")]
)
def test_bodies_too_large_are_told_in_a_problem_document_by_whoever_refuses_them(
    behind: Balanced, size: int, says: str
) -> None:
    response, body = asked(behind, "POST", "/v1/score", b" " * size)
    assert (response.status, response.headers["Content-Type"]) == (413, "application/problem+json")
    assert says in json.loads(body)["detail"]


def test_without_any_replica_callers_are_told_to_try_again(behind: Balanced) -> None:
    for port in behind.ports:
        behind.kill(port)
    response, body = asked(behind, "POST", "/v1/score", b'{"mentions": []}')
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert json.loads(body)["status"] == 503
    for port in behind.ports:
        behind.start(port)


def test_times_and_sizes_fit_those_of_a_replica() -> None:
    """An idle connection is let go before a replica does, an answer waited for longer, and its largest body taken."""
    settings = re.findall(r"^ *(\w+) (\d+)[sm];", CONFIGURATION.read_text(encoding="utf-8"), re.MULTILINE)
    said, limits = {name: int(value) for name, value in settings}, Limits()
    assert said["keepalive_timeout"] < uvicorn.Config("").timeout_keep_alive
    assert said["proxy_read_timeout"] > limits.seconds
    assert said["client_max_body_size"] * 2**20 > limits.body_bytes
    assert said["client_header_timeout"] == limits.header_seconds
    assert said["client_body_timeout"] == limits.body_seconds
