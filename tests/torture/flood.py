"""Offers a server more than it can take: requests at random moments (Poisson), whatever the answers take.

A program of its own, so that the server is measured beside it: ``python -m tests.torture.flood PORT BODIES RATE SECONDS
CONNECTIONS``, where BODIES is a file with a body a line; the last line of output is one JSON object. It has at most so
many connections, each with one request at a time; what comes due while all are busy is held back for good, as by a
client whose pool is exhausted. Of an answer it looks at the status line, Content-Length and Retry-After alone.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from eval.load import request

IDLE = 1.0
"""Seconds after which a connection is not used again: the server may be about to close it."""
PATIENCE = 30.0
"""Seconds after the last request in which answers still count."""


@dataclass
class Outcome:
    """What came of the requests."""

    sent: int = 0
    held_back: int = 0
    """Requests that came due while all connections were busy."""
    answered: Counter[int] = field(default_factory=Counter)
    """Status → answers."""
    in_time: int = 0
    """Answers with status 200 before the last request was due."""
    milliseconds: list[float] = field(default_factory=list)
    """Of the answers with status 200, from when the request was due."""
    refusal_milliseconds: list[float] = field(default_factory=list)
    """Of the answers with status 429, from when the request was sent."""
    without_retry_after: int = 0
    lost: int = 0
    """Requests whose connection ended before their answer."""
    unasked: list[str] = field(default_factory=list)
    """What came on connections on which no request waited for its answer."""
    unanswered: int = 0
    """Requests without an answer in the end."""


class Flood:
    """Requests in turn over a bounded number of connections, opened as they are needed."""

    def __init__(self, port: int, requests: list[bytes], connections: int) -> None:
        self.port, self.requests, self.connections = port, requests, connections
        self.outcome = Outcome()
        self.until = 0.0
        self.free: list[_Client] = []
        self.clients: set[_Client] = set()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, rate: float, seconds: float) -> None:
        """Offer ``rate`` requests a second for some time, and wait for their answers."""
        random = Random(0)
        due = time.perf_counter()
        self.until = due + seconds
        while (due := due + random.expovariate(rate)) < self.until:
            # Behind time, answers have to be read all the same.
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._send(due)
        until = time.perf_counter() + PATIENCE
        while (busy := self._busy()) and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        self.outcome.unanswered = busy
        for client in self.clients:
            client.close()

    def _busy(self) -> int:
        return len(self._opening) + sum(client.due is not None for client in self.clients)

    def _send(self, due: float) -> None:
        asked = self.requests[self.outcome.sent % len(self.requests)]
        while self.free:
            client = self.free.pop()
            if time.perf_counter() - client.since < IDLE:
                self.outcome.sent += 1
                client.ask(asked, due)
                return
            client.close()
        if self._busy() >= self.connections:
            self.outcome.held_back += 1
            return
        self.outcome.sent += 1
        task = asyncio.get_running_loop().create_task(self._open(asked, due))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, asked: bytes, due: float) -> None:
        try:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: _Client(self), "127.0.0.1", self.port
            )
        except OSError:
            self.outcome.lost += 1
        else:
            client.ask(asked, due)


class _Client(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self, flood: Flood) -> None:
        self.flood = flood
        self.due: float | None = None
        """When the request was due that waits for its answer."""
        self.since = 0.0
        """When it was sent, or when the last one was answered."""
        self._head = b""
        self._left = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.flood.clients.add(self)

    def ask(self, asked: bytes, due: float) -> None:
        """Send a request that was due at some moment."""
        self.due, self.since = due, time.perf_counter()
        self._head = b""
        self._left = 0
        self._transport.write(asked)

    def data_received(self, data: bytes) -> None:
        if self.due is None:
            self.flood.outcome.unasked.append(data.decode("latin-1")[:500])
            return
        if not self._left:
            self._head += data
            head, end, body = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = head.lower()
            self._left = int(self._head.partition(b"\r\ncontent-length:")[2].split(None, 1)[0]) - len(body)
        else:
            self._left -= len(data)
        if self._left <= 0:
            self._answered()

    def _answered(self) -> None:
        assert self.due is not None
        now, outcome = time.perf_counter(), self.flood.outcome
        status = int(self._head[9:12])
        outcome.answered[status] += 1
        if status == 200:
            outcome.milliseconds.append((now - self.due) * 1000)
            outcome.in_time += now <= self.flood.until
        elif status == 429:
            outcome.refusal_milliseconds.append((now - self.since) * 1000)
            outcome.without_retry_after += b"\r\nretry-after:" not in self._head
        self.due, self.since = None, now
        if b"\r\nconnection: close" in self._head:
            self._transport.close()
        else:
            self.flood.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.flood.clients.discard(self)
        if self in self.flood.free:
            self.flood.free.remove(self)
        self.flood.outcome.lost += self.due is not None
        self.due = None

    def close(self) -> None:
        """Close it, whatever it waits for."""
        self._transport.close()


def main(port: int, bodies: Path, rate: float, seconds: float, connections: int) -> None:
    """Offer, and print what came of it."""
    flood = Flood(port, [request("/v1/score", body) for body in bodies.read_bytes().splitlines()], connections)
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    asyncio.run(flood.run(rate, seconds))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": cpu}
    print(json.dumps({**vars(flood.outcome), **took}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
