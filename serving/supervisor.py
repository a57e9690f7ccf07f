"""Several workers on one socket: started, watched, replaced when they die or hang, told of signals, drained.

Leaves out what a worker does (``serving.worker``). The parent does nothing but this, so nothing can bring it down.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from serving.logs import fields
from serving.processes import process_context, with_parent

logger = logging.getLogger("firstreply")

_TICK = 0.2
"""Seconds between two looks at everything, at most; a death is seen at once."""
_SILENT_SECONDS = 60.0
"""Without a beat of its loop, a worker is hung, and killed."""
_LATELY = 1.0
"""Seconds; a worker has beaten since, or it is not counted on to take a connection."""
_FIELDS = 3
_EARLY_SECONDS, _LONGEST_PAUSE = 5.0, 30.0
"""A worker that dies sooner than that after its start waits before it is started again: a second, then twice that."""


@dataclass(frozen=True)
class Beat:
    """What a worker tells its parent and the other workers, in memory that all share."""

    _values: Any
    """Of each worker: when it last beat, whether it has been ready, its connections."""
    _place: int

    def begin(self) -> None:
        """Forget what the worker before it told."""
        self._values[self._place * _FIELDS : (self._place + 1) * _FIELDS] = [0.0] * _FIELDS

    def beat(self) -> None:
        """Its loop goes round."""
        self._values[self._place * _FIELDS] = time.monotonic()

    def ready(self) -> None:
        """It answers."""
        self._values[self._place * _FIELDS + 1] = 1.0

    def connected(self, connections: float) -> None:
        """It has so many connections; infinity where it takes no more."""
        self._values[self._place * _FIELDS + 2] = connections

    @property
    def last(self) -> float:
        """When it last beat, by ``time.monotonic``."""
        return float(self._values[self._place * _FIELDS])

    @property
    def is_ready(self) -> bool:
        """Whether it has ever been ready."""
        return bool(self._values[self._place * _FIELDS + 1])

    def fewest_elsewhere(self) -> float:
        """Connections of another worker that is at work and has the fewest; infinity where there is none."""
        lately = time.monotonic() - _LATELY
        rows = [self._values[row : row + _FIELDS] for row in range(0, len(self._values), _FIELDS)]
        del rows[self._place]
        return min((connections for last, ready, connections in rows if ready and last > lately), default=math.inf)


Work = Callable[[Beat, int], None]
"""What a worker does until it is told to stop: given its beat, and how often the server was told to reload before."""


@dataclass
class _Worker:
    process: BaseProcess
    beat: Beat
    started: float


class Supervisor:
    """The parent of workers.

    Args:
        work: what each of them does; inherited where processes fork, else pickled.
        workers: how many.
        stop_seconds: a worker has to stop in, when it is told to.
        on_ready: called once all are ready for the first time.
        on_death: called with the process id of each worker that has ended.
        on_stop: called before the workers are told to stop.
    """

    def __init__(
        self,
        work: Work,
        workers: int,
        stop_seconds: float,
        on_ready: Callable[[], None],
        on_death: Callable[[int], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._context = process_context()
        self._work, self._stop_seconds = work, stop_seconds
        self._on_ready, self._on_death, self._on_stop = on_ready, on_death, on_stop
        self._reloads = 0
        self._early = 0
        self._signals: list[int] = []
        self._workers: list[_Worker | None] = [None] * workers
        self._beats = self._context.Array("d", _FIELDS * workers, lock=False)
        self._start_at = [0.0] * workers

    def run(self) -> None:
        """Until SIGTERM or SIGINT; SIGHUP goes to all workers. On the main thread."""
        numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
        before = {number: signal.signal(number, self._signalled) for number in numbers}
        try:
            self._watch()
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self) -> None:
        told = False
        while self._goes_on():
            now = time.monotonic()
            for place, worker in enumerate(self._workers):
                if worker is None:
                    if now >= self._start_at[place]:
                        self._workers[place] = self._started(place)
                elif worker.process.exitcode is not None:
                    self._bury(place, worker)
                elif now - max(worker.beat.last, worker.started) > _SILENT_SECONDS:
                    logger.error("a worker hangs and is killed", extra=fields(worker=worker.process.pid))
                    worker.process.kill()
            if not told and all(worker is not None and worker.beat.is_ready for worker in self._workers):
                told = True
                self._on_ready()
            wait([worker.process.sentinel for worker in self._workers if worker is not None], timeout=_TICK)

    def _goes_on(self) -> bool:
        """Do what the signals ask for, in the order in which they came; False once one of them is a stop."""
        while self._signals:
            if self._signals.pop(0) in (signal.SIGTERM, signal.SIGINT):
                return False
            self._reloads += 1
            self._tell(signal.SIGHUP)
        return True

    def _started(self, place: int) -> _Worker:
        beat = Beat(self._beats, place)
        beat.begin()
        process = self._context.Process(target=_run, args=(self._work, beat, self._reloads))
        with _hang_ups_held():  # and in the worker until it can do what they ask for
            process.start()
        return _Worker(process, beat, time.monotonic())

    def _bury(self, place: int, worker: _Worker) -> None:
        pid, status = worker.process.pid, worker.process.exitcode
        worker.process.join()
        now = time.monotonic()
        self._early = self._early + 1 if now - worker.started < _EARLY_SECONDS else 0
        pause = min(_LONGEST_PAUSE, 2.0 ** (self._early - 1)) if self._early else 0.0
        self._workers[place], self._start_at[place] = None, now + pause
        logger.error("a worker has died and is replaced", extra=fields(worker=pid, status=status, after=pause or None))
        if pid is not None:
            self._on_death(pid)

    def _tell(self, number: int) -> None:
        for worker in self._workers:
            if worker is not None and worker.process.pid is not None and worker.process.exitcode is None:
                os.kill(worker.process.pid, number)

    def _stop(self) -> None:
        self._on_stop()
        self._tell(signal.SIGTERM)
        until = time.monotonic() + self._stop_seconds
        for worker in self._workers:
            if worker is None:
                continue
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.exitcode is None:
                logger.error("a worker did not stop in time and is killed", extra=fields(worker=worker.process.pid))
                worker.process.kill()
                worker.process.join()

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)


def _run(work: Work, beat: Beat, reloads: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    work(beat, reloads)


@contextmanager
def _hang_ups_held() -> Iterator[None]:
    """SIGHUP waits until the end of the block; in a process begun inside, until that lets it in."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
