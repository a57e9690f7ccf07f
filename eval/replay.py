"""A day of mentions answered in different orders: what the policy's order buys when a team can answer only some.

Leaves out the clock: all mentions are there at once and nobody waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.schema import INTENTS, FileError, LabelledMention
from eval.labelled import read_by_model, read_labelled_files
from eval.metrics import Flags, Floats, truth_of
from model.policy import Policy
from model.policy_keywords import KeywordRule, Keywords
from model.scorer import Scorer

CAPACITIES = (0.14, 0.25, 0.5)
"""Shares of the mentions that a team answers."""
KEYWORD_LIST = ("buying", "switching", "help", "mad")
"""The list that a team without a model would search for; whole words, in any case."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_SOME_REJECTED = 3


@dataclass(frozen=True)
class ReplayJob:
    """What ``firstreply policy replay`` was asked to do."""

    data: Path
    """A labelled file."""
    bundle: Path
    policy: Path | None = None
    """None is the default policy."""
    brands: Path | None = None
    """Brands file in place of the bundle's own."""
    stratum: str | None = None
    """Only the mentions of this stratum; ``natural`` is what a day looks like."""
    seed: int = 0


def run_replay(job: ReplayJob) -> int:
    """Replay a labelled file; prints a table and, as the last line, one JSON object.

    Returns:
        0, or 3 where rows of the file were refused (they are named on stderr).

    Raises:
        FirstreplyError: the bundle, the brands file, the policy or the data cannot be read.
    """
    policy = Policy.load(job.policy)
    scorer = Scorer.load(job.bundle, brands=job.brands)
    (file,) = read_labelled_files([job.data])
    mentions = [mention for mention in file.mentions if job.stratum in (None, mention.stratum)]
    if not mentions:
        strata = ", ".join(sorted({mention.stratum for mention in file.mentions}))
        raise FileError(f"{job.data}: no mention to replay; its strata are: {strata or 'none'}")
    readings = read_by_model(scorer, mentions, "replay")
    probabilities = np.array([reading.probabilities for reading in readings])
    figures = replay(mentions, probabilities, policy, seed=job.seed)
    print(_table(figures))
    source = {
        "model": scorer.name,
        "stratum": job.stratum,
        "policy": policy.name,
        "policy_sha256": policy.sha256,
        "data": str(job.data),
    }
    print(json.dumps({**source, **figures}))
    return _SOME_REJECTED if file.refused else 0


def replay(
    mentions: Sequence[LabelledMention],
    probabilities: Floats,
    policy: Policy,
    *,
    capacities: Sequence[float] = CAPACITIES,
    seed: int = 0,
) -> dict[str, Any]:
    """The share of each intent's mentions that are answered when the first of an order are.

    The orders are ``first_come`` (by ``created_at`` where every mention has one, else drawn with ``seed``: files are
    seldom in order of arrival), ``keyword_list`` (mentions with a word of ``KEYWORD_LIST`` first), ``policy`` (by its
    score) and ``oracle`` (by the score that the policy gives the true labels, unknown ones taken as 0). Ties go by
    arrival.

    Args:
        mentions: in any order.
        probabilities: shape (mentions, intents), 0 to 1.
        policy: gives the scores.
        capacities: shares of the mentions that are answered, 0 to 1; the count is rounded to the nearest mention.
        seed: of the order of arrival.

    Returns:
        ``mentions`` and ``positives`` (intent → mentions known to have it) are counts; ``answered`` is order →
        capacity in percent (``"14"``) → intent → share, None where no mention has the intent.
    """
    truth = truth_of(mentions)
    arrival = _arrival(mentions, seed)
    listed = Keywords((KeywordRule("list", KEYWORD_LIST),))
    urgency: dict[str, Floats] = {
        "first_come": np.zeros(len(mentions)),
        "keyword_list": np.array([float(bool(listed.found(mention.text))) for mention in mentions]),
        "policy": _scores(mentions, probabilities, policy),
        "oracle": _scores(mentions, np.nan_to_num(truth), policy),
    }
    answered: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, values in urgency.items():
        order = np.lexsort((arrival, -values))
        answered[name] = {
            f"{100 * capacity:g}": _shares(truth == 1, order[: round(capacity * len(mentions))])
            for capacity in capacities
        }
    positives = {intent: int(count) for intent, count in zip(INTENTS, (truth == 1).sum(axis=0), strict=True)}
    return {"mentions": len(mentions), "seed": seed, "positives": positives, "answered": answered}


def _arrival(mentions: Sequence[LabelledMention], seed: int) -> NDArray[np.intp]:
    """Each mention's place in the order of arrival."""
    times = [mention.created_at for mention in mentions if mention.created_at is not None]
    if len(times) < len(mentions):
        return np.random.default_rng(seed).permutation(len(mentions))
    seconds = [(time - _EPOCH).total_seconds() for time in times]
    return np.argsort(np.argsort(seconds, kind="stable"), kind="stable")


def _scores(mentions: Sequence[LabelledMention], probabilities: Floats, policy: Policy) -> Floats:
    """The policy's score of every mention at the moment it was written: no waiting points."""
    scores = []
    for mention, row in zip(mentions, probabilities.tolist(), strict=True):
        read = dict(zip(INTENTS, row, strict=True))
        # labels only move routes
        priority = policy.prioritise(mention, mention.brand_key or None, read, (), mention.created_at or _EPOCH)
        scores.append(priority.score)
    return np.array(scores, dtype=np.float64)


def _shares(positive: Flags, chosen: NDArray[np.intp]) -> dict[str, float | None]:
    found, there = positive[chosen].sum(axis=0), positive.sum(axis=0)
    return {
        intent: round(float(part / whole), 4) if whole else None
        for intent, part, whole in zip(INTENTS, found, there, strict=True)
    }


def _table(figures: dict[str, Any]) -> str:
    lines = [
        f"share of each intent's mentions that are answered, of {figures['mentions']:,} mentions in one day",
        f"{'capacity':<10}{'order':<14}" + "".join(f"{intent:>18}" for intent in INTENTS),
        f"{'':<10}{'(mentions)':<14}" + "".join(f"{figures['positives'][intent]:>18,}" for intent in INTENTS),
    ]
    capacities = list(figures["answered"]["first_come"])
    for capacity in capacities:
        for order, by_capacity in figures["answered"].items():
            shares = by_capacity[capacity]
            cells = ("-" if shares[intent] is None else f"{100 * shares[intent]:.1f}%" for intent in INTENTS)
            lines.append(
                f"{capacity + '%':<10}{order.replace('_', ' '):<14}" + "".join(f"{cell:>18}" for cell in cells)
            )
    return "\n".join(lines)
