"""What POST /v1/score takes and gives, as OpenAPI describes it: types, examples and the table of problems.

Leaves out the checking of requests (``serving.app``, ``data.schema``) and the making of results (``model.triage``):
these models describe them and never stand between a request and its answer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from data.schema import INTENTS, Mention

PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("Bad request", "What came is no HTTP request, or could be read as two."),
    401: ("Not authenticated", "The server asks for a key: `Authorization: Bearer KEY`."),
    403: ("Not allowed", "The key is good, but not for this."),
    404: ("Not found", "There is nothing at this address."),
    405: ("Method not allowed", "This address takes another method; `Allow` names it."),
    408: ("Request timeout", "The request did not arrive in time."),
    409: ("Conflict", "What was asked for is not fit to take over; nothing was changed."),
    413: ("Request body too large", "The body is larger than the server's limit; send fewer mentions at once."),
    415: ("Unsupported media type", "The body must be `application/json`, not compressed."),
    422: ("Malformed request", "The body or a header cannot be understood; nothing was scored."),
    429: (
        "Too many requests",
        "As many requests or mentions as the server takes are waiting, or the key's rate is used up; try again after"
        " `Retry-After`.",
    ),
    431: ("Request header too large", "The request's line and headers are larger than the server's limit."),
    500: ("Internal server error", "The server failed; nothing was scored."),
    503: ("Not ready", "The server is starting, stopping or unable to score; try again after `Retry-After`."),
    504: ("Timeout", "There was no answer in the time that the request or the server allows; what waited is dropped."),
}
"""Status → title and what it means."""

EXAMPLE_REQUEST: dict[str, Any] = {
    "mentions": [
        {
            "id": "1",
            "text": "Third outage this week. I am leaving @northtel for @skyfone.",
            "brand": "northtel",
            "author": {"followers": 5200},
        },
        {
            "id": "2",
            "text": "@northtel does the family plan include roaming? Thinking of signing up.",
            "brand": "northtel",
        },
    ]
}
"""Two mentions that a reader can send as they stand."""

_EXAMPLE_RESPONSE: dict[str, Any] = {
    "model": "firstreply@1.0.0",
    "as_of": "2026-11-21T10:00:00Z",
    "results": [
        {
            "id": "1",
            "brand": "northtel",
            "probabilities": dict(zip(INTENTS, (0.02, 0.93, 0.88, 0.01, 0.1), strict=True)),
            "labels": ["churn_risk", "complaint"],
            "priority": {
                "score": 91.4,
                "level": "urgent",
                "respond_by": "2026-11-21T10:15:00Z",
                "signals": [
                    {"name": "intent:churn_risk", "points": 55.8},
                    {"name": "intent:complaint", "points": 21.5},
                    {"name": "keyword:switching", "points": 6.0},
                    {"name": "reach", "points": 8.1},
                ],
            },
            "queue": "retention",
        },
        {"id": "2", "error": {"title": "Invalid mention", "detail": "text is empty"}},
    ],
}

IntentName = Literal["purchase", "churn_risk", "complaint", "praise", "support_question"]
LevelName = Literal["urgent", "high", "normal", "low"]
Probability = Annotated[float, Field(ge=0, le=1)]


class Shape(BaseModel):
    """Base of the types below: the fields that are named and no others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ScoreRequest(Shape):
    """Mentions to score. Each is checked on its own: a bad one has its error in the answer, the others are scored."""

    mentions: Annotated[list[Mention], Field(min_length=1)]
    """At least one. A mention with several target brands counts once for each against the server's limit."""
    explain: bool = False
    """Also say which words moved each label (`why`). Takes many times as long."""


class Signal(Shape):
    """One thing that moved the priority."""

    name: str
    """What it was, such as `intent:churn_risk`, `keyword:switching` or `reach`."""
    points: float
    """How far it moved the score."""


