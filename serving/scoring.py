"""The mentions of one HTTP request: what is scored, and the JSON text of the answers.

Leaves out HTTP (``serving.app``), whose turn it is (``model.pipeline``) and what an answer holds (``model.triage``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from data.schema import Mention, MentionError, mention_from_json
from model.pipeline import Pipeline
from model.triage import Triage


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
    """

    def __init__(self, triage: Triage, pipeline: Pipeline) -> None:
        self._triage = triage
        self._pipeline = pipeline

    @property
    def failed(self) -> bool:
        """Whether nothing can be scored any more."""
        return self._pipeline.failure is not None

    async def answers(self, items: Sequence[Mention | dict[str, Any]], as_of: datetime, explain: bool) -> list[str]:
        """The answer to each item as JSON text, in their order; a mention with several targets has several objects.

        When this is cancelled, what no thread has begun is dropped.

        Raises:
            QueueFullError: more mentions wait than may; none of these was taken.
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

        lane = self._pipeline.lane(partial(self._texts, as_of=as_of, explain=explain), end)
        lane.add(items, [self._most_tokens(item) for item in items])
        try:
            await ended
        except asyncio.CancelledError:
            lane.cancel()
            raise
        if lane.failure is not None:
            raise lane.failure
        return lane.answers

    def _most_tokens(self, item: Mention | dict[str, Any]) -> int:
        """At most so many tokens will be read: a token is a character or more, and its target and ends are added."""
        if isinstance(item, dict):
            return 1
        return min(len(item.text) + 3, self._triage.scorer.bundle.max_tokens) * max(1, len(item.brand))

    def _texts(self, items: Sequence[Mention | dict[str, Any]], as_of: datetime, explain: bool) -> list[str]:
        mentions = [item for item in items if isinstance(item, Mention)]
        answers = iter(self._triage.answer_all(mentions, as_of=as_of, explain=explain))
        texts = []
        for item in items:
            answer = next(answers) if isinstance(item, Mention) else [item]
            if isinstance(item, Mention) and isinstance(answer, MentionError):
                answer = [error_object(item.id, answer)]
            # Plain ASCII, so that half a surrogate pair in an id or a brand goes out as it came in.
            texts.append(json.dumps(answer, allow_nan=False, separators=(",", ":"))[1:-1])
        return texts
