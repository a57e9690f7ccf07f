"""``firstreply serve``: load, listen, say so, run until told to stop.

Leaves out what is answered (``serving.app``).
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import uvicorn

from model.cascade import load_reader
from model.errors import FirstreplyError
from model.policy import Policy
from model.triage import Triage
from serving.app import Limits, create_app
from serving.contract import EXAMPLE_REQUEST

STOP_SECONDS = 30
"""How long requests in flight have to finish once the server is told to stop."""

logger = logging.getLogger("firstreply")


class AddressError(FirstreplyError):
    """The server cannot listen where it was told to."""


@dataclass(frozen=True)
class ServeSettings:
    """What a server is started with."""

    bundle: Path
    """Bundle folder."""
    host: str = "127.0.0.1"
    """Name or address to listen on; ``0.0.0.0`` is every IPv4 address of the machine."""
    port: int = 8000
    """Port to listen on; 0 lets the system choose a free one."""
    brands: Path | None = None
    """Brands file; the bundle's own by default."""
    policy: Path | None = None
    """Policy file; the default one by default."""
    cut: str = "balanced"
    """Which of the bundle's cuts makes labels of probabilities."""
    remember: int = 0
    """Mentions whose reading is kept in memory, so that a repeat costs nothing (``model.scorer.Scorer``)."""
    access_log: bool = False
    """Log a line for each request (address, path and status; never what was posted)."""
    limits: Limits = field(default_factory=Limits)
    """What requests may ask for."""


def serve(settings: ServeSettings) -> int:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first.

    Everything that can be wrong with the settings is found before the server listens. Must run on the main thread.

    Returns:
        Exit status 0.

    Raises:
        FirstreplyError: a file that cannot be used, or an ``AddressError``.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    reader = load_reader(settings.bundle, brands=settings.brands, remember=settings.remember)
    triage = Triage(reader, Policy.load(settings.policy), settings.cut)
    listener = _listener(settings.host, settings.port)
    config = uvicorn.Config(
        create_app(triage, settings.limits),
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=settings.access_log,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    server = _Server(config, ready_lines(triage.name, listener))

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn stops on these signals itself and then raises them again for whoever was there before: that is this one,
    # which lets a stop that was asked for end with status 0.
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    print("firstreply: stopped", file=sys.stderr, flush=True)
    return 0


class _Server(uvicorn.Server):
    """Says on stderr when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, file=sys.stderr, flush=True)


def ready_lines(name: str, listener: socket.socket) -> str:
    """Where the server answers, and a command that asks it something."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return (
        f"firstreply: {name} ready on {url} (documentation: {url}/docs); try\n"
        f"curl {url}/v1/score -H 'Content-Type: application/json' -d '{json.dumps(EXAMPLE_REQUEST)}'"
    )


def _listener(host: str, port: int) -> socket.socket:
    """A socket bound to the address; it listens only when the server runs."""
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise AddressError(f"{host}:{port}: ports end at 65535; give another --port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name with both kinds of address, such as localhost, is served on the one that everybody tries.
        family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AddressError(f"{host}:{port}: {reason}; give another --host or --port") from None
    return listener
