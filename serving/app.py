"""The HTTP endpoint as an ASGI app: what is let in, scored, and answered.

Leaves out listening and logging (``serving.server``), threads (``serving.scoring``) and what OpenAPI says of the
bodies (``serving.contract``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from data.schema import Mention
from model.pipeline import Pipeline, PipelineError, QueueFullError
from model.triage import Triage
from serving.contract import (
    EXAMPLE_REQUEST,
    MODEL_RESPONSE,
    SCORE_BODY,
    SCORE_RESPONSE,
    openapi_document,
    problem_responses,
)
from serving.problems import Problem, UnexpectedErrors, problem_response
from serving.scoring import Scoring, checked

_DESCRIPTION = """\
Which brand mention gets the first reply? Send public posts that mention a brand; each comes back with what it asks of
that brand (purchase, churn risk, complaint, praise, support question), how soon it should be answered, and by whom.

A mention's probabilities depend on that mention alone: they are the same whether it is sent alone or among others.
Errors of a whole request are problem documents (RFC 9457); a mention that cannot be scored has an `error` in its place
and the others are scored.
"""
_ENVELOPE = ("mentions", "explain")
_RETRY = {"Retry-After": "1"}


@dataclass(frozen=True)
class Limits:
    """What one server takes at most; beyond it a request is refused with the status named."""

    body_bytes: int = 8_000_000
    """Size of a request's body; 413."""
    mentions: int = 1_000
    """Mentions of a request, one with several target brands counted once for each; 422."""
    requests: int = 128
    """Scoring requests in flight at once; 429."""
    tokens: int = 200_000
    """Tokens that wait to be read, of all requests (at least those of the largest request); 429."""


def create_app(triage: Triage, limits: Limits = Limits()) -> FastAPI:
    """The endpoint over one loaded model; it is ready once its lifespan has started and warmed it up.

    Args:
        triage: answers every request; its name is the ``model`` of the answers.
        limits: what one request, and all of them together, may ask for.
    """
    scoring: Scoring | None = None
    in_flight = 0
    name = json.dumps(triage.name)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal scoring
        largest = limits.mentions * triage.scorer.bundle.max_tokens
        with (
            Pipeline(max(limits.tokens, largest)) as pipeline,
            ThreadPoolExecutor(pipeline.threads, "tokens") as executor,
        ):
            warming = Scoring(triage, pipeline, executor)
            examples = [checked(value, 1) for value in EXAMPLE_REQUEST["mentions"]] * 2 * pipeline.threads
            await warming.answers(examples, datetime.now(UTC), explain=False)
            scoring = warming
            try:
                yield
            finally:
                scoring = None

    def ready() -> Scoring:
        if scoring is None:
            raise Problem(503, "The server is starting or stopping; try again.", _RETRY)
        if scoring.failed:
            raise Problem(503, "A scoring thread has died; restart the server.")
        return scoring

    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="firstreply",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        exception_handlers={HTTPException: problem_response},
    )
    app.add_middleware(UnexpectedErrors)

    @app.post(
        "/v1/score",
        summary="Score mentions",
        tags=["scoring"],
        response_class=Response,
        responses={**SCORE_RESPONSE, **problem_responses(413, 415, 422, 429, 500, 503)},
        openapi_extra=SCORE_BODY,
    )
    async def score(request: Request) -> Response:
        """What each mention asks of its target brand, and the priority, deadline and queue that the policy gives it.

        Results come in the order of the mentions. A mention with a list of brands has one result for each of them.
        """
        nonlocal in_flight
        ready_scoring = ready()
        if in_flight >= limits.requests:
            raise Problem(429, f"{limits.requests} requests are in flight, the most this server takes.", _RETRY)
        in_flight += 1
        try:
            as_of = datetime.now(UTC)
            values, explain = _envelope(await _body(request, limits.body_bytes), limits.mentions)
            items = [checked(value, position) for position, value in enumerate(values, start=1)]
            targets = sum(max(1, len(item.brand)) if isinstance(item, Mention) else 1 for item in items)
            if targets > limits.mentions:
                raise Problem(422, f"{targets} mentions, one for each target brand; {_at_most(limits.mentions)}")
            answers = await _unless_gone(request, ready_scoring.answers(items, as_of, explain))
        finally:
            in_flight -= 1
        return _json_response(f'{{"model":{name},"results":[{",".join(answers)}]}}')

    @app.get(
        "/v1/model",
        summary="The model that answers",
        tags=["scoring"],
        response_class=Response,
        responses={**MODEL_RESPONSE, **problem_responses(500)},
    )
    async def model() -> Response:
        """Name and version, intents, the cut in use with its thresholds, and what the model was measured to do."""
        return _json_response(json.dumps(triage.model_info()))

    @app.get("/livez", summary="Is the process up?", tags=["health"], response_class=Response)
    async def livez() -> Response:
        """200 as long as the server answers at all."""
        return _json_response('{"status":"alive"}')

    @app.get(
        "/readyz",
        summary="Can it score?",
        tags=["health"],
        response_class=Response,
        responses=problem_responses(503),
    )
    async def readyz() -> Response:
        """200 once the model is loaded and warm, 503 before that and while the server stops."""
        ready()
        return _json_response('{"status":"ready"}')

    app.openapi = lambda: openapi_document(app, limits.mentions)  # type: ignore[method-assign]  # FastAPI's own way
    return app


