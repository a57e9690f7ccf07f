"""The HTTP endpoint as an ASGI app: what is let in, scored, and answered.

Leaves out listening (``serving.server``), threads (``serving.scoring``), who may call (``serving.gate``), what all
answers have in common (``serving.observed``) and what OpenAPI says of the bodies (``serving.contract``).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from data.schema import FirstreplyError, Mention, mention_from_json
from model.pipeline import Pipeline, PipelineError, QueueFullError
from serving import playground
from serving.contract import (
    EXAMPLE_REQUEST,
    KEYS,
    MODEL_RESPONSE,
    RELOAD_BODY,
    RELOAD_RESPONSE,
    SCORE_BODY,
    SCORE_RESPONSE,
    TIMEOUT,
    openapi_document,
    problem_responses,
)
from serving.gate import Gate
from serving.keys import Keys
from serving.limits import Limits
from serving.live import Live, Shadow
from serving.metrics import CONTENT_TYPE, Metrics
from serving.observed import Observed
from serving.problems import Problem, UnexpectedErrors, problem_response
from serving.scoring import Scoring, checked
from serving.traces import Traces

_DESCRIPTION = """\
Which brand mention gets the first reply? Send public posts that mention a brand; each comes back with what it asks of
that brand (purchase, churn risk, complaint, praise, support question), how soon it should be answered, and by whom.

