"""One exchange with the server, tried again where that helps: what to send, how long to wait, what an answer means.

Does no input or output. An exchange is a generator that yields what to do next, a ``Request`` to send or seconds to
wait, is sent the ``Reply`` or httpx's error, and returns what the caller gets. Both clients drive the same ones.

Asking again is safe although the requests are POST: scoring changes nothing on the server, and a mention's
probabilities are the same each time.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias, TypeVar

import httpx

from firstreply_client.errors import (
    FirstreplyError,
    NotAuthenticatedError,
    OverloadedError,
    RefusedError,
    ServerError,
    TimedOutError,
    UnreachableError,
)
from firstreply_client.parts import Part
from firstreply_client.results import ModelInfo, Result, Unscored, read_model, read_results

_AGAIN = {408, 429, 502, 503, 504}
_FIRST, _DOUBLINGS = 0.5, 4
"""Seconds that the wait after the first failure is drawn from; after each of the next ones from twice as many."""
_PATIENCE = 60.0
"""Seconds: a server that wants to be left alone for longer is not waited for."""
_CONNECT = 5.0
"""Seconds in which a connection is made, or another one is tried."""
_LATE = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)
"""What is given all the time that is left."""

T = TypeVar("T")


class Deadline:
    """The end of a call, all attempts, waits and parts included.

    Args:
        seconds: from now, above 0 and at most a day.
        clock: seconds that never go back.

    Raises:
        ValueError: there is no such time.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 < seconds <= 86_400:
            raise ValueError(f"timeout is {seconds}; give seconds above 0, at most 86,400")
        self.seconds, self._clock = seconds, clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds; 0 or less when it is over."""
        return self._end - self._clock()


@dataclass(frozen=True)
class Request:
    """One request to send; without a body it is a GET, else a POST of JSON."""

    path: str
    deadline: Deadline
    body: bytes | None = None

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if self.body is None else "POST"

    @property
    def headers(self) -> dict[str, str]:
        """The server drops what nobody waits for any more."""
        typed = {} if self.body is None else {"Content-Type": "application/json"}
        return {"X-Request-Timeout": f"{max(self.deadline.left(), 0.001):.3f}", **typed}

    @property
    def timeout(self) -> httpx.Timeout:
        """For each step of sending and receiving. Steps add up: whoever takes them also looks at the deadline."""
        left = max(self.deadline.left(), 0.001)
        return httpx.Timeout(left, connect=min(left, _CONNECT))


class Reply(NamedTuple):
    """An answer, read whole."""

    status: int
    headers: httpx.Headers
    body: bytes


Answer: TypeAlias = Reply | httpx.RequestError | None
"""What came of a request; None of a wait."""
Exchange: TypeAlias = Generator[Request | float, Answer, T]


def score(part: Part, deadline: Deadline, retries: int) -> Exchange[list[Result | Unscored]]:
    """The results of a part of a list.

    Raises:
        FirstreplyError: there are none.
    """
    try:
        document = yield from _asked("/v1/score", deadline, retries, part.body)
    except RefusedError as refusal:
        if part.is_oversized and refusal.status in (413, 422):
            return [Unscored(part.mentions[0].id, refusal.title, refusal.detail)]
        raise
    results = _read(read_results, document)
    if len(results) < len(part.mentions):
        raise ServerError(f"{len(part.mentions)} mentions were sent and {len(results)} results came back")
    return results


def model(deadline: Deadline, retries: int) -> Exchange[ModelInfo]:
    """What answers.

    Raises:
        FirstreplyError: nobody says so.
    """
    return _read(read_model, (yield from _asked("/v1/model", deadline, retries)))


def ready(deadline: Deadline) -> Exchange[bool]:
    """Whether the server can score, asked once.

    Raises:
        NotAuthenticatedError, RefusedError: what answers there is no firstreply server.
    """
    try:
        yield from _asked("/readyz", deadline, 0)
    except (NotAuthenticatedError, RefusedError):
        raise
    except FirstreplyError:
        return False
    return True


def _asked(path: str, deadline: Deadline, retries: int, body: bytes | None = None) -> Exchange[Any]:
    """The JSON value that the server answers with."""
    attempt = 0
    while True:
        if deadline.left() <= 0:
            raise _over(deadline)
        answer = yield Request(path, deadline, body)
        attempt += 1
        if isinstance(answer, Reply) and answer.status == 200:
            return _read(json.loads, answer.body)
        if isinstance(answer, _LATE):
            raise _over(deadline) from answer
        failure, may_help = _failure(answer, attempt)
        # The jitter spreads callers out that were all told to come back at the same moment.
        told = failure.retry_after if isinstance(failure, OverloadedError) else None
        wait = (told or 0.0) + random.uniform(0, _FIRST * 2 ** min(attempt - 1, _DOUBLINGS))
        if not may_help or attempt > retries or (told or 0.0) > _PATIENCE or wait >= deadline.left():
            raise failure from (answer if isinstance(answer, Exception) else None)
        yield wait


def _over(deadline: Deadline) -> TimedOutError:
    return TimedOutError(
        f"there was no answer within {deadline.seconds:g} s, the time of the whole call; give it more with timeout,"
        " or fewer mentions at once"
    )


def _failure(answer: Answer, attempts: int) -> tuple[FirstreplyError, bool]:
    """What an answer other than 200 means, and whether asking again may help."""
    tried = f" (asked {attempts} times)" if attempts > 1 else ""
    if not isinstance(answer, Reply):
        what = str(answer) or type(answer).__name__
        return UnreachableError(f"no answer: {what}{tried}; is a firstreply server at that address?"), True
    status, (title, detail) = answer.status, _problem(answer)
    says = f"{title}: {detail}" if title else f"{_reason(answer)}, not in firstreply's words; is that its address?"
    failure = _kind(status)(f"{status} {says}{tried}", status=status, title=title, detail=detail)
    if isinstance(failure, OverloadedError):
        failure.retry_after = _retry_after(answer.headers.get("retry-after", ""))
    return failure, status in _AGAIN


def _kind(status: int) -> type[FirstreplyError]:
    match status:
        case 401 | 403:
            return NotAuthenticatedError
        case 429 | 503:
            return OverloadedError
        case 408 | 504:
            return TimedOutError
    return RefusedError if 300 <= status < 500 else ServerError


def _problem(reply: Reply) -> tuple[str, str]:
    """Title and detail of a problem document; empty where it is none."""
    try:
        document = json.loads(reply.body)
        return str(document["title"]), str(document["detail"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return "", ""


def _reason(reply: Reply) -> str:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown status"
    location = reply.headers.get("location")
    return f"{phrase} to {location}" if location else phrase


def _retry_after(value: str) -> float | None:
    """Seconds that a ``Retry-After`` header names, as such or as a date; None where it names none."""
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _read(reader: Callable[[Any], T], value: Any) -> T:
    try:
        return reader(value)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ServerError(
            "the answer is none of a firstreply server's; is that its address, and is the client as new as the server?",
            status=200,
        ) from error
