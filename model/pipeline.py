"""A fair queue in front of as many threads as there are cores: who waits, whose turn it is, and what a failure ends.

What waits is counted in tokens, which is what it will cost. Leaves out what is done with the items.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger("firstreply")

TURN = 4
"""Most items that a thread takes at once: enough to make the hand-over cheap, few enough that the one mention of
another caller does not wait long behind a thousand."""
_SWITCH = 1e-4
"""Seconds after which the interpreter takes its lock from a thread that others wait for: at the usual 0.005 a thread
that has read a mention waits longer to go on than reading took."""
_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU time in so many microseconds that Linux gives a container (cgroup v2)."""
_UNDER_WAY = 32
"""Items a thread that ``Pipeline.in_order`` has waiting or at work at most."""

Work = Callable[[Sequence[Any]], Sequence[Any]]
"""What is done with the items of a turn: an answer for each, in their order."""


def usable_cores() -> int:
    """CPU cores that this process may use, at least 1: as many threads as are worth having.

    A container's CPU limit counts: threads beyond it would use up each tenth of a second's share at its beginning.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, _CPU_LIMIT.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no limit ("max"), or a system without such
        return cores
    return max(1, min(cores, math.ceil(quota / period)))


class PipelineError(Exception):
    """The items cannot be worked on: a thread has died, or the pipeline is stopped."""


class QueueFullError(Exception):
    """As many tokens are waiting as may; nothing of the call was taken."""


class Lane:
    """One caller's items and, in the same order, their answers; made by ``Pipeline.lane``."""

    def __init__(self, pipeline: Pipeline, work: Work, on_end: Callable[[], None], turn: int) -> None:
        self.answers: list[Any] = []
        self.failure: BaseException | None = None
        """What ended the lane before its items were answered."""
        self._pipeline = pipeline
        self._work = work
        self._on_end = on_end
        self._turn = turn
        self._reserved = 0
        self._waiting: deque[tuple[int, Any, int]] = deque()
        self._open = 0
        self._closed = False
        self._ended = False
        self._whole = threading.Lock()
        self._whole.acquire()

    def reserve(self, tokens: int) -> None:
        """Keep room in the queue for items that will be added.

        Raises:
            QueueFullError: there is not as much.
            PipelineError: there is nobody to work on them.
        """
        self._pipeline._reserve(self, tokens)

    def add(self, items: Sequence[Any], tokens: Sequence[int], last: bool = False) -> bool:
        """Queue more items.

        Args:
            items: some, or none.
            tokens: what each counts for in the queue, 1 or more.
            last: no more will come.

        Returns:
            Whether the lane takes items: not once it has failed or was cancelled.

        Raises:
            QueueFullError: they are more than was reserved, and than the queue takes.
            PipelineError: there is nobody to work on them.
        """
        return self._pipeline._add(self, items, tokens, last)

    def result(self) -> list[Any]:
        """The answers, once they are all there; what ended the lane before is raised."""
        with self._whole:
            pass
        if self.failure is not None:
            raise self.failure
        return self.answers

    def cancel(self) -> None:
        """Drop what is not begun: nobody waits for it any more."""
        self._pipeline._end(self, None)


