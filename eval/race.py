"""The race: a stream of mentions reaches a team that can answer a fixed share, in the order of each of five rules.

Leaves out the queue itself (``eval.queueing``). Nothing here is a promise of what a brand will see: it says what the
order alone is worth, on labelled mentions, all else being equal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.schema import INTENTS, NATURAL, FileError, LabelledMention
from eval.labelled import read_by_model, read_labelled_files
from eval.metrics import Flags, Floats, truth_of
from eval.progress import counted
from eval.queueing import Indices, Order, answered_at
from eval.tables import race_table
from model.cascade import load_reader
from model.policy import Policy
from model.policy_keywords import KeywordRule, Keywords

CAPACITIES = (0.14, 0.25, 0.5)
"""Shares of the mentions that a team answers; the first is the share that 14 brands were found to answer."""
PATIENCE = 2.0
"""Hours after which a mention leaves every queue alike: an answer later than that is taken for none."""
ACKNOWLEDGED = 0.25
"""Hours within which a complaint counts as acknowledged."""
DAYS = 100
PER_DAY = 500
KEYWORD_LIST = ("buying", "switching", "help", "mad")
"""The list that a team without a model would search for; whole words, in any case."""
_LISTED = Keywords((KeywordRule("list", KEYWORD_LIST),))
ORDERS = ("first_come", "thank_you_first", "keywords", "firstreply", "oracle")
AT_STAKE = ("purchase", "churn_risk")
"""Intents whose answer in time is what the race is about."""

_THANKS = re.compile(r"\b(?:thanks?|thank you|thx|ty)\b", re.IGNORECASE)
_RHYTHM = np.array(
    [34, 25, 17, 11, 9, 15, 19, 27, 33, 42, 49, 58, 68, 59, 60, 55, 63, 61, 52, 51, 48, 52, 48, 45], dtype=np.float64
)
"""Posts an hour from midnight, per thousand: 9,966 of Twitter US Airline Sentiment, February 2015, Eastern time."""
_FOLLOWERS = (
    (0, 0), (0.05, 58), (0.1, 125), (0.2, 384), (0.3, 582), (0.4, 856), (0.5, 1348), (0.6, 2163), (0.7, 3596),
    (0.8, 6629), (0.9, 13832), (0.95, 34799), (0.975, 46628), (0.99, 111051), (0.999, 411559), (1, 755203),
)  # fmt: skip
"""(share of accounts, followers at most) of 10,000 public accounts that posted on 27 March 2023."""
_MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
_SOME_REJECTED = 3


@dataclass(frozen=True)
class RaceJob:
    """What ``firstreply race`` was asked to do."""

    data: Path
    """A labelled file."""
    bundle: Path
    policy: Path | None = None
    """None is the default policy."""
    brands: Path | None = None
    """Brands file in place of the bundle's own."""
    stratum: str | None = None
    """Only the mentions of this stratum. None takes ``natural``, or all where the file has no such mention."""
    days: int = DAYS
    per_day: int = PER_DAY
    seed: int = 0


@dataclass(frozen=True)
class Stream:
    """Days of mentions in the order of arrival, each drawn from a resample of the labelled ones.

    So the spread of the days holds both that days differ and that other mentions could have been labelled.
    """

    drawn: Indices
    """Which of the labelled mentions each one is."""
    arrival: Floats
    """Hours since the first midnight, ascending."""
    followers: Floats
    """Of the author of each: the mention's own, or drawn."""
    days: int
    rhythm: Floats
    """Share of a day's mentions in each of its 24 hours."""
    own_times: bool
    """Whether each mention comes at its own time of day."""

    @classmethod
    def draw(cls, mentions: Sequence[LabelledMention], days: int, per_day: int, seed: int) -> Stream:
        """Each mention comes at its own time of day where all have one, else by the usual rhythm of a day.

        Times that are all midnight are dates without a time.
        """
        random = np.random.default_rng(seed)
        known = random.integers(len(mentions), size=(days, len(mentions)))
        drawn = np.concatenate([random.choice(pool, size=per_day) for pool in known])
        times = [mention.created_at.astimezone(UTC) for mention in mentions if mention.created_at is not None]
        own_times = len(times) == len(mentions) and any(time.time() != datetime.min.time() for time in times)
        if own_times:
            hours = np.array([time.hour + time.minute / 60 + time.second / 3600 for time in times])
            rhythm = np.bincount(hours.astype(np.intp), minlength=24).astype(np.float64)
            hour = hours[drawn]
        else:
            rhythm = _RHYTHM
            hour = random.choice(24, size=len(drawn), p=rhythm / rhythm.sum()) + random.random(len(drawn))
        arrival = np.repeat(np.arange(days) * 24.0, per_day) + hour
        own = np.array([np.nan if m.author.followers is None else m.author.followers for m in mentions])[drawn]
        shares, counts = zip(*_FOLLOWERS, strict=True)
        others = np.expm1(np.interp(random.random(len(drawn)), shares, np.log1p(counts)))
        order = np.argsort(arrival, kind="stable")
        followers = np.where(np.isnan(own), others, own)
        return cls(drawn[order], arrival[order], followers[order], days, rhythm / rhythm.sum(), own_times)

    def free(self, capacity: float) -> Floats:
        """When a team that can answer this share takes up one mention each; it is staffed as the day's rhythm is."""
        each_day = max(1, round(capacity * len(self.drawn) / self.days))
        clock = np.interp((np.arange(each_day) + 0.5) / each_day, np.append(0, np.cumsum(self.rhythm)), np.arange(25.0))
        free: Floats = (np.arange(self.days)[:, None] * 24.0 + clock).ravel()
        return free


