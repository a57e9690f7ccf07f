"""A connection that nobody can hold for nothing: how long headers may take and be, and how long an answer waits.

Leaves out bodies (``serving.app``) and HTTP itself (httptools, uvicorn).
"""

from __future__ import annotations

import asyncio
from asyncio.events import TimerHandle
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.limits import Limits

_LINGER_SECONDS = 10.0
"""For a client to take an answer that is written, before its connection is cut."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection over httptools, with ``limits``; ``limited`` makes the class for some."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_bytes = 0
        self._in_headers = True
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse what is one connection too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(b"503 Service Unavailable", b"too many connections; try again")
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a request's headers are complete."""
        if self.transport.is_closing():
            return
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self.limits.header_bytes:
            self._refuse(b"431 Request Header Fields Too Large", b"the request's line and headers are too large")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        """Its headers are there, in time."""
        self._in_headers = False
        self._header_bytes = 0
        self._stop_waiting()
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > self.limits.header_bytes:
            self._refuse(b"431 Request Header Fields Too Large", b"the request's line and headers are too large")
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Its body comes, unless it was refused."""
        if self.cycle is not None and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is complete, unless it was refused."""
        if self.cycle is not None and not self.transport.is_closing():
            super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came any more: close, and do not wait for ever for the answer before to be taken."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _expect_headers(self) -> None:
        self._stop_waiting()
        self._in_headers = True
        self._deadline = self.loop.call_later(
            self.limits.header_seconds, self._refuse, b"408 Request Timeout", b"the headers took too long"
        )

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: bytes, reason: bytes) -> None:
        if self.transport.is_closing():
            return
        self._stop_waiting()
        head = b"HTTP/1.1 %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(reason)) + reason)
        self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


def limited(limits: Limits) -> type[BoundedConnection]:
    """The class of connections with these limits, as uvicorn wants one."""
    return type("LimitedConnection", (BoundedConnection,), {"limits": limits})
