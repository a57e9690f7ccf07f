"""The mentions of one HTTP request: what is scored, and the JSON text of the answers.

Leaves out HTTP (``serving.app``), whose turn it is (``model.pipeline``) and what an answer holds (``model.triage``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext, suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from data.schema import Mention, MentionError, mention_from_json
from model.pipeline import TURN, Lane, Pipeline, PipelineError, QueueFullError
from model.triage import Ready, Triage
from serving.live import Live, Shadow
from serving.metrics import Metrics

logger = logging.getLogger("firstreply")

_AT_ONCE = 1_500
"""Characters of a request that become tokens on the event loop: some two milliseconds, less than handing them over and
waiting for a thread would take on a busy server."""
_IDLE = 10
"""The shadow reads while no more than this part of the queue is taken."""
SLICE = 16
"""Mentions of a request that are queued together."""
_SLICE_CHARACTERS = 20_000
"""Characters of them, at most, unless one has more."""
_AT_A_STRETCH = 0.5
"""Seconds of CPU time after which a request whose texts become tokens lets others go on with theirs."""
_LARGE = 4
"""Requests of more than a turn that become tokens and are read at a time, or as many as there are threads; later ones
wait for one of them to be answered, or to go on among those that take longer than a stretch, one at a time. If all
took turns, all would be late when there are many, and threads would hinder each other."""


def checked(value: Any, position: int) -> Mention | dict[str, Any]:
    """The mention that a JSON value is, or the error object that stands in its place.

    Args:
        value: one item of the request's ``mentions``.
        position: its place among them from 1, the id of a mention that has none.
    """
    try:
        return mention_from_json(value, str(position))
    except MentionError as reason:
        return error_object(_usable_id(value, str(position)), reason)


def error_object(identifier: str, reason: MentionError) -> dict[str, Any]:
    """What stands in the place of a mention that cannot be scored."""
    return {"id": identifier, "error": {"title": reason.title, "detail": reason.detail}}


def _usable_id(value: Any, default: str) -> str:
    """The id of something that is no mention, when a mention could have had it."""
    given = value.get("id") if isinstance(value, dict) else None
    try:
        return mention_from_json({"id": given, "text": "-"}, default).id
    except MentionError:
        return default


class Scoring:
    """Scores the mentions of requests on a pipeline's threads; used on one event loop.

    Args:
        live: what answers, thread-safe and busy with computing outside the interpreter's lock.
        pipeline: where the scoring runs.
        executor: where the texts of large requests become tokens; those of small ones do so at once.
        metrics: where it is counted.
        shadow: what reads a share of the mentions besides.
    """

    def __init__(
        self, live: Live, pipeline: Pipeline, executor: Executor, metrics: Metrics, shadow: Shadow | None = None
    ) -> None:
        self.live, self.pipeline = live, pipeline
        self._executor, self._metrics, self._shadow = executor, metrics, shadow
        self._large = asyncio.Semaphore(max(_LARGE, pipeline.threads))
        self._longer = asyncio.Semaphore(1)
        self._remembered: WeakKeyDictionary[Triage, tuple[int, int]] = WeakKeyDictionary()

    async def answers(
        self, triage: Triage, items: Sequence[Mention | dict[str, Any]], as_of: datetime, explain: bool
    ) -> list[str]:
        """The answer to each item as JSON text, in their order; a mention with several targets has several objects.

        When this is cancelled, what no thread has begun is dropped.

        Args:
            triage: what answers them all, once ``live``'s.
            items: mentions, and the error objects that stand in the place of others.
            as_of: the moment at which waiting times end.
            explain: also say which words each label rests on.

        Raises:
            QueueFullError: more tokens wait than may; none of these mentions was taken.
            PipelineError: nobody can score.
        """
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def settle() -> None:
            if ended.done():
                return
            if lane.failure is not None:
                ended.set_exception(lane.failure)
            else:
                ended.set_result(None)

        def end() -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(settle)

        parts = list(_parts(items))
        small, large = sum(map(_size, parts)) <= _AT_ONCE, len(parts) > TURN
        slices = deque([parts]) if small else _slices(parts)
        work = _Work(triage, self._metrics, as_of, explain)
        lane = self.pipeline.lane(work, end, turn=1 if explain else TURN)
        feed = partial(self._feed, triage, lane, slices, work, explain, self.pipeline.most_tokens // len(parts))
        try:
            if large or not small:
                lane.reserve(sum(min(triage.scorer.bundle.max_tokens, _at_most(part)) for part in parts))
            place = self._large if large else nullcontext()
            while slices:
                arrived = time.perf_counter()
                async with place:
                    work.waited += time.perf_counter() - arrived
                    if small:
                        feed()
                    else:
                        await loop.run_in_executor(self._executor, feed)
                    if not slices:
                        await ended
                place = self._longer if large else place
        except BaseException as error:
            lane.cancel()
            if isinstance(error, Exception) and not isinstance(error, QueueFullError | PipelineError):
                self.live.failed(triage)
            raise
        mentions = [item for item in items if isinstance(item, Mention)]
        self.live.answered(triage, mentions)
        self._count_remembered(triage)
        if self._shadow is not None and mentions and self._shadow.chosen():
            self._beside(self._shadow, triage, mentions)
        return [text for text in lane.answers if text]

    def _feed(
        self, triage: Triage, lane: Lane, slices: deque[list[_Part]], work: _Work, explain: bool, most: int
    ) -> None:
        """Queue some slices, at most for so long: the first are read while the last become tokens."""
        until = time.thread_time() + _AT_A_STRETCH
        while slices and time.thread_time() < until:
            some, began = slices.popleft(), time.perf_counter()
            ready = [
                part._replace(item=triage.prepare(part.item)) if isinstance(part.item, Mention) else part
                for part in some
            ]
            # A request that explains a lot must fit into the queue as well.
            tokens = [min(_tokens(part, explain), most) for part in ready]
            work.queued = work.queued or time.perf_counter()
            self._metrics.stages.labels("prepare").observe(time.perf_counter() - began)
            if not lane.add(ready, tokens, last=not slices):
                slices.clear()

    def _count_remembered(self, triage: Triage) -> None:
        hits, misses = triage.scorer.remembered()
        hits_before, misses_before = self._remembered.get(triage, (0, 0))
        self._metrics.cache_hits.inc(max(0, hits - hits_before))
        self._metrics.cache_misses.inc(max(0, misses - misses_before))
        self._remembered[triage] = (hits, misses)

    def _beside(self, shadow: Shadow, triage: Triage, mentions: Sequence[Mention]) -> None:
        """Let the shadow read a few of the mentions, if hardly anybody waits."""
        if self.pipeline.tokens > self.pipeline.most_tokens / _IDLE:
            return
        few = mentions[:TURN]

        def compare(turn: Sequence[Mention]) -> list[None]:
            shadow.compare(triage, turn)
            return [None] * len(turn)

        def ended() -> None:
            if lane.failure is not None and not isinstance(lane.failure, PipelineError):
                logger.error("the shadow failed: %s", type(lane.failure).__name__)

        lane = self.pipeline.lane(compare, ended, turn=1)
        with suppress(QueueFullError, PipelineError):
            lane.add(few, [triage.scorer.bundle.max_tokens] * len(few), last=True)


class _Work:
    """What a thread does with the items of a turn: JSON texts, counted and clocked."""

    def __init__(self, triage: Triage, metrics: Metrics, as_of: datetime, explain: bool) -> None:
        self._triage, self._metrics, self._as_of, self._explain = triage, metrics, as_of, explain
        self.queued: float | None = None
        """When the first items were."""
        self.waited = 0.0
        """Seconds that the request has waited to become tokens."""
        self._begun = False

    def __call__(self, turn: Sequence[_Part]) -> list[str]:
        """The texts of the answers."""
        began = time.perf_counter()
        if not self._begun and self.queued is not None:
            self._begun = True
            self._metrics.stages.labels("wait").observe(self.waited + began - self.queued)
        ready = [part.item for part in turn if isinstance(part.item, Ready)]
        answers = iter(self._triage.answer_ready(ready, as_of=self._as_of, explain=self._explain))
        texts = []
        for item, first in turn:
            answer: Any = next(answers) if isinstance(item, Ready) else [item]
            if isinstance(item, Ready) and isinstance(answer, MentionError):
                answer = [error_object(item.mention.id, answer)] if first else []
            # Plain ASCII, so that half a surrogate pair in an id or a brand goes out as it came in.
            texts.append(json.dumps(answer, allow_nan=False, separators=(",", ":"))[1:-1])
            for result in answer:
                self._metrics.answer(result)
        self._metrics.stages.labels("work").observe(time.perf_counter() - began)
        return texts


class _Part(NamedTuple):
    """A mention for one of its target brands, or an error object."""

    item: Mention | Ready | dict[str, Any]
    first: bool
    """Whether it is the mention's first: an error of the mention has its place there."""


