"""Triage: the result objects of the HTTP contract, exactly."""

from __future__ import annotations

import json
import math
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data.schema import INTENTS, Author, Mention, mention_from_json
from model.bundle import CUTS, NO_INTERVAL
from model.errors import BundleError
from model.policy import Policy
from model.scorer import Scorer
from model.triage import Triage

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
POLICY = Policy.load(None)


@pytest.fixture(scope="module")
def scorer(tiny_bundle: Path) -> Scorer:
    return Scorer.load(tiny_bundle)


def keep_all(scorer: Scorer) -> Triage:
    """Triage at thresholds of zero, so that every intent is a label."""
    return Triage(changed(scorer, cuts={**scorer.bundle.cuts, "balanced": (0.0,) * len(INTENTS)}), POLICY)


def changed(scorer: Scorer, **entries: Any) -> Scorer:
    """The same scorer with other entries in its manifest."""
    other = copy(scorer)
    other.bundle = replace(scorer.bundle, **entries)
    return other


def test_a_result_has_what_the_contract_says_and_nothing_else(tiny_triage: Triage) -> None:
    mention = Mention(
        id="7",
        text="@Bramblemart worst shop ever, I want my money back and I am leaving!",
        brand=("Bramblemart",),
        created_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
        author=Author(followers=11_200),
    )
    (result,) = tiny_triage.answer(mention, as_of=NOON)
    assert list(result)[:6] == ["id", "brand", "probabilities", "labels", "priority", "queue"]
    assert set(list(result)[6:]) <= {"uncertain"}
    assert (result["id"], result["brand"]) == ("7", "Bramblemart")
    reading = tiny_triage.scorer.read(mention.text, "Bramblemart")
    assert list(result["probabilities"]) == list(INTENTS)
    assert list(result["probabilities"].values()) == [round(value, 6) for value in reading.probabilities]
    thresholds = tiny_triage.scorer.bundle.thresholds("balanced")
    assert result["labels"] == [
        intent for intent, p, t in zip(INTENTS, reading.probabilities, thresholds, strict=True) if p >= t
    ]
    priority = POLICY.prioritise(
        mention, "bramblemart", dict(zip(INTENTS, reading.probabilities, strict=True)), result["labels"], NOON
    )
    assert result["priority"] == {
        "score": priority.score,
        "level": priority.level,
        "respond_by": priority.respond_by and priority.respond_by.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "signals": [{"name": signal.name, "points": signal.points} for signal in priority.signals],
    }
    assert result["queue"] == priority.queue
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_every_target_has_its_own_result(tiny_triage: Triage) -> None:
    mention = mention_from_json({"text": "leaving @A1 for @B1", "brand": ["A1", "B1"]}, "3")
    results = tiny_triage.answer(mention, as_of=NOON)
    assert [(result["id"], result["brand"]) for result in results] == [("3", "A1"), ("3", "B1")]
    assert results[0]["probabilities"] != results[1]["probabilities"]
    assert results == [
        *tiny_triage.answer(mention.model_copy(update={"brand": ("A1",)}), as_of=NOON),
        *tiny_triage.answer(mention.model_copy(update={"brand": ("B1",)}), as_of=NOON),
    ]


@pytest.mark.parametrize(("text", "brand"), [("so bad", None), ("so bad @Some_One", "Some_One")])
def test_without_a_brand_there_is_one_result_for_the_handle_or_for_nobody(
    tiny_triage: Triage, text: str, brand: str | None
) -> None:
    (result,) = tiny_triage.answer(Mention(text=text), as_of=NOON)
    assert result["brand"] == brand


def test_truncated_stands_only_where_it_is_true(tiny_triage: Triage) -> None:
    (short,) = tiny_triage.answer(Mention(text="help"), as_of=NOON)
    assert "truncated" not in short
    (long,) = tiny_triage.answer(Mention(text="help me please " * 500), as_of=NOON)
    assert long["truncated"] is True
    assert list(long)[6] == "truncated"