def _json_response(text: str) -> Response:
    return Response(text, media_type="application/json")


def _at_most(mentions: int) -> str:
    return f"at most {mentions:,} are taken at once; split them over several requests."


async def _body(request: Request, limit: int) -> bytes:
    """The request's JSON text, never more than ``limit`` bytes of it held.

    Raises:
        Problem: 413 when there is more, by its own declaration or by count; 415 when it is not JSON by its headers.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Problem(415, f"The body is {media_type or 'of no type'}; send Content-Type: application/json.")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, "The body is compressed; send it as it is, without Content-Encoding.")
    too_large = Problem(413, f"The body is larger than {limit:,} bytes; send fewer mentions at once.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    body = bytearray()
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            body += chunk
            if len(body) > limit:
                raise too_large
    return bytes(body)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, list[str]]) -> list[str]:
    """The result of the work, which is cancelled when the caller goes away.

    Raises:
        ClientDisconnect: it has gone.
        Problem: 429, the queue is full; 503, there is nobody to do it.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    except QueueFullError:
        raise Problem(429, "As many mentions wait as this server takes; try again.", _RETRY) from None
    except PipelineError as error:
        raise Problem(503, f"Nothing was scored: {error}.", _RETRY) from None
    finally:
        working.cancel()
        leaving.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _envelope(body: bytes, limit: int) -> tuple[list[Any], bool]:
    """The values of ``mentions``, unchecked, and ``explain``.

    Raises:
        Problem: 422, the body is not such an object.
    """
    try:
        envelope = json.loads(body)
    except RecursionError:
        raise Problem(422, "The body is nested too deeply to be read.") from None
    except ValueError as error:
        raise Problem(422, f"The body is not JSON: {error}") from None
    if not isinstance(envelope, dict):
        raise Problem(422, 'The body must be an object: {"mentions": [...]}.')
    if unknown := [field for field in envelope if field not in _ENVELOPE]:
        raise Problem(422, f"{unknown[0]!r:.60} is not a field of a request; known are {', '.join(_ENVELOPE)}.")
    mentions, explain = envelope.get("mentions"), envelope.get("explain")
    if not isinstance(mentions, list) or not mentions:
        raise Problem(422, '"mentions" must be a list of at least one mention.')
    if len(mentions) > limit:
        raise Problem(422, f"{len(mentions)} mentions; {_at_most(limit)}")
    if explain is not None and not isinstance(explain, bool):
        raise Problem(422, '"explain" must be true or false.')
    return mentions, bool(explain)