class PriorityShape(Shape):
    """How soon the mention should be answered; the signals add up to the score before it is held to 0 to 100."""

    model_config = ConfigDict(title="Priority")

    score: Annotated[float, Field(ge=0, le=100)]
    level: LevelName
    respond_by: datetime | None
    """When an answer is due; null for `low`."""
    signals: list[Signal]


class Word(Shape):
    """A word of the text and what deleting it does."""

    word: str
    start: Annotated[int, Field(ge=0)]
    """Where the word starts in the text, in characters from 0."""
    end: Annotated[int, Field(ge=0)]
    """The character after its last one."""
    drop: float
    """How far the intent's log-odds fall when the word is deleted."""


class Result(Shape):
    """What one mention asks of one target brand, and what to do about it."""

    id: str
    """The mention's id, or its position in the request from 1 when it had none."""
    brand: str | None
    """The target brand: as given, else the first brand whose handle the text names, else null."""
    probabilities: dict[IntentName, Probability]
    """Calibrated, one per intent, independent of each other."""
    labels: list[IntentName]
    """The intents at or above the threshold of the cut in use."""
    priority: PriorityShape
    queue: str
    """Who should answer, by the policy's routes."""
    truncated: bool = False
    """True when the text was too long to be read whole: only its head and tail were."""
    uncertain: bool = False
    """True when a probability is so near its threshold that other brands' posts could have put the threshold on its
    other side (inside the cut's `threshold_intervals`): a label worth a person's look."""
    tier: Literal["fast", "full"] | None = None
    """Of a cascade, the bundle that answered; left out where there is one bundle alone."""
    why: dict[IntentName, list[Word]] | None = None
    """For each label, the words that raised it most. Only with `explain`."""


class MentionProblem(Shape):
    """What is wrong with a mention."""

    title: str
    """The kind of problem; the same for every mention that has it."""
    detail: str
    """What is wrong with this one."""


class Unscored(Shape):
    """Stands in the place of a mention that could not be scored."""

    id: str
    """The mention's id if it had a usable one, else its position in the request from 1."""
    error: MentionProblem


class ScoreResponse(Shape):
    """The results, in the order of the mentions; a mention with several target brands has one for each."""

    model: str
    """The model that answered, as `NAME@VERSION`."""
    as_of: datetime
    """The moment of the request: what waiting is counted up to, and deadlines from where there is no `created_at`."""
    results: list[Result | Unscored]


class RouteInfo(Shape):
    """A queue, and what a mention must meet for it: one value at least of each list that there is."""

    queue: str
    intents: list[IntentName] | None = None
    levels: list[LevelName] | None = None
    brands: list[str] | None = None
    """Brand keys."""
    channels: list[str] | None = None
    """In lower case."""
    keywords: list[str] | None = None
    """Names of keyword rules."""


class PolicyInfo(Shape):
    """The policy in use: enough to work out what other weights would do to a result.

    Points are rounded to tenths, half to even, signal by signal. The level is the first of `levels` that their sum
    reaches without waiting points, and the first of `routes` that is met names the queue.
    """

    name: str
    sha256: str
    weights: dict[IntentName, float]
    """Points of each intent at probability 1."""
    keywords: dict[str, float]
    """Points of each keyword rule."""
    waiting: float
    """Points at the deadline of the level and after it; in proportion before."""
    levels: dict[LevelName, float]
    """Lowest score of each level, the highest level first."""
    deadlines: dict[LevelName, float | None]
    """Seconds to answer, from `created_at` (else the answer's `as_of`); null is no deadline."""
    routes: list[RouteInfo]
    """In the order in which they are tried."""
    default_queue: str
    """The queue of what no route takes."""


class LimitsInfo(Shape):
    """What one request may hold."""

    mentions: int
    """One with several target brands counted once for each."""
    body_bytes: int