A mention's probabilities depend on that mention alone: they are the same whether it is sent alone or among others.
Errors of a whole request are problem documents (RFC 9457); a mention that cannot be scored has an `error` in its place
and the others are scored.
"""
_ENVELOPE = ("mentions", "explain")
_RETRY = {"Retry-After": "1"}
_SHEDS_FROM = 3 / 4
"""How full the queue is when requests are refused before they are read, which is cheap; the rest is room for those that
were let in and are being read."""
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@dataclass
class Service:
    """What the app is made of; what is not given is as a server on its own machine has it."""

    live: Live
    """What answers."""
    limits: Limits = field(default_factory=Limits)
    keys: Keys | None = None
    """Who may call; None is everybody."""
    metrics: Metrics = field(default_factory=Metrics)
    shadow: Shadow | None = None
    """What reads a share of the mentions besides."""
    traces: Traces = field(default_factory=Traces)
    closed: Collection[str] = ()
    """``metrics``, ``docs`` or ``playground``: addresses that there are not."""
    origins: Collection[str] = ()
    """Origins whose pages may call from a browser; none by default."""
    reloaded: Callable[[], None] = lambda: None
    """Called when the bundle or the policy was changed on request."""
    threads: int | None = None
    """Threads that read; None is as many as there are cores."""
    draining: bool = False
    """The server is about to stop: not ready, and connections are not kept."""
    pipeline: Pipeline | None = None
    """Where mentions are read, while the app runs."""

    @property
    def is_broken(self) -> bool:
        """Whether it can never score again: a scoring thread has died."""
        return self.pipeline is not None and self.pipeline.failure is not None


def create_app(service: Service) -> FastAPI:
    """The endpoint; it is ready once its lifespan has started and warmed the model up."""
    endpoint = _Endpoint(service)
    documented, played = "docs" not in service.closed, "playground" not in service.closed
    make: Any = FastAPIOffline if documented else FastAPI
    app: FastAPI = make(
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if documented else None,
        title="firstreply",
        version="1",
        description=_DESCRIPTION,
        lifespan=endpoint.lifespan,
        redirect_slashes=False,
        exception_handlers={HTTPException: problem_response},
    )
    page, policy = _documentation() if documented else ("", "")
    app.add_middleware(UnexpectedErrors)
    if service.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Timeout", "traceparent"],
            expose_headers=["Retry-After", "X-Request-Id"],
        )
    app.add_middleware(
        Observed,
        metrics=service.metrics,
        traces=service.traces,
        draining=lambda: service.draining,
        policies={**({"/docs": policy} if documented else {}), **({"/": playground.POLICY} if played else {})},
    )

    def route(
        path: str, answer: Any, summary: str, tag: str, responses: Any, *, post: bool = False, **more: Any
    ) -> None:
        app.add_api_route(
            path,
            answer,
            methods=["POST" if post else "GET"],
            summary=summary,
            tags=[tag],
            response_class=Response,
            responses=responses,
            openapi_extra=more,
        )

    scored = {**SCORE_RESPONSE, **problem_responses(401, 408, 413, 415, 422, 429, 500, 503, 504)}
    route("/v1/score", endpoint.score, "Score mentions", "scoring", scored, post=True, **SCORE_BODY, **TIMEOUT, **KEYS)
    told = {**MODEL_RESPONSE, **problem_responses(401, 429, 500)}
    route("/v1/model", endpoint.model, "The model that answers", "scoring", told, **KEYS)
    reloaded = {**RELOAD_RESPONSE, **problem_responses(401, 403, 408, 409, 413, 415, 422, 429, 500, 503)}
    put = "Put another bundle in place, or read this one and the policy anew"
    route("/v1/admin/reload", endpoint.reload, put, "admin", reloaded, post=True, **RELOAD_BODY, **KEYS)
    route("/livez", endpoint.livez, "Is the process sound?", "health", problem_responses(503))
    route("/readyz", endpoint.readyz, "Can it score?", "health", problem_responses(503))
    if "metrics" not in service.closed:
        counted = {200: {"content": {"text/plain": {}}}, **problem_responses(401, 429)}
        route("/metrics", endpoint.counted, "What is counted, for Prometheus", "health", counted, **KEYS)
    if documented:
        app.add_api_route("/docs", lambda: HTMLResponse(page), include_in_schema=False)
    if played:
        files = playground.Files()
        app.add_api_route("/", files.page, include_in_schema=False)
        app.mount("/playground", files)
    app.openapi = lambda: openapi_document(app, service.limits.mentions)  # type: ignore[method-assign]  # FastAPI's own way
    return app


class _Endpoint:
    """What each address answers."""

    def __init__(self, service: Service) -> None:
        self._service, self._live, self._limits, self._metrics = service, service.live, service.limits, service.metrics
        self._gate = Gate(lambda: service.keys)
        self._scoring: Scoring | None = None
        self._in_flight = 0

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Start the threads, warm the model up, be ready, and stop them again."""
        live = self._live
        with (
            Pipeline(_most_tokens(live, self._limits), self._service.threads) as pipeline,
            ThreadPoolExecutor(pipeline.threads, "tokens") as executor,
        ):
            examples = [mention_from_json(value, "1") for value in EXAMPLE_REQUEST["mentions"]]
            lane = pipeline.lane(lambda turn: [live.triage.answer(one, as_of=datetime.now(UTC)) for one in turn])
            lane.add(examples * 2 * pipeline.threads, [1] * len(examples) * 2 * pipeline.threads, last=True)
            await asyncio.get_running_loop().run_in_executor(executor, lane.result)
            self._service.pipeline = pipeline
            self._scoring = Scoring(live, pipeline, executor, self._metrics, self._service.shadow)
            try:
                yield
            finally:
                self._scoring = None
                self._service.traces.stop()

    async def score(self, request: Request) -> Response:
        """What each mention asks of its target brand, and the priority, deadline and queue that the policy gives it.

        Results come in the order of the mentions. A mention with a list of brands has one result for each of them.
        """
        with self._gate.admitted(request):
            scoring, limits = self._ready(), self._limits
            seconds = _seconds(request, limits.seconds)
            if self._in_flight >= limits.requests:
                raise Problem(429, f"{limits.requests} requests are in flight, the most this server takes.", _RETRY)
            scoring.pipeline.most_tokens = _most_tokens(self._live, limits)
            if scoring.pipeline.tokens >= _SHEDS_FROM * scoring.pipeline.most_tokens:
                raise _full()
            self._in_flight += 1
            self._metrics.in_flight.set(self._in_flight)
            try:
                async with asyncio.timeout(seconds):
                    return await self._scored(request, scoring)
            except TimeoutError:
                raise Problem(
                    504, f"There was no answer within {seconds:g} s; what was not begun is dropped."
                ) from None
            finally:
                self._in_flight -= 1
                self._metrics.in_flight.set(self._in_flight)
                self._metrics.queue.set(scoring.pipeline.tokens)

    async def model(self, request: Request) -> Response:
        """Name and version, the cut in use with its thresholds, the policy, and what the model was measured to do."""
        with self._gate.admitted(request):
            limits = {"mentions": self._limits.mentions, "body_bytes": self._limits.body_bytes}
            return _json_response(json.dumps({**self._live.triage.model_info(), "limits": limits}))

    async def reload(self, request: Request) -> Response:
        """The new one is loaded, its hashes checked, warmed, and held against the old one on the last mentions.

        Only then it takes over; when it is not fit to, the old one goes on. No request fails meanwhile.
        """
        with self._gate.admitted(request, admin=True):
            self._ready()
            name = _bundle_name(await self._body(request))
            try:
                folder: Path | None = self._live.folder(name) if name is not None else None
                takeover = await asyncio.get_running_loop().run_in_executor(None, self._live.reload, folder)
            except FirstreplyError as error:
                raise Problem(409, f"Nothing was changed: {error}.") from None
            self._service.reloaded()
            return _json_response(json.dumps(vars(takeover)))

    async def livez(self) -> Response:
        """200 as long as the server need not be started anew: 503 when a scoring thread has died."""
        self._check_sound()
        return _json_response('{"status":"alive"}')

    async def readyz(self) -> Response:
        """200 once the model is loaded and warm, 503 before that and while the server stops."""
        self._ready()
        if self._service.draining:
            raise Problem(503, "The server is stopping; what was sent is answered.", _RETRY)
        return _json_response('{"status":"ready"}')

    async def counted(self, request: Request) -> Response:
        """Requests, queue, stages, probabilities, labels and levels, in Prometheus' text format."""
        with self._gate.admitted(request):
            if self._scoring is not None:
                self._metrics.queue.set(self._scoring.pipeline.tokens)
            return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    def _ready(self) -> Scoring:
        if self._scoring is None:
            raise Problem(503, "The server is starting or stopping; try again.", _RETRY)
        self._check_sound()
        return self._scoring

    def _check_sound(self) -> None:
        if self._service.is_broken:
            raise Problem(503, "A scoring thread has died; restart the server.")

    async def _scored(self, request: Request, scoring: Scoring) -> Response:
        limits, triage = self._limits, self._live.triage
        as_of, began = datetime.now(UTC), time.perf_counter()
        body = await self._body(request)
        self._metrics.stages.labels("body").observe(time.perf_counter() - began)
        values, explain = _envelope(body, limits.mentions)
        items = [checked(value, position) for position, value in enumerate(values, start=1)]
        targets = sum(max(1, len(item.brand)) if isinstance(item, Mention) else 1 for item in items)
        if targets > limits.mentions:
            raise Problem(422, f"{targets} mentions, one for each target brand; {_at_most(limits.mentions)}")
        request.scope["mentions"] = targets
        self._metrics.batch.observe(targets)
        answers = await _unless_gone(request, scoring.answers(triage, items, as_of, explain))
        told = f'"model":{json.dumps(triage.name)},"as_of":"{as_of.replace(tzinfo=None).isoformat()}Z"'
        return _json_response(f'{{{told},"results":[{",".join(answers)}]}}')

    async def _body(self, request: Request) -> bytes:
        seconds = self._limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await _body(request, self._limits.body_bytes)
        except TimeoutError:
            late = f"The body did not arrive within {seconds} s."
            raise Problem(408, late, {"Connection": "close"}) from None


