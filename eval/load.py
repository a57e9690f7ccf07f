"""Clients of an HTTP endpoint: so many at once, or so many requests a second whatever the answers take.

As light as can be, since they compute on the machine that they measure. Leaves out what is asked (``eval.bench``).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import numpy as np

from data.schema import FirstreplyError

_WARM_UP = 0.5
"""Seconds before anything counts."""
_PATIENCE = 10.0
"""Seconds after the last request of an offered load in which answers still count."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Load:
    """What came back."""

    seconds: float
    answered: int = 0
    """Requests sent after the warm-up."""
    in_all: int = 0
    """Answers, those of the warm-up too."""
    late: int = 0
    """Requests that had no answer long after the end."""
    refused: int = 0
    """Answers with status 429: the server says that it is asked too much."""
    milliseconds: list[float] = field(default_factory=list)
    """Of the requests that were answered."""

    def described(self, batch: int = 1) -> dict[str, float | int | None]:
        """Mentions a second and quantiles of the latency, for requests of ``batch`` mentions."""
        p50, p99 = np.quantile(self.milliseconds, (0.5, 0.99)) if self.milliseconds else (None, None)
        return {
            "mentions_per_second": self.answered * batch / self.seconds,
            "p50_ms": None if p50 is None else float(p50),
            "p99_ms": None if p99 is None else float(p99),
            "refused": self.refused,
            "late": self.late,
        }


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Every client sends its next request when it has the last answer, on a connection of its own.

    Raises:
        FirstreplyError: an answer with another status than 200.
    """
    return asyncio.run(_closed_loop(port, requests, clients, seconds))


def offered(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Requests come at random, ``rate`` a second (Poisson); latency counts from the moment at which one should go out.

    Raises:
        FirstreplyError: an answer with another status than 200 or 429.
    """
    return asyncio.run(_offered(port, requests, rate, seconds))


async def _closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    began = time.perf_counter() + _WARM_UP
    load = Load(seconds)
    first, sent = 0.0, 0

    async def client() -> None:
        nonlocal first, sent
        connection = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (now := time.perf_counter()) < began + seconds:
                sent += 1
                status = await _ask(connection, requests[sent % len(requests)])
                if status != HTTPStatus.OK:
                    raise FirstreplyError(f"the server answered with status {status}")
                load.in_all += 1
                if now >= began:
                    first = min(first, now) if first else now
                    load.answered += 1
                    then = time.perf_counter()
                    load.milliseconds.append((then - now) * 1000)
                    load.seconds = then - first
        finally:
            connection[1].close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return load


async def _offered(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    random = np.random.default_rng(0)
    free: deque[Connection] = deque()
    load = Load(seconds)

    async def one(number: int, due: float) -> None:
        connection = free.pop() if free else None
        if connection is None or connection[0].at_eof():  # a server closes what is idle for long
            connection = await asyncio.open_connection("127.0.0.1", port)
        status = await _ask(connection, requests[number % len(requests)])
        free.append(connection)
        if status == HTTPStatus.OK:
            load.answered += 1
            load.milliseconds.append((time.perf_counter() - due) * 1000)
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            load.refused += 1
        else:
            raise FirstreplyError(f"the server answered with status {status}")

    began = due = time.perf_counter()
    asked: list[asyncio.Task[None]] = []
    while (due := due + random.exponential(1 / rate)) < began + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(one(len(asked), due)))
    done, late = await asyncio.wait(asked, timeout=_PATIENCE) if asked else (set(), set())
    load.seconds = max(seconds, time.perf_counter() - began)
    load.late = len(late)
    for task in late:
        task.cancel()
    for task in done:
        task.result()
    for _, writer in free:
        writer.close()
    return load


async def _ask(connection: Connection, asked: bytes) -> int:
    reader, writer = connection
    writer.write(asked)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].split(None, 1)[0]))
    return int(head.split(None, 2)[1])
