"""One process that answers: what it is made of by its settings, its signals, and how it stops without losing anything.

Leaves out the socket and other workers (``serving.server``, ``serving.supervisor``).
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

import uvicorn

from data.schema import FirstreplyError
from model.pipeline import usable_cores
from model.triage import Triage
from serving.app import Service, create_app
from serving.connection import limited
from serving.keys import Keys
from serving.live import Live, Shadow
from serving.metrics import Metrics
from serving.settings import ServeSettings
from serving.supervisor import Beat
from serving.traces import Traces

logger = logging.getLogger("firstreply")

_BACKLOG = 2_048
"""Connections that wait to be taken, at most."""
_MORE = 2
"""Connections that a worker may have more than another before it lets that one take the next."""
_DOOR_SECONDS = 1.0
"""In which connections that wait are still taken when the server stops listening."""
_LET_SECONDS, _LET_TIMES = 0.001, 5
"""How long it does so at once, and how often before it takes one all the same."""
_MALLOC = {-8: 2, -3: 131_072, -1: 131_072}
"""M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3)."""


@dataclass
class Shared:
    """What workers of one server share: which bundle was last asked for by name."""

    folder: Path
    tell: Callable[[], None]
    """Tells the other workers to reload."""

    def select(self, bundle: Path) -> None:
        """Have every worker take this bundle, also those that are started later."""
        new = self.folder / "selected.new"
        new.write_text(str(bundle), encoding="utf-8")
        new.replace(self.folder / "selected")
        self.tell()

    def selected(self) -> Path | None:
        """The bundle last asked for; None is the one that the server was started with."""
        try:
            return Path((self.folder / "selected").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None


@dataclass
class Place:
    """A worker's place among others."""

    shared: Shared
    beat: Beat
    """Where it says that its loop goes round."""
    reloads: int
    """How often the server was told to reload before it was started: then what it inherited may be out of date."""


def load_triage(settings: ServeSettings, bundle: Path | None = None) -> Triage:
    """The settings' bundle, or another, with their policy, brands file and cut, as the files are now."""
    return Triage.load(
        bundle or settings.bundle,
        brands=settings.brands,
        policy=settings.policy,
        cut=settings.cut,
        remember=settings.remember,
    )


@dataclass(frozen=True)
class Models:
    """What a server begins with, loaded once: workers that are forked share it."""

    triage: Triage
    shadow: Triage | None

    @classmethod
    def load(cls, settings: ServeSettings) -> Self:
        """Those of the settings.

        Raises:
            FirstreplyError: a file cannot be used.
        """
        shadow = load_triage(settings, settings.shadow) if settings.shadow is not None else None
        return cls(load_triage(settings), shadow)