class ModelInfo(Shape):
    """The model, the cut and the policy that answer."""

    model: str
    """As in every answer: `NAME@VERSION`, and the hash of the brands file where it is not the bundle's own."""
    sha256: str
    """Hash of the bundle."""
    tiers: dict[Literal["fast", "full"], str] | None = None
    """Of a cascade, the hash of each of its bundles; what else is said here is of the full one."""
    base_model: str
    """The pretrained model that was fine-tuned."""
    max_tokens: int
    """Tokens that are read of a text; of a longer one its head and tail."""
    normaliser: int
    """Version of the text normaliser."""
    brands_sha256: str
    policy: PolicyInfo
    limits: LimitsInfo
    intents: list[IntentName]
    cut: str
    """The cut that labels are read off by."""
    thresholds: dict[str, dict[IntentName, Probability | None]]
    """Of each cut, the probability from which each intent is a label; null where the cut never asserts it."""
    fast_thresholds: dict[str, dict[IntentName, Probability | None]] | None = None
    """Of a cascade, the thresholds by which its fast bundle's answers are labelled."""
    threshold_intervals: dict[str, dict[IntentName, tuple[Probability, Probability] | None]]
    """Of each threshold, the 95% interval; null where there is none."""
    data: list[dict[str, Any]]
    """What the model was trained on, with licences."""
    figures: dict[str, Any]
    """What it was measured to do on mentions held out from training."""


class Problem(Shape):
    """An error of the whole request, as RFC 9457 has it."""

    type: str
    title: str
    """The kind of problem; the same for every request that has it."""
    status: int
    detail: str
    """What is wrong with this request and what to do."""
    instance: str
    """The path that was asked for."""


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses of these problem statuses."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": " — ".join(PROBLEMS[status]), "content": content} for status in statuses}


class ReloadRequest(Shape):
    """Which bundle is to answer."""

    bundle: str | None = None
    """Name of a folder in the server's `--bundles`; null is the bundle in use, read anew."""


class ReloadResponse(Shape):
    """How the bundle that answers now compared with the one before."""

    model: str
    sha256: str
    before: str
    """The model that answered before."""
    compared: int
    """Of the last mentions, those that both read."""
    different: int
    """Of these, those with other labels."""


KEYS: dict[str, Any] = {"security": [{}, {"key": []}]}
"""OpenAPI's description of an operation that asks for a key where the server has keys."""

TIMEOUT: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-Request-Timeout",
            "in": "header",
            "required": False,
            "description": "Seconds after which the answer is of no use any more; at most what the server allows.",
            "schema": {"type": "number", "exclusiveMinimum": 0},
        }
    ]
}

RELOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReloadRequest"}}},
    }
}

RELOAD_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "It answers from now on.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReloadResponse"}}},
    }
}

SCORE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ScoreRequest"},
                "examples": {
                    "two mentions": {"value": EXAMPLE_REQUEST},
                    "with reasons": {"value": {**EXAMPLE_REQUEST, "explain": True}},
                },
            }
        },
    }
}
"""OpenAPI's description of the body of POST /v1/score."""

MODEL_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What answers here.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ModelInfo"}}},
    }
}
"""OpenAPI's description of the answer of GET /v1/model."""

SCORE_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A result or an error for each mention, in order.",
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ScoreResponse"},
                "example": _EXAMPLE_RESPONSE,
            }
        },
    }
}
"""OpenAPI's description of the answer of POST /v1/score."""


def openapi_document(app: FastAPI, max_mentions: int) -> dict[str, Any]:
    """The OpenAPI document of ``app``, with the types above among its components."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, schemas = models_json_schema(
        [
            (model, "validation")
            for model in (ScoreRequest, ScoreResponse, ReloadRequest, ReloadResponse, ModelInfo, Problem)
        ],
        ref_template="#/components/schemas/{model}",
    )
    components = schemas["$defs"]
    components["ScoreRequest"]["properties"]["mentions"]["maxItems"] = max_mentions
    document.setdefault("components", {}).setdefault("schemas", {}).update(components)
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document