def _full() -> Problem:
    return Problem(429, "As many mentions wait as this server takes; try again.", _RETRY)


def _most_tokens(live: Live, limits: Limits) -> int:
    """That may wait: at least the largest request."""
    return max(limits.tokens, limits.mentions * live.triage.scorer.bundle.max_tokens)


def _seconds(request: Request, most: float) -> float:
    """How long a request may take: as it asks, and at most what the server allows.

    Raises:
        Problem: 422, it asks for no time.
    """
    asked = request.headers.get("x-request-timeout")
    if asked is None:
        return most
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise Problem(422, f"X-Request-Timeout is {asked!r:.40}; send seconds above 0.")
    return min(seconds, most)


def _bundle_name(body: bytes) -> str | None:
    """The bundle that a reload asks for; None is the one in use.

    Raises:
        Problem: 422, the body asks for something else.
    """
    value = _json(body or b"{}")
    name = value.get("bundle") if isinstance(value, dict) and not set(value) - {"bundle"} else 0
    if name is not None and not isinstance(name, str):
        raise Problem(422, 'The body must be {"bundle": NAME}, or {} for the one in use.')
    return name


def _json(body: bytes) -> Any:
    """What a body says.

    Raises:
        Problem: 422, it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise Problem(422, "The body is nested too deeply to be read.") from None
    except ValueError as error:
        raise Problem(422, f"The body is not JSON: {error}") from None


def _documentation() -> tuple[str, str]:
    """The documentation page, and a content-security policy that runs its own scripts and no others."""
    files = "/static-offline-docs"  # where FastAPIOffline serves what a page otherwise takes from elsewhere
    response = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="firstreply",
        swagger_js_url=f"{files}/swagger-ui-bundle.js",
        swagger_css_url=f"{files}/swagger-ui.css",
        swagger_favicon_url=f"{files}/favicon.png",
    )
    page = bytes(response.body).decode("utf-8")
    digests = [
        base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode() for script in _INLINE.findall(page)
    ]
    allowed = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    return page, (
        f"default-src 'none'; script-src {allowed}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        " connect-src 'self'; frame-ancestors 'none'"
    )


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
        raise _full() from None
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
    envelope = _json(body)
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
