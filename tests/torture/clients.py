"""Clients that ask on connections that they keep, and account for what became of every request.

Leaves out measuring speed (``eval.load``): these say which requests were answered, refused and lost, and when.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count

ANSWER_SECONDS = 30.0
"""A request without an answer after that long counts as hung."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    head: bytes
    """Status line and headers, in small letters."""
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the server says that it closes the connection."""
        return b"\r\nconnection: close" in self.head


@dataclass(frozen=True)
class Lost:
    """A request that was sent and had no whole answer."""

    client: int
    opened: float
    """When its connection was there (``time.monotonic``)."""
    sent: float
    """When it went out."""
    answered_before: int
    """Answers that came on the same connection before."""
    why: str


@dataclass
class Account:
    """What became of the requests of some clients."""

    answered: Counter[int] = field(default_factory=Counter)
    """Status → answers."""
    lost: list[Lost] = field(default_factory=list)
    refused: int = 0
    """Connections that the server did not take; nothing was sent on them."""
    connections: int = 0
    """Connections that it took."""
    first_refused: float | None = None
    """When the first connection was refused (``time.monotonic``)."""

    def __str__(self) -> str:
        """In one line."""
        statuses = ", ".join(f"{number:,} with {status}" for status, number in sorted(self.answered.items()))
        return f"{statuses or 'none'} answered, {len(self.lost)} lost, {self.refused} connections refused"


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next response; IncompleteReadError when the connection ends before it does."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"\r\ncontent-length:")[2].split(None, 1)[0])
    return Answer(int(head.split(None, 2)[1]), head, await reader.readexactly(length))


async def ask(streams: Streams, request: bytes) -> Answer:
    """Send a request and read its answer.

    Raises:
        OSError: the connection ended, or there was no answer in time (TimeoutError).
    """
    reader, writer = streams
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(request)
            return await read_answer(reader)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError(f"closed after {len(error.partial)} bytes of an answer") from None


async def close(streams: Streams | None) -> None:
    """Close a connection, whatever state it is in."""
    if streams is not None:
        streams[1].close()
        with suppress(OSError):
            await streams[1].wait_closed()


async def keep_asking(
    number: int, port: int, requests: Sequence[bytes], account: Account, ended: asyncio.Event, last: asyncio.Event
) -> None:
    """One client: request after request until ``ended``, on a new connection where the old one is gone.

    Args:
        number: of the client; it begins with another request than the others.
        port: of the server on this machine.
        requests: asked in turn.
        account: where everything is counted.
        ended: set when it is to stop.
        last: set when a refused connection means that the server is gone for good.
    """
    streams: Streams | None = None
    opened, answers = 0.0, 0
    try:
        for turn in count(number):
            if ended.is_set():
                return
            if streams is None:
                try:
                    streams = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    account.refused += 1
                    account.first_refused = account.first_refused or time.monotonic()
                    if last.is_set():
                        return
                    await asyncio.sleep(0.02)
                    continue
                account.connections += 1
                opened, answers = time.monotonic(), 0
            sent = time.monotonic()
            try:
                answer = await ask(streams, requests[turn % len(requests)])
            except OSError as error:
                account.lost.append(Lost(number, opened, sent, answers, str(error) or type(error).__name__))
                await close(streams)
                streams = None
                continue
            answers += 1
            account.answered[answer.status] += 1
            if answer.closes:
                await close(streams)
                streams = None
            if answer.status != HTTPStatus.OK:
                await asyncio.sleep(0.02)
    finally:
        await close(streams)
