"""The mentions of one HTTP request: what is scored, and the JSON text of the answers.

Leaves out HTTP (``serving.app``), whose turn it is (``model.pipeline``) and what an answer holds (``model.triage``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from data.schema import Mention, MentionError, mention_from_json
from model.pipeline import TURN, Lane, Pipeline
from model.triage import Ready, Triage

_AT_ONCE = 1_500
"""Characters of a request that become tokens on the event loop: some two milliseconds, less than handing them over and
waiting for a thread would take on a busy server."""
SLICE = 16
"""Mentions of a request that are queued together."""


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
        triage: thread-safe, and busy with computing outside the interpreter's lock.
        pipeline: where the scoring runs.
        executor: where the texts of large requests become tokens; those of small ones do so at once.
    """

    def __init__(self, triage: Triage, pipeline: Pipeline, executor: Executor) -> None:
        self._triage = triage
        self._pipeline = pipeline
        self._executor = executor

    @property
    def failed(self) -> bool:
        """Whether nothing can be scored any more."""
        return self._pipeline.failure is not None

    async def answers(self, items: Sequence[Mention | dict[str, Any]], as_of: datetime, explain: bool) -> list[str]:
        """The answer to each item as JSON text, in their order; a mention with several targets has several objects.

        When this is cancelled, what no thread has begun is dropped.

        Raises:
            QueueFullError: more tokens wait than may; none of these mentions was taken.
            PipelineError: nobody can score.
        """
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def settle() -> None:
            if not ended.done():
                ended.set_result(None)

        def end() -> None:
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(settle)

        parts = list(_parts(items))
        work = partial(self._texts, as_of=as_of, explain=explain)
        lane = self._pipeline.lane(work, end, turn=1 if explain else TURN)
        try:
            if sum(len(part.item.text) for part in parts if isinstance(part.item, Mention)) <= _AT_ONCE:
                self._feed(lane, parts, len(parts), explain)
            else:
                lane.reserve(len(parts) * self._triage.scorer.bundle.max_tokens)
                await loop.run_in_executor(self._executor, self._feed, lane, parts, SLICE, explain)
            await ended
        except BaseException:
            lane.cancel()
            raise
        if lane.failure is not None:
            raise lane.failure
        return [text for text in lane.answers if text]

    def _feed(self, lane: Lane, parts: Sequence[_Part], size: int, explain: bool) -> None:
        """Queue the parts in slices: the first are read while the last become tokens."""
        for start in range(0, len(parts), size):
            some = parts[start : start + size]
            ready = [
                part._replace(item=self._triage.prepare(part.item)) if isinstance(part.item, Mention) else part
                for part in some
            ]
            tokens = [_tokens(part, explain) for part in ready]
            if not lane.add(ready, tokens, last=start + size >= len(parts)):
                return

    def _texts(self, turn: Sequence[_Part], as_of: datetime, explain: bool) -> list[str]:
        ready = [part.item for part in turn if isinstance(part.item, Ready)]
        answers = iter(self._triage.answer_ready(ready, as_of=as_of, explain=explain))
        texts = []
        for item, first in turn:
            answer = next(answers) if isinstance(item, Ready) else [item]
            if isinstance(item, Ready) and isinstance(answer, MentionError):
                answer = [error_object(item.mention.id, answer)] if first else []
            # Plain ASCII, so that half a surrogate pair in an id or a brand goes out as it came in.
            texts.append(json.dumps(answer, allow_nan=False, separators=(",", ":"))[1:-1])
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


def _tokens(part: _Part, explain: bool) -> int:
    """Tokens that will be read: to explain, all of them once more without each word."""
    if not isinstance(part.item, Ready):
        return 1
    return part.item.tokens * (1 + len(part.item.targets[0].ids) if explain else 1)
