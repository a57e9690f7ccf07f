"""What comes back: typed results, and how they are read off the server's JSON.

Fields that a later server may add are passed over. Leaves out what is wrong with a whole request (``errors``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Signal:
    """One thing that moved a priority."""

    name: str
    """What it was, such as ``intent:churn_risk``, ``keyword:switching`` or ``reach``."""
    points: float
    """How far it moved the score."""


@dataclass(frozen=True)
class Priority:
    """How soon a mention should be answered; the signals add up to the score before it is held to 0 to 100."""

    score: float
    level: str
    """``urgent``, ``high``, ``normal`` or ``low``."""
    respond_by: datetime | None
    """When an answer is due, with a time zone; None where the level has no deadline."""
    signals: tuple[Signal, ...]


@dataclass(frozen=True)
class Word:
    """A word of the text and what deleting it does."""

    word: str
    start: int
    """Where the word starts in the text, in characters from 0."""
    end: int
    """The character after its last one."""
    drop: float
    """How far the intent's log-odds fall when the word is deleted."""


@dataclass(frozen=True)
class Result:
    """What one mention asks of one target brand, and what to do about it."""

    id: str
    """The mention's id, or its position in the list from 1 when it had none."""
    brand: str | None
    """The target brand: as given, else the first brand whose handle the text names, else None."""
    probabilities: Mapping[str, float]
    """Calibrated, 0 to 1, one per intent, independent of each other: ``purchase``, ``churn_risk``, ``complaint``,
    ``praise``, ``support_question``."""
    labels: tuple[str, ...]
    """The intents at or above the threshold of the cut that the server uses."""
    priority: Priority
    queue: str
    """Who should answer, by the policy's routes."""
    model: str
    """The model that answered, as ``NAME@VERSION``: it can change between the parts of a large list."""
    truncated: bool = False
    """True when the text was too long to be read whole: only its head and tail were."""
    uncertain: bool = False
    """True when a probability is so near its threshold that the label is worth a person's look."""
    tier: str | None = None
    """Of a cascade, the bundle that answered, ``fast`` or ``full``; None where there is one bundle alone."""
    why: Mapping[str, tuple[Word, ...]] | None = None
    """For each label, the words that raised it most. Only with ``explain``."""


@dataclass(frozen=True)
class Unscored:
    """Stands in the place of a mention that could not be scored."""

    id: str
    """The mention's id, or its position in the list from 1 when it had none."""
    title: str
    """The kind of problem; the same for every mention that has it."""
    detail: str
    """What is wrong with this one."""


@dataclass(frozen=True)
class PolicyInfo:
    """A policy in use."""

    name: str
    sha256: str


@dataclass(frozen=True)
class ModelInfo:
    """The model, the cut and the policy that answer."""

    model: str
    """As in every result: ``NAME@VERSION``, and the hash of the brands file where it is not the bundle's own."""
    sha256: str
    """Hash of the bundle."""
    base_model: str
    """The pretrained model that was fine-tuned."""
    max_tokens: int
    """Tokens that are read of a text; of a longer one its head and tail."""
    normaliser: int
    """Version of the text normaliser."""
    brands_sha256: str
    policy: PolicyInfo
    intents: tuple[str, ...]
    cut: str
    """The cut that labels are read off by."""
    thresholds: Mapping[str, Mapping[str, float | None]]
    """Of each cut, the probability from which each intent is a label; None where the cut never asserts it."""
    threshold_intervals: Mapping[str, Mapping[str, tuple[float, float] | None]]
    """Of each threshold, the 95% interval; None where there is none."""
    data: tuple[Mapping[str, Any], ...]
    """What the model was trained on, with licences."""
    figures: Mapping[str, Any]
    """What it was measured to do on mentions held out from training."""
    tiers: Mapping[str, str] | None = None
    """Of a cascade, the hash of each of its bundles; what else is said here is of the full one."""


def read_results(document: Any) -> list[Result | Unscored]:
    """The results of an answer to POST /v1/score, in its order.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    model = document["model"]
    return [_unscored(value) if "error" in value else _result(value, model) for value in document["results"]]


def read_model(document: Any) -> ModelInfo:
    """The answer to GET /v1/model.

    Raises:
        KeyError, TypeError, ValueError: it is no such answer.
    """
    policy, intervals = document["policy"], document["threshold_intervals"]
    return ModelInfo(
        model=document["model"],
        sha256=document["sha256"],
        base_model=document["base_model"],
        max_tokens=document["max_tokens"],
        normaliser=document["normaliser"],
        brands_sha256=document["brands_sha256"],
        policy=PolicyInfo(policy["name"], policy["sha256"]),
        intents=tuple(document["intents"]),
        cut=document["cut"],
        thresholds=document["thresholds"],
        threshold_intervals={
            cut: {intent: (ends[0], ends[1]) if ends else None for intent, ends in of_cut.items()}
            for cut, of_cut in intervals.items()
        },
        data=tuple(document["data"]),
        figures=document["figures"],
        tiers=document.get("tiers"),
    )


def _unscored(value: Any) -> Unscored:
    return Unscored(value["id"], value["error"]["title"], value["error"]["detail"])


def _result(value: Any, model: str) -> Result:
    priority, why = value["priority"], value.get("why")
    due = priority["respond_by"]
    return Result(
        id=value["id"],
        brand=value["brand"],
        probabilities=value["probabilities"],
        labels=tuple(value["labels"]),
        priority=Priority(
            score=priority["score"],
            level=priority["level"],
            respond_by=datetime.fromisoformat(due) if due is not None else None,
            signals=tuple(Signal(signal["name"], signal["points"]) for signal in priority["signals"]),
        ),
        queue=value["queue"],
        model=model,
        truncated=value.get("truncated", False),
        uncertain=value.get("uncertain", False),
        tier=value.get("tier"),
        why={intent: tuple(map(_word, words)) for intent, words in why.items()} if why is not None else None,
    )


def _word(value: Any) -> Word:
    return Word(value["word"], value["start"], value["end"], value["drop"])
