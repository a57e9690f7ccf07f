"""Both clients asked alike, a real server for them, and one whose every answer is written beforehand."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest
from firstreply_client import AsyncClient, Client, ModelInfo, Result, Unscored

from data.schema import INTENTS
from tests.serving.conftest import app_of, serve

__all__ = ["app_of", "serve"]

T = TypeVar("T")


class Awaited:
    """An ``AsyncClient`` that is asked as a ``Client`` is: every call has an event loop and connections of its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._make: Callable[[], AsyncClient] = lambda: AsyncClient(*arguments, **options)
        asyncio.run(self._make().aclose())  # what is wrong with the arguments is found at once

    def score(self, *arguments: Any, **options: Any) -> list[Result | Unscored]:
        """As of the client."""
        return self._run(lambda client: client.score(*arguments, **options))

    def model(self) -> ModelInfo:
        """As of the client."""
        return self._run(lambda client: client.model())

    def ready(self) -> bool:
        """As of the client."""
        return self._run(lambda client: client.ready())

    def _run(self, ask: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        async def run() -> T:
            async with self._make() as client:
                return await ask(client)

        return asyncio.run(run())


Connect = Callable[..., Client | Awaited]


@pytest.fixture(params=["blocks", "awaits"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes a client of either kind; it is closed with the test."""
    with ExitStack() as stack:
        if request.param == "blocks":
            yield lambda *arguments, **options: stack.enter_context(Client(*arguments, **options))
        else:
            yield Awaited


@dataclass
class Seen:
    """A request that came."""

    path: str
    headers: Any
    body: Any
    at: float


@dataclass
class Scripted:
    """A server that answers as it is told to, one step of the script for each request and the last for all others.

    A step is a status, a status with headers and a body, or a function that is given the handler.
    """

    script: list[Any]
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    """Set at the end of the test: until then a function may hold an answer back."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Take the next step."""
        length = int(handler.headers.get("Content-Length", 0))
        body = json.loads(handler.rfile.read(length)) if length else None
        with self._lock:
            step = self.script[min(len(self.seen), len(self.script) - 1)]
            self.seen.append(Seen(handler.path, handler.headers, body, time.monotonic()))
        if callable(step):
            step(handler, body)
        else:
            reply(handler, *(step if isinstance(step, tuple) else (step,)))


def reply(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None, body: Any = b"") -> None:
    """Answer; a body that is no bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def scored(handler: BaseHTTPRequestHandler, body: Any) -> None:
    """Answer as a firstreply server that finds nothing."""
    results = [
        {
            "id": mention["id"],
            "brand": None,
            "probabilities": dict.fromkeys(INTENTS, 0.0),
            "labels": [],
            "priority": {"score": 0.0, "level": "low", "respond_by": None, "signals": []},
            "queue": "none",
        }
        for mention in body["mentions"]
    ]
    reply(handler, 200, body={"model": "scripted@1", "results": results})


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Start a server with a script; it stops with the test."""
    with ExitStack() as stack:

        def start(*script: Any) -> Scripted:
            server = Scripted(list(script))

            class Handler(BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    server.answer(self)

                do_GET = do_POST  # noqa: N815  # the names are http.server's

                def log_message(self, format: str, *arguments: Any) -> None:
                    pass

            listening = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            listening.daemon_threads = False
            thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(listening.shutdown)
            stack.callback(server.over.set)
            server.url = f"http://127.0.0.1:{listening.server_port}"
            return server

        yield start