def run_worker(
    settings: ServeSettings,
    listener: socket.socket,
    models: Models,
    on_ready: Callable[[], None],
    place: Place | None = None,
) -> None:
    """Answer on a socket until SIGTERM or SIGINT, and finish what is in flight. On the main thread.

    Args:
        settings: of the server.
        listener: bound; it is closed in this process at the end.
        models: what the settings' bundles were when the server was started.
        on_ready: called once it answers.
        place: among other workers, if there are any.

    Raises:
        FirstreplyError: the keys file or the traces cannot be used.
    """
    _keep_memory_low()
    shared = place.shared if place is not None else None
    service = _service(settings, models, shared)
    if place is not None and place.reloads:
        _reload(settings, service, shared)
    config = uvicorn.Config(
        create_app(service),
        loop="asyncio",
        http=limited(settings.limits),
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG if place is None else 1,
        proxy_headers=False,
        timeout_graceful_shutdown=settings.stop_seconds,
    )
    server = _Server(config, service, on_ready, place.beat if place is not None else None, settings.drain_seconds)

    def stop(number: int, _frame: FrameType | None) -> None:
        server.hurries |= number == signal.SIGINT
        server.should_exit = True

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=_reload, args=(settings, service, shared), daemon=True).start()

    # uvicorn stops on these signals itself and then raises them again for whoever was there before: that is this one,
    # which lets a stop that was asked for end with status 0.
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    if hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # held back until now where there is a parent
    if place is not None:
        listener = _Listener(listener, place.beat, server.server_state.connections)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep_memory_low() -> None:
    """Have glibc's allocator give back what it no longer needs.

    As it is, it keeps a heap for each thread and raises its thresholds with every large request: 24,000 requests of all
    sizes left a server at 172 MiB instead of 107.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    for parameter, value in _MALLOC.items():
        mallopt(parameter, value)


def _service(settings: ServeSettings, models: Models, shared: Shared | None) -> Service:
    metrics = Metrics()
    live = Live(partial(load_triage, settings), settings.bundle, settings.bundles, metrics, models.triage)
    return Service(
        live,
        settings.limits,
        Keys.load(settings.keys, settings.workers) if settings.keys is not None else None,
        metrics,
        Shadow(models.shadow, settings.shadow_share, metrics) if models.shadow is not None else None,
        Traces(settings.traces),
        settings.closed,
        settings.origins,
        (lambda: shared.select(live.bundle)) if shared is not None else (lambda: None),
        max(1, usable_cores() // settings.workers),
    )


def _reload(settings: ServeSettings, service: Service, shared: Shared | None) -> None:
    """Read the bundle, the policy and the keys anew; what cannot be used is told in the log and stays as it was."""
    with suppress(FirstreplyError):  # told by ``Live``
        service.live.reload(shared.selected() if shared is not None else None)
    if settings.keys is not None:
        try:
            service.keys = Keys.load(settings.keys, settings.workers, service.keys)
        except FirstreplyError as error:
            logger.error("the keys stay as they were: %s", error)


class _Listener(socket.socket):
    """A socket whose connections workers share, where otherwise the first that wakes takes all that come at once.

    asyncio takes as many at once as may wait: told that one may, it takes one and looks again.
    """

    def __init__(self, listener: socket.socket, beat: Beat, connections: Collection[object]) -> None:
        super().__init__(fileno=listener.detach())
        self._beat, self._connections = beat, connections
        self._let = 0

    def listen(self, _backlog: int = 1, /) -> None:
        """Let as many wait as ever."""
        super().listen(_BACKLOG)

    def accept(self) -> tuple[socket.socket, Any]:
        """Take one, unless this worker has more than another, which is given a moment to."""
        ours = len(self._connections)
        if ours >= self._beat.fewest_elsewhere() + _MORE and self._let < _LET_TIMES:
            self._let += 1
            time.sleep(_LET_SECONDS)
            raise BlockingIOError
        self._let = 0
        taken = super().accept()
        self._beat.connected(ours + 1)
        return taken


class _Server(uvicorn.Server):
    """Says when it is ready; told to stop, it goes on answering for a moment and lets every connection go."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        on_ready: Callable[[], None],
        beat: Beat | None,
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._service, self._on_ready, self._beat = service, on_ready, beat
        self._drain_seconds = drain_seconds
        self._drains_since: float | None = None
        self.hurries = False
        """Somebody at a terminal stops it, and no balancer has to notice."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._beat is not None:
            self._beat.ready()
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._beat is not None:
            self._beat.connected(math.inf)  # others need not wait for this one to take a connection
        until = time.monotonic() + _DOOR_SECONDS
        while select.select(sockets or [], [], [], 0)[0] and time.monotonic() < until:
            await asyncio.sleep(0)  # who is at the door comes in before it closes
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        if self._beat is not None:
            self._beat.beat()
            self._beat.connected(len(self.server_state.connections))
        if self._beat is not None and self._service.is_broken and not self.should_exit:
            logger.error("a scoring thread has died, and the worker ends")
            self.should_exit = self.hurries = True
        if not await super().on_tick(counter):
            return False
        now = time.monotonic()
        if self._drains_since is None:
            self._drains_since, self._service.draining = now, True
        # Whoever is connected is told to go elsewhere with the next answer; a balancer sees that this is not ready.
        return self.force_exit or self.hurries or now - self._drains_since >= self._drain_seconds
