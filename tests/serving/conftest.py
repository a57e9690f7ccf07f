"""A real server over a real socket for the tests of the endpoint."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from model.triage import Triage
from serving.app import Service, create_app
from serving.limits import Limits
from serving.live import Live
from serving.metrics import Metrics

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]


def _app_of(triage: Triage, limits: Limits | None = None, **service: Any) -> FastAPI:
    metrics = Metrics()
    live = Live(lambda _: triage, Path(), metrics=metrics)
    return create_app(Service(live, limits or Limits(), metrics=metrics, **service))


@pytest.fixture(scope="session")
def app_of() -> AppOf:
    """Makes the app of a service that a triage answers, whatever bundle is asked for."""
    return _app_of


@contextmanager
def _served(app: FastAPI) -> Iterator[httpx.Client]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, loop="asyncio", http="httptools", ws="none", lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server for an app; it stops with the test."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(_served(app))


@pytest.fixture(scope="session")
def client(tiny_triage: Triage) -> Iterator[httpx.Client]:
    """A client of one server that takes at most 50 mentions and 200,000 bytes."""
    with _served(_app_of(tiny_triage, Limits(body_bytes=200_000, mentions=50))) as connected:
        yield connected
