"""A connection that nobody can hold for nothing: how long headers may take and be, and how long an answer waits.

Leaves out bodies (``serving.app``) and HTTP itself (httptools, uvicorn).
"""

from __future__ import annotations

import asyncio
import json
from asyncio.events import TimerHandle
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.contract import PROBLEMS
from serving.limits import Limits

_LINGER_SECONDS = 10.0
"""For a client to take what is written, before its connection is cut."""
_FIRST_SECONDS = 0.5
"""For the first request on a connection that was opened as the server stopped."""
_SLACK = 2
"""How often the largest body may come over the wire: chunks have lines of their own."""


def _answer(status: int, detail: str) -> bytes:
    """A problem document, as it goes over the wire."""
    problem = {"type": "about:blank", "title": PROBLEMS[status][0], "status": status, "detail": detail}
    body = json.dumps(problem).encode()
    head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    return STATUS_LINE[status] + head % len(body) + body


_NOT_HTTP = _answer(400, "What came is no HTTP request, or could be read as two.")
_LATE = _answer(408, "The request did not arrive in time.")
_ENDLESS = _answer(413, "More comes than is read of a body.")
_TOO_LARGE = _answer(431, "The request's line and headers are larger than this server takes.")
_TOO_MANY = _answer(503, "As many connections are open as this server takes; try again.")


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection over httptools, with ``limits``; ``limited`` makes the class for some."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._came = self._header_bytes = 0
        self._in_headers = True
        self._stops = False
        self._deadline: TimerHandle | None = None
        self._taking: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse what is one connection too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(_TOO_MANY)
            return
        # A client that keeps a connection for later has asked nothing: it must not take an answer for that to what it
        # asks then.
        self._expect(self.limits.header_seconds, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        if self._taking is not None:
            self._taking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes, so that neither headers nor trailers nor what nobody reads can be without end."""
        if self.transport.is_closing():
            return
        self._came += len(data)
        super().data_received(data)
        if self._came > (self.limits.header_bytes if self._in_headers else _SLACK * self.limits.body_bytes):
            self._refuse(_TOO_LARGE if self._in_headers else _ENDLESS)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_headers = True
        self._expect(self.limits.header_seconds, _LATE)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is one too."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self.limits.header_bytes:
            self._refuse(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Its headers are there, in time; the body is next."""
        if len(self.url) > self.limits.header_bytes:
            self._refuse(_TOO_LARGE)
        if self.transport.is_closing():
            return
        self._in_headers, self._came = False, 0
        # The app, which can say more, has a deadline of its own; this one is for what it no longer waits for.
        self._expect(self.limits.body_seconds + _LINGER_SECONDS, _LATE)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Its body comes, unless it was refused."""
        if self.cycle is not None and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is complete, unless it was refused."""
        self._stop_waiting()
        self._came = self._header_bytes = 0
        self._in_headers = True
        if self.cycle is None or self.transport.is_closing():
            return
        super().on_message_complete()
        if self.cycle.response_complete and self.timeout_keep_alive_task is None:
            # Its answer did not wait for the body, and nothing else would close the connection.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        """The client does not take what is written: wait for it, but not for ever."""
        super().pause_writing()
        self._taking = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        if self._taking is not None:
            self._taking.cancel()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came any more: close, and do not wait for ever for the answer before to be taken."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """The server stops: end when nothing is in flight; a connection just opened has a moment for its request."""
        if self.cycle is None and not self._stops:
            self._stops = True
            self.loop.call_later(_FIRST_SECONDS, self.shutdown)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # says less
        """Refuse what is no HTTP, as everything else is refused."""
        self._refuse(_NOT_HTTP)

    def _expect(self, seconds: float, otherwise: bytes) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._refuse, otherwise)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, answer: bytes) -> None:
        if self.transport.is_closing():
            return
        self._stop_waiting()
        if self._is_unanswered():
            self.transport.write(answer)
        self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _is_unanswered(self) -> bool:
        """Whether what comes next on the connection is the answer to what is coming in at the moment."""
        if self.pipeline:
            return False
        if self.cycle is None:
            return True
        return self.cycle.response_complete if self._in_headers else not self.cycle.response_started


def limited(limits: Limits) -> type[BoundedConnection]:
    """The class of connections with these limits, as uvicorn wants one."""
    return type("LimitedConnection", (BoundedConnection,), {"limits": limits})
