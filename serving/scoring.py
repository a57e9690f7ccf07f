"""The mentions of one HTTP request, spread over threads: what is scored where, and in what order it is answered.

Leaves out HTTP (``serving.app``) and what an answer holds (``model.triage``).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import Any

from data.schema import Mention, MentionError, mention_from_json
from model.triage import Triage

CHUNK = 4
"""Most mentions that a thread takes at once: enough to make the hand-over cheap, few enough that the one mention of
another request does not wait long behind a thousand."""


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
    """Scores the mentions of requests on an executor's threads; used on one event loop.

    Args:
        triage: thread-safe, and busy with computing outside the interpreter's lock.
        executor: where the scoring runs.
        threads: how many of its threads one request may use at a time.
    """

    def __init__(self, triage: Triage, executor: Executor, threads: int) -> None:
        self._triage = triage
        self._executor = executor
        self._threads = threads

    async def answers(self, items: Sequence[Mention | dict[str, Any]], as_of: datetime, explain: bool) -> list[str]:
        """The answer to each item as JSON text, in their order; a mention with several targets has several objects.

        A request never has more chunks waiting than it has threads, so that requests take turns.
        """
        loop = asyncio.get_running_loop()
        size = max(1, min(CHUNK, -(-len(items) // self._threads)))
        waiting = deque(range(0, len(items), size))
        texts = [""] * len(waiting)

        async def lane() -> None:
            try:
                while waiting:
                    start = waiting.popleft()
                    chunk = items[start : start + size]
                    texts[start // size] = await loop.run_in_executor(
                        self._executor, self._chunk_json, chunk, as_of, explain
                    )
            except BaseException:
                waiting.clear()  # the request fails as a whole: the other lanes need not go on
                raise

        if len(waiting) == 1:
            await lane()
        else:
            await asyncio.gather(*(lane() for _ in range(min(self._threads, len(waiting)))))
        return texts

    def _chunk_json(self, items: Sequence[Mention | dict[str, Any]], as_of: datetime, explain: bool) -> str:
        objects: list[dict[str, Any]] = []
        for item in items:
            if isinstance(item, dict):
                objects.append(item)
                continue
            try:
                objects += self._triage.answer(item, as_of=as_of, explain=explain)
            except MentionError as reason:
                objects.append(error_object(item.id, reason))
        # Plain ASCII, so that half a surrogate pair in an id or a brand goes out as it came in.
        return json.dumps(objects, allow_nan=False, separators=(",", ":"))[1:-1]