class Pipeline:
    """Threads that work on the items of lanes, lane by lane in turn; the interpreter's switch interval is shortened.

    A thread that dies is not replaced: what was queued fails, and so does whatever comes later (``failure``).

    Args:
        most_tokens: that may wait, over all lanes; by default any number.
        threads: by default as many as there are cores.
    """

    def __init__(self, most_tokens: int = sys.maxsize, threads: int | None = None) -> None:
        self.threads = threads or usable_cores()
        self.failure: BaseException | None = None
        """What a thread died of."""
        self.most_tokens = most_tokens
        """That may wait, over all lanes."""
        self.tokens = 0
        """That wait, or that room is kept for."""
        self._lanes: deque[Lane] = deque()
        self._open: set[Lane] = set()
        self._stopped = False
        self._changed = threading.Condition()
        sys.setswitchinterval(_SWITCH)
        self._workers = [
            threading.Thread(target=self._run, name=f"score-{number}", daemon=True) for number in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()

    def lane(self, work: Work, on_end: Callable[[], None] = lambda: None, turn: int = TURN) -> Lane:
        """A place in the queue.

        Args:
            work: called on some thread with the items of a turn; what it raises fails the lane and no other.
            on_end: called on some thread once all items are answered, or the lane has failed; not when cancelled.
            turn: most items that a thread takes at once.
        """
        return Lane(self, work, on_end, turn)

    def in_order(self, work: Work, items: Iterable[Any]) -> Iterator[Any]:
        """Answers to any number of items in their order, a bounded number of them under way.

        Raises:
            PipelineError: a thread has died.
        """
        most = _UNDER_WAY * self.threads
        under_way: deque[Lane] = deque()
        iterator = iter(items)
        try:
            while turn := list(islice(iterator, TURN)):
                lane = self.lane(work)
                lane.add(turn, [1] * len(turn), last=True)
                under_way.append(lane)
                if len(under_way) * TURN >= most:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            for lane in under_way:
                lane.cancel()

    def stop(self) -> None:
        """End the threads once their turns are over; what still waits fails."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        self._fail_all(PipelineError("the server is stopping"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _check(self) -> None:
        if self.failure is not None or self._stopped:
            raise PipelineError("a scoring thread has died" if self.failure else "the server is stopping")

    def _reserve(self, lane: Lane, tokens: int) -> None:
        with self._changed:
            self._check()
            if self.tokens + tokens > self.most_tokens:
                raise QueueFullError
            self.tokens += tokens
            lane._reserved += tokens

    def _add(self, lane: Lane, items: Sequence[Any], tokens: Sequence[int], last: bool) -> bool:
        with self._changed:
            if lane._ended:
                return False
            self._check()
            ours = lane._reserved
            rest = 0 if last else max(0, ours - sum(tokens))
            if self.tokens - ours + rest + sum(tokens) > self.most_tokens:
                raise QueueFullError
            self.tokens += sum(tokens) + rest - ours
            lane._reserved = rest
            if items and not lane._waiting:
                self._lanes.append(lane)
            first = len(lane.answers)
            lane.answers.extend([None] * len(items))
            lane._waiting.extend(zip(range(first, first + len(items)), items, tokens, strict=True))
            lane._open += len(items)
            lane._closed = last
            self._open.add(lane)
            if items:
                self._changed.notify(min(len(items), self.threads))
        self._answered(lane, (), ())
        return True

    def _run(self) -> None:
        try:
            while (turn := self._next_turn()) is not None:
                lane, places, items = turn
                try:
                    answers = lane._work(items)
                except Exception as error:
                    self._end(lane, error)
                    continue
                self._answered(lane, places, answers)
        except BaseException as error:
            # Not an error of one lane: this thread ends, and nobody must wait for it.
            self.failure = error
            # The error's message may hold the text of a post.
            place = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            logger.critical("a scoring thread died: %s; restart the server\n%s", type(error).__name__, place)
            self._fail_all(PipelineError("a scoring thread has died"))

    def _next_turn(self) -> tuple[Lane, list[int], list[Any]] | None:
        with self._changed:
            while not self._lanes and not self._stopped and self.failure is None:
                self._changed.wait()
            if self._stopped or self.failure is not None:
                return None
            lane = self._lanes.popleft()
            # The last items are shared out, so that no thread has four while another has none.
            size = lane._turn if self._lanes else min(lane._turn, -(-len(lane._waiting) // self.threads))
            turn = [lane._waiting.popleft() for _ in range(min(size, len(lane._waiting)))]
            self.tokens -= sum(tokens for _, _, tokens in turn)
            if lane._waiting:
                self._lanes.append(lane)
            return lane, [place for place, _, _ in turn], [item for _, item, _ in turn]

    def _answered(self, lane: Lane, places: Sequence[int], answers: Sequence[Any]) -> None:
        for place, answer in zip(places, answers, strict=True):
            lane.answers[place] = answer
        with self._changed:
            lane._open -= len(places)
            whole = lane._closed and lane._open == 0 and not lane._ended
            if whole:
                lane._ended = True
                self._open.discard(lane)
        if whole:
            lane._whole.release()
            lane._on_end()

    def _end(self, lane: Lane, failure: BaseException | None) -> None:
        with self._changed:
            if lane._ended:
                return
            lane._ended, lane.failure = True, failure
            self.tokens -= sum(tokens for _, _, tokens in lane._waiting) + lane._reserved
            lane._waiting.clear()
            lane._reserved = 0
            self._open.discard(lane)
            with suppress(ValueError):
                self._lanes.remove(lane)
        lane._whole.release()
        if failure is not None:
            lane._on_end()

    def _fail_all(self, failure: BaseException) -> None:
        with self._changed:
            lanes = list(self._open)
            self._changed.notify_all()
        for lane in lanes:
            self._end(lane, failure)