def run_race(job: RaceJob) -> int:
    """Race on a labelled file; prints a table and, as the last line, one JSON object.

    Returns:
        0, or 3 where rows of the file were refused (they are named on stderr).

    Raises:
        FirstreplyError: the bundle, the brands file, the policy or the data cannot be read.
    """
    policy = Policy.load(job.policy)
    scorer = load_reader(job.bundle, brands=job.brands)
    data = read_labelled_files([job.data])
    strata = {mention.stratum for mention in data.mentions}
    stratum = job.stratum or (NATURAL if NATURAL in strata else None)
    mentions = [mention for mention in data.mentions if stratum in (None, mention.stratum)]
    if not mentions:
        named = ", ".join(sorted(strata))
        raise FileError(f"{job.data}: no mention to race with; its strata are: {named or 'none'}")
    probabilities = np.array([reading.probabilities for reading in read_by_model(scorer, mentions, "read")])
    stream = Stream.draw(mentions, job.days, job.per_day, job.seed)
    figures = race(mentions, probabilities, policy, stream)
    if not figures["at_stake"]:
        print(f"{job.data}: no mention is labelled purchase or churn risk, so nothing is at stake", file=sys.stderr)
    print(race_table({**figures, "stratum": stratum}).text())
    source = {
        "model": scorer.name,
        "stratum": stratum,
        "policy": policy.name,
        "policy_sha256": policy.sha256,
        "data": str(job.data),
        "seed": job.seed,
    }
    print(json.dumps({"capacity": CAPACITIES[0], **source, **_first(figures), **figures}))
    return _SOME_REJECTED if data.any_refused else 0


def race(
    mentions: Sequence[LabelledMention],
    probabilities: Floats,
    policy: Policy,
    stream: Stream,
    capacities: Sequence[float] = CAPACITIES,
) -> dict[str, Any]:
    """What each order gets answered in time.

    The orders are ``first_come``, ``thank_you_first`` (mentions that say thanks, which brands were found to answer
    most), ``keywords`` (a word of ``KEYWORD_LIST`` first), ``firstreply`` (the policy's score, with the waiting points
    of that moment) and ``oracle`` (the true labels: what is at stake first, then by the policy's weights). Ties go by
    arrival. An unknown label counts nowhere, and is 0 to the oracle.

    Args:
        mentions: the labelled mentions that ``stream`` was drawn from.
        probabilities: shape (mentions, intents), 0 to 1.
        policy: gives the scores.
        stream: who comes when.
        capacities: shares of the mentions that the team can answer, above 0 and at most 1.

    Returns:
        ``mentions``, ``at_stake`` (how many of them are a purchase or churn risk), ``with_keywords``, ``days``,
        ``per_day`` and ``own_times``; ``prevalence``, intent → share of the known labels; ``capacities``,
        capacity (``"0.14"``) → order → ``answered_within_2h`` (share of the purchase and churn-risk mentions),
        ``complaints_within_15m``, and per intent ``answered`` (share) and ``median_wait_minutes`` of those answered.
        A share is ``mean`` over all and ``low`` to ``high``, the middle 95% of the days; None where no mention has the
        intent.
    """
    labels = truth_of(mentions)
    truth = labels[stream.drawn]
    orders = _orders(mentions, labels, probabilities, policy, stream)
    raced: dict[str, dict[str, Any]] = {}
    for capacity in capacities:
        free = stream.free(capacity)
        raced[f"{capacity:g}"] = {
            name: _measure(truth, stream, answered_at(stream.arrival, free, order, PATIENCE))
            for name, order in counted(orders.items(), f"raced at {capacity:.0%}", len(orders))
        }
    known, positive = ~np.isnan(labels), (labels == 1).sum(axis=0)
    return {
        "mentions": len(mentions),
        "at_stake": int(_at_stake(labels).sum()),
        "with_keywords": sum(bool(_LISTED.found(mention.text)) for mention in mentions),
        "own_times": stream.own_times,
        "days": stream.days,
        "per_day": len(stream.drawn) // stream.days,
        "prevalence": {
            intent: float(count / total) if total else None
            for intent, count, total in zip(INTENTS, positive, known.sum(axis=0), strict=True)
        },
        "capacities": raced,
    }