def test_uncertain_is_what_lies_inside_the_interval_of_a_threshold(scorer: Scorer) -> None:
    text = "worst service ever"
    (value, *_) = scorer.read(text, None).probabilities
    for low, high, uncertain in (
        (value, value, True),
        (0.0, 1.0, True),
        (value + 1e-9, 1.0, False),
        (0.0, value - 1e-9, False),
    ):
        intervals = {**scorer.bundle.intervals, "balanced": ((low, high), *(NO_INTERVAL,) * 4)}
        (result,) = Triage(changed(scorer, intervals=intervals), POLICY).answer(Mention(text=text), as_of=NOON)
        assert result.get("uncertain") is (True if uncertain else None)


def test_the_cut_in_use_says_what_is_uncertain(scorer: Scorer) -> None:
    for cut in CUTS:
        for threshold, (low, high) in zip(scorer.bundle.cuts[cut], scorer.bundle.intervals[cut], strict=True):
            assert low <= threshold <= high or (threshold, low) == (math.inf, math.inf)
    unsure = changed(scorer, intervals={"p90": ((0.0, 1.0),) * 5, "p80": (NO_INTERVAL,) * 5})
    mention = Mention(text="worst service ever")
    said = [Triage(unsure, POLICY, cut).answer(mention, as_of=NOON)[0].get("uncertain") for cut in ("p90", "p80")]
    assert said == [True, None]


def test_why_has_reasons_for_each_label_and_only_when_asked_for(scorer: Scorer) -> None:
    triage = keep_all(scorer)
    mention = Mention(text="@Norvane worst service ever, leaving today", brand=("Norvane",))
    (plain,) = triage.answer(mention, as_of=NOON)
    (explained,) = triage.answer(mention, as_of=NOON, explain=True)
    assert explained.pop("why") == scorer.explain(mention.text, "Norvane", INTENTS)
    assert explained == plain
    assert plain["labels"] == list(INTENTS)


def test_a_threshold_out_of_reach_gives_no_label(scorer: Scorer) -> None:
    triage = Triage(changed(scorer, cuts={"balanced": (math.inf,) * len(INTENTS)}), POLICY)
    (result,) = triage.answer(Mention(text="worst service ever"), as_of=NOON, explain=True)
    assert (result["labels"], result["why"]) == ([], {})


@pytest.mark.parametrize(
    ("created_at", "day"), [("2026-11-21T01:00:00.75+02:00", "2026-11-2"), ("0800-01-01T00:00:00Z", "0800-01-0")]
)
def test_times_are_utc_to_the_second(scorer: Scorer, created_at: str, day: str) -> None:
    mention = mention_from_json({"text": "it caught fire, my lawyer will call", "created_at": created_at}, "1")
    (result,) = keep_all(scorer).answer(mention, as_of=NOON)
    respond_by = result["priority"]["respond_by"]
    assert respond_by.startswith(day)
    assert datetime.fromisoformat(respond_by).strftime("%H:%M:%SZ") == respond_by[11:]
    assert mention.created_at is not None
    assert datetime.fromisoformat(respond_by) > mention.created_at - timedelta(seconds=1)


def test_an_unknown_cut_is_refused(scorer: Scorer) -> None:
    with pytest.raises(BundleError, match="there is no cut 'best'"):
        Triage(scorer, POLICY, "best")


def test_the_model_tells_what_it_is(scorer: Scorer) -> None:
    info = Triage(scorer, POLICY, "p90").model_info()
    assert info["model"] == scorer.name
    assert info["intents"] == list(INTENTS)
    assert info["cut"] == "p90"
    assert (info["policy"]["name"], info["policy"]["sha256"]) == (POLICY.name, POLICY.sha256)
    assert list(info["thresholds"]) == list(CUTS)
    for name, thresholds in info["thresholds"].items():
        known = [value if value <= 1 else None for value in scorer.bundle.thresholds(name)]
        assert list(thresholds.values()) == known
        stated = [list(ends) if ends != NO_INTERVAL else None for ends in scorer.bundle.intervals[name]]
        assert list(info["threshold_intervals"][name].values()) == stated
    assert json.loads(json.dumps(info, allow_nan=False)) == info