def _parts(items: Sequence[Mention | dict[str, Any]]) -> Iterator[_Part]:
    """Many targets of one mention are as much work as many mentions, and can be shared out as they."""
    for item in items:
        if isinstance(item, Mention) and len(item.brand) > 1:
            for number, brand in enumerate(item.brand):
                yield _Part(item.model_copy(update={"brand": (brand,)}), number == 0)
        else:
            yield _Part(item, True)


def _size(part: _Part) -> int:
    """Characters that will become tokens."""
    return len(part.item.text) if isinstance(part.item, Mention) else 0


def _at_most(part: _Part) -> int:
    """Tokens that it can have, as far as can be told before: one for each character, and those of the target."""
    return _size(part) + 8


def _slices(parts: Sequence[_Part]) -> deque[list[_Part]]:
    """Parts that are queued together: a few, and few characters."""
    slices: deque[list[_Part]] = deque()
    room = 0
    for part in parts:
        if not slices or len(slices[-1]) == SLICE or _size(part) > room:
            slices.append([])
            room = _SLICE_CHARACTERS
        slices[-1].append(part)
        room -= _size(part)
    return slices


def _tokens(part: _Part, explain: bool) -> int:
    """Tokens that will be read: to explain, all of them once more without each word."""
    if not isinstance(part.item, Ready):
        return 1
    return part.item.tokens * (1 + len(part.item.targets[0].ids) if explain else 1)