def _orders(
    mentions: Sequence[LabelledMention], labels: Floats, probabilities: Floats, policy: Policy, stream: Stream
) -> dict[str, Order]:
    thanks = np.array([float(_THANKS.search(mention.text) is not None) for mention in mentions])[stream.drawn]
    words = np.array([float(bool(_LISTED.found(mention.text))) for mention in mentions])[stream.drawn]
    worth = 1000.0 * _at_stake(labels) + np.nan_to_num(labels) @ np.array(policy.settings.weights)
    return {
        "first_come": Order(np.zeros(len(stream.drawn))),
        "thank_you_first": Order(thanks),
        "keywords": Order(words),
        "firstreply": _policy_order(mentions, probabilities, policy, stream),
        "oracle": Order(worth[stream.drawn]),
    }


def _policy_order(mentions: Sequence[LabelledMention], probabilities: Floats, policy: Policy, stream: Stream) -> Order:
    """The policy's score of each mention of the stream as it arrives, and what waiting adds to it."""
    read = [dict(zip(INTENTS, row, strict=True)) for row in probabilities.tolist()]
    base, deadline = np.zeros(len(stream.drawn)), np.full(len(stream.drawn), np.inf)
    for place, (index, followers) in enumerate(zip(stream.drawn.tolist(), stream.followers.tolist(), strict=True)):
        mention = mentions[index]
        author = mention.author.model_copy(update={"followers": followers})
        written = mention.model_copy(update={"author": author, "created_at": _MIDNIGHT})
        priority = policy.prioritise(written, mention.brand_key or None, read[index], (), _MIDNIGHT)
        base[place] = priority.score
        if priority.respond_by is not None:
            deadline[place] = (priority.respond_by - _MIDNIGHT) / timedelta(hours=1)
    return Order(base, policy.settings.waiting_points, deadline)


def _measure(truth: Floats, stream: Stream, answered: Floats) -> dict[str, Any]:
    waited = answered - stream.arrival
    day = (stream.arrival // 24).astype(np.intp)
    stake = _at_stake(truth)
    complaint = truth[:, INTENTS.index("complaint")] == 1
    in_time = np.isfinite(waited)
    intents = {}
    for column, intent in enumerate(INTENTS):
        found = waited[(truth[:, column] == 1) & in_time]
        intents[intent] = {
            "answered": _share(in_time, truth[:, column] == 1, day),
            "median_wait_minutes": round(60 * float(np.median(found)), 1) if len(found) else None,
        }
    return {
        "answered_within_2h": _share(in_time, stake, day),
        "complaints_within_15m": _share(waited <= ACKNOWLEDGED, complaint, day),
        "intents": intents,
    }


def _at_stake(truth: Floats) -> Flags:
    flags: Flags = (truth[:, [INTENTS.index(intent) for intent in AT_STAKE]] == 1).any(axis=1)
    return flags


def _share(there: Flags, among: Flags, day: NDArray[np.intp]) -> dict[str, float] | None:
    whole = np.bincount(day[among])
    if not whole.any():
        return None
    part = np.bincount(day[among & there], minlength=len(whole))
    low, high = np.quantile(part[whole > 0] / whole[whole > 0], (0.025, 0.975))
    return {
        "mean": round(float(part.sum() / whole.sum()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def _first(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The shares at the first capacity, order → share, for those who read only the top of the JSON object."""
    orders = figures["capacities"][f"{CAPACITIES[0]:g}"]
    return {
        name: {order: one[name]["mean"] if one[name] else None for order, one in orders.items()}
        for name in ("answered_within_2h", "complaints_within_15m")
    }
