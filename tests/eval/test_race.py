"""What the order of answers is worth, on streams whose answer is known beforehand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.files import write_labelled
from data.schema import Author, FileError, Label, LabelledMention
from eval.race import ORDERS, RaceJob, Stream, race, run_race
from model.policy import Policy

MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
Labels = tuple[Label, Label, Label, Label, Label]
CHURN: Labels = (0, 1, 0, 0, 0)
COMPLAINT: Labels = (0, 0, 1, 0, 0)
PRAISE: Labels = (0, 0, 0, 1, 0)
NONE: Labels = (0, 0, 0, 0, 0)
POLICY = Policy.load(None)

# six in a hundred are churn risk, and say so in none of the words that a list knows
MENTIONS = [
    *[LabelledMention(text="that's it, bye", labels=CHURN)] * 6,
    *[LabelledMention(text="late again, mad", labels=COMPLAINT)] * 40,
    *[LabelledMention(text="thanks, lovely", labels=PRAISE)] * 30,
    *[LabelledMention(text="news", labels=NONE)] * 24,
]
TRUE = np.array([[float(label or 0) for label in mention.labels] for mention in MENTIONS])


def at_stake(figures: dict[str, Any], capacity: str = "0.14") -> dict[str, float]:
    return {order: one["answered_within_2h"]["mean"] for order, one in figures["capacities"][capacity].items()}


def test_a_reader_that_is_always_right_answers_what_the_oracle_does_and_lists_do_not() -> None:
    stream = Stream.draw(MENTIONS, days=20, per_day=300, seed=1)
    figures = race(MENTIONS, TRUE, POLICY, stream)
    shares = at_stake(figures)
    assert tuple(shares) == ORDERS
    assert shares["oracle"] > 0.94
    assert shares["firstreply"] > shares["oracle"] - 0.06  # its points for reach and waiting let some others pass
    assert shares["first_come"] == pytest.approx(0.14, abs=0.05)
    assert shares["keywords"] < 0.01  # 40% of the mentions are on the list, which the team never gets through
    assert shares["thank_you_first"] < 0.01
    orders = figures["capacities"]["0.14"]
    assert orders["thank_you_first"]["intents"]["praise"]["answered"]["mean"] > 0.4
    complaints = {name: one["intents"]["complaint"]["answered"]["mean"] for name, one in orders.items()}
    assert complaints["keywords"] > 1.3 * complaints["firstreply"] > 0  # what it costs
    assert figures["prevalence"]["churn_risk"] == pytest.approx(0.06)
    assert orders["oracle"]["intents"]["purchase"] == {"answered": None, "median_wait_minutes": None}


def test_a_reader_that_knows_nothing_is_no_better_than_chance() -> None:
    stream = Stream.draw(MENTIONS, days=20, per_day=300, seed=1)
    knows_nothing = np.full(TRUE.shape, 0.2)
    plain = Policy.load(None)
    assert at_stake(race(MENTIONS, knows_nothing, plain, stream, [0.14]))["firstreply"] < 0.3


def test_a_team_as_large_as_the_stream_answers_all_and_shares_lie_in_their_intervals() -> None:
    stream = Stream.draw(MENTIONS, days=10, per_day=200, seed=2)
    figures = race(MENTIONS, TRUE, POLICY, stream, [1.0, 0.5])
    assert min(at_stake(figures, "1").values()) > 0.85  # a moment that finds nobody waiting is lost
    for one in figures["capacities"]["0.5"].values():
        share = one["answered_within_2h"]
        assert share["low"] <= share["mean"] <= share["high"]


def test_mentions_come_at_their_own_time_of_day_and_keep_their_followers() -> None:
    mentions = [
        LabelledMention(
            text="-", labels=NONE, created_at=MIDNIGHT + timedelta(days=hour, hours=hour), author=Author(followers=hour)
        )
        for hour in range(3, 9)
    ]
    stream = Stream.draw(mentions, days=4, per_day=50, seed=0)
    assert np.allclose(stream.arrival % 24, stream.drawn + 3)
    assert np.array_equal(stream.followers, stream.drawn + 3)
    assert (np.diff(stream.arrival) >= 0).all()
    free = stream.free(0.5)
    assert len(free) == 100
    assert ((free % 24 >= 3) & (free % 24 <= 9)).all()


def test_without_times_and_followers_both_are_drawn_and_the_seed_fixes_them() -> None:
    first, again, other = (Stream.draw(MENTIONS, days=2, per_day=500, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.arrival, again.arrival)
    assert np.array_equal(first.followers, again.followers)
    assert not np.array_equal(first.arrival, other.arrival)
    night, noon = (np.sum((first.arrival % 24 >= start) & (first.arrival % 24 < start + 3)) for start in (2, 11))
    assert noon > 3 * night
    assert not first.own_times
    many = Stream.draw(MENTIONS, days=40, per_day=500, seed=3).followers
    for share, expected in ((0.5, 1348), (0.9, 13_832), (0.99, 111_051)):
        assert np.quantile(many, share) == pytest.approx(expected, rel=0.2)


def test_dates_without_times_are_spread_over_the_day() -> None:
    dated = [LabelledMention(text="-", labels=NONE, created_at=MIDNIGHT + timedelta(days=day)) for day in range(9)]
    stream = Stream.draw(dated, days=2, per_day=200, seed=0)
    assert not stream.own_times
    assert np.std(stream.arrival % 24) > 3


def test_nothing_at_stake_and_very_small_teams() -> None:
    mentions = [LabelledMention(text="-", labels=COMPLAINT)] * 10
    stream = Stream.draw(mentions, days=3, per_day=2, seed=0)
    figures = race(mentions, np.zeros((10, 5)), POLICY, stream, [0.14])
    assert figures["at_stake"] == 0
    assert {one["answered_within_2h"] for one in figures["capacities"]["0.14"].values()} == {None}
    assert len(stream.free(0.14)) == 3  # one a day at least


def test_a_file_is_raced_on_its_natural_mentions_and_the_last_line_is_json(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mentions = [
        mention.model_copy(update={"id": str(place), "stratum": "natural" if place % 2 else "mined"})
        for place, mention in enumerate(MENTIONS)
    ]
    path = tmp_path / "day.csv"
    write_labelled(path, mentions)
    assert run_race(RaceJob(path, tiny_bundle, days=4, per_day=60)) == 0
    shown = capsys.readouterr().out.splitlines()
    figures = json.loads(shown[-1])
    assert (figures["capacity"], figures["stratum"], figures["mentions"]) == (0.14, "natural", 50)
    assert tuple(figures["answered_within_2h"]) == ORDERS
    oracle = figures["capacities"]["0.14"]["oracle"]["answered_within_2h"]["mean"]
    assert figures["answered_within_2h"]["oracle"] == oracle
    assert "4 simulated days of 60 mentions, each drawn from a resample of 50 natural mentions (3 of them" in shown[-2]
    with pytest.raises(FileError, match="its strata are: mined, natural"):
        run_race(RaceJob(path, tiny_bundle, stratum="no such"))
