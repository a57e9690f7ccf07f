"""The policy: points against hand-worked numbers, and what must hold whatever the numbers are."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import pickle
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import INTENTS, Author, Mention, MentionError
from model.policy import DEFAULT_POLICY, Policy, Priority
from model.policy_keywords import KeywordRule
from model.policy_settings import LEVELS, PolicySettings, Route, Scale

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTHING = dict.fromkeys(INTENTS, 0.0)
DEFAULT = Policy.load(None)
UNKNOWN = Author()


def prioritise(
    text: str = "-",
    *,
    policy: Policy = DEFAULT,
    probabilities: dict[str, float] | None = None,
    created_at: datetime | None = None,
    as_of: datetime = NOON,
    author: Author = UNKNOWN,
) -> Priority:
    mention = Mention(text=text, created_at=created_at, author=author)
    return policy.prioritise(mention, None, {**NOTHING, **(probabilities or {})}, [], as_of)


def points(priority: Priority) -> dict[str, float]:
    return {signal.name: signal.points for signal in priority.signals}


def test_the_default_policy_gives_the_contract_example_its_points() -> None:
    priority = prioritise(
        "Switching to @other tomorrow",
        probabilities={"purchase": 0.0, "churn_risk": 0.93, "complaint": 0.88},
        created_at=NOON,
        author=Author(followers=11_200),
    )
    assert points(priority) == {
        "intent:churn_risk": 55.8,
        "intent:complaint": 13.2,
        "keyword:switching": 6.0,
        "reach": 5.4,
    }
    assert (priority.score, priority.level) == (80.4, "urgent")
    assert priority.respond_by == datetime(2026, 11, 21, 12, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("probabilities", "text", "followers", "level"),
    [
        ({"churn_risk": 0.9}, "-", 0, "high"),
        ({"purchase": 0.9}, "-", 0, "high"),
        ({"churn_risk": 0.9}, "worst", 0, "urgent"),
        ({"purchase": 0.9}, "-", 1350, "urgent"),
        ({"churn_risk": 0.9, "complaint": 0.9}, "-", 0, "urgent"),
        ({"complaint": 0.9}, "-", 0, "normal"),
        ({"complaint": 0.9}, "-", 1350, "normal"),
        ({"complaint": 0.9, "support_question": 0.9}, "-", 0, "normal"),
        ({"churn_risk": 0.5}, "-", 0, "high"),
        ({"complaint": 0.9, "support_question": 0.9}, "-", 10_000, "normal"),
        ({"complaint": 0.9, "support_question": 0.9}, "worst, help", 0, "high"),
        ({"complaint": 0.9}, "it caught fire", 0, "high"),
        ({"complaint": 0.9}, "my lawyer will call", 0, "high"),
        ({"support_question": 0.9}, "-", 0, "normal"),
        ({"praise": 0.99}, "-", 500, "low"),
        ({"praise": 0.99}, "-", 5000, "normal"),
        ({}, "-", 100_000, "low"),
        ({}, "-", 0, "low"),
    ],
)
def test_default_levels(probabilities: dict[str, float], text: str, followers: float, level: str) -> None:
    assert prioritise(text, probabilities=probabilities, author=Author(followers=followers)).level == level


def test_author_points_are_those_of_the_formulas() -> None:
    priority = prioritise(author=Author(followers=999, lifetime_value=2500, purchases=30, satisfaction=0.2))
    assert points(priority) == {
        "reach": round(8 * 3 / math.log10(1_000_001), 1),  # log10(1 + 999) = 3
        "customer_value": 7.0,  # 6 * 2500 / 5000 + 4 * min(1, 30 / 20)
        "low_satisfaction": 3.0,  # 5 * (1 - 0.2 / 0.5)
    }
    assert points(prioritise(author=Author(followers=10**9, satisfaction=0.5))) == {"reach": 8.0}


def test_an_unknown_author_gives_no_points() -> None:
    assert prioritise().signals == ()


@pytest.mark.parametrize(
    ("age", "waiting"),
    [
        (timedelta(0), 0.0),
        (timedelta(minutes=30), 2.0),  # a quarter of the two hours of high, of 8 points
        (timedelta(hours=2), 8.0),
        (timedelta(days=3), 8.0),
        (-timedelta(hours=1), 0.0),
    ],
)
def test_waiting_grows_to_the_deadline_of_the_level(age: timedelta, waiting: float) -> None:
    priority = prioritise(probabilities={"churn_risk": 0.9}, created_at=NOON - age)
    assert points(priority).get("waiting", 0.0) == waiting
    assert priority.level == "high"
    assert priority.score == 54.0 + waiting
    assert priority.respond_by == NOON - age + timedelta(hours=2)


def test_waiting_points_do_not_raise_the_level() -> None:
    fresh = prioritise(probabilities={"churn_risk": 0.9}, created_at=NOON)
    old = prioritise(probabilities={"churn_risk": 0.9}, created_at=NOON - timedelta(days=1))
    assert (fresh.score, old.score) == (54.0, 62.0)  # urgent begins at 58
    assert old.level == fresh.level == "high"


def test_respond_by_is_utc_and_counts_from_as_of_where_the_time_is_not_known() -> None:
    tokyo = timezone(timedelta(hours=9))
    known = prioritise(probabilities={"complaint": 1.0}, created_at=NOON.astimezone(tokyo))
    assert known.respond_by is not None
    assert known.respond_by.tzinfo is UTC
    assert known.respond_by == NOON + timedelta(hours=24)
    assert prioritise(probabilities={"complaint": 1.0}).respond_by == NOON + timedelta(hours=24)
    assert prioritise(created_at=NOON - timedelta(days=9)).respond_by is None


@pytest.mark.parametrize("created_at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_a_time_at_the_ends_of_the_calendar_is_refused_for_that_mention(created_at: str) -> None:
    mention = Mention(text="-", created_at=datetime.fromisoformat(created_at))
    with pytest.raises(MentionError, match="out of range"):
        DEFAULT.prioritise(mention, None, {**NOTHING, "churn_risk": 1.0}, [], NOON)


def test_the_score_stops_at_100_and_the_signals_do_not() -> None:
    priority = prioritise("worst, I sue", probabilities=dict.fromkeys(INTENTS, 1.0))
    assert priority.score == 100.0
    assert sum(points(priority).values()) == 150 + 4 + 25


def test_the_policy_cannot_be_changed_and_knows_its_file() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT.settings.name = "other"  # type: ignore[misc]
    assert DEFAULT.name == "default"
    assert DEFAULT.sha256 == hashlib.sha256(DEFAULT_POLICY.read_bytes()).hexdigest()
    copy = pickle.loads(pickle.dumps(DEFAULT))
    assert copy == DEFAULT
    assert copy.keywords.found("help") == {"help": ["help"]}


ROUTED = """
name = "routed"
[weights]
purchase = 50
churn_risk = 50
complaint = 20
praise = 0
support_question = 0
[levels]
urgent = 90
high = 40
normal = 10
[deadlines]
urgent = "15m"
high = "90m"
normal = "1d"
[queues]
names = ["vip", "stores", "forums", "legal", "hot", "both", "rest"]
default = "rest"
[[keyword]]
name = "law"
words = ["court"]
points = 1
[[route]]
queue = "vip"
brands = ["British Airways"]
[[route]]
queue = "forums"
channels = ["Reddit", "forum"]
[[route]]
queue = "legal"
keywords = ["law"]
[[route]]
queue = "hot"
levels = ["urgent", "high"]
[[route]]
queue = "both"
intents = ["praise", "complaint"]
levels = ["normal"]
"""


@pytest.mark.parametrize(
    ("brand", "channel", "text", "probabilities", "labels", "queue"),
    [
        ("britishairways", None, "-", {}, [], "vip"),
        ("britishairways", "forum", "court", {"purchase": 1}, ["purchase"], "vip"),
        ("airways", "reddit", "-", {}, [], "forums"),
        (None, "x", "court", {}, [], "legal"),
        (None, None, "-", {"purchase": 1}, [], "hot"),
        (None, None, "-", {"complaint": 1}, ["complaint"], "both"),
        (None, None, "-", {"complaint": 1}, [], "rest"),
        (None, None, "-", {}, ["complaint"], "rest"),
    ],
)
def test_the_first_route_whose_conditions_all_hold_names_the_queue(
    tmp_path: Path,
    brand: str | None,
    channel: str | None,
    text: str,
    probabilities: dict[str, float],
    labels: list[str],
    queue: str,
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(ROUTED, encoding="utf-8")
    mention = Mention(text=text, channel=channel)
    assert Policy.load(path).prioritise(mention, brand, {**NOTHING, **probabilities}, labels, NOON).queue == queue


amounts = st.floats(0, 1000)
deadlines = st.lists(st.one_of(st.none(), st.integers(1, 10**6)), min_size=3, max_size=3).map(
    lambda values: tuple(
        None if value is None else timedelta(seconds=value)
        for value in sorted(values, key=lambda value: math.inf if value is None else value)
    )
)
scales = st.builds(Scale, amounts, st.floats(0.001, 10**7))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    thresholds = draw(st.lists(st.floats(0.1, 100), min_size=3, max_size=3, unique=True))
    drawn = PolicySettings(
        name="drawn",
        sha256="",
        weights=tuple(draw(st.lists(amounts, min_size=5, max_size=5))),
        keywords=(KeywordRule("help", ("help",), draw(amounts)),),
        reach=draw(scales),
        lifetime_value=draw(scales),
        purchases=draw(scales),
        low_satisfaction=Scale(draw(amounts), draw(st.floats(0.001, 1))),
        waiting_points=draw(amounts),
        thresholds=(*sorted(thresholds, reverse=True), 0.0),
        deadlines=(*draw(deadlines), None),
        routes=(Route("care", (("intents", frozenset({"complaint"})),)),),
        queues=("care", "rest"),
        default_queue="rest",
    )
    return Policy(drawn)


ages = st.integers(-(10**6), 10**6).map(lambda seconds: timedelta(seconds=seconds))
authors = st.fixed_dictionaries(
    {
        "followers": st.floats(0, 10**9),
        "lifetime_value": st.floats(0, 10**9),
        "purchases": st.floats(0, 10**9),
        "satisfaction": st.floats(0, 1),
    }
)
readings = st.fixed_dictionaries({intent: st.floats(0, 1) for intent in INTENTS})


@settings(deadline=None, max_examples=60)
@given(policy=policies(), reading=readings, author=authors, age=ages)
def test_the_listed_points_are_tenths_and_sum_to_the_score(
    policy: Policy, reading: dict[str, float], author: dict[str, float], age: timedelta
) -> None:
    priority = prioritise("help", policy=policy, probabilities=reading, created_at=NOON - age, author=Author(**author))
    values = [signal.points for signal in priority.signals]
    assert all(value > 0 and value == round(value, 1) for value in values)
    assert priority.score == min(100.0, round(math.fsum(values), 1))
    before_waiting = round(math.fsum(value for name, value in points(priority).items() if name != "waiting"), 1)
    reached = [level for level, bar in zip(LEVELS, policy.settings.thresholds, strict=True) if before_waiting >= bar]
    assert priority.level == reached[0]


@settings(deadline=None, max_examples=60)
@given(
    policy=policies(),
    reading=readings,
    author=authors,
    age=ages,
    more=st.sampled_from([*INTENTS, "followers", "lifetime_value", "purchases", "age"]),
    by=st.floats(0, 1),
)
def test_more_of_anything_never_lowers_the_score(
    policy: Policy, reading: dict[str, float], author: dict[str, float], age: timedelta, more: str, by: float
) -> None:
    def score(reading: dict[str, float], author: dict[str, float], age: timedelta) -> float:
        return prioritise(
            "help", policy=policy, probabilities=reading, created_at=NOON - age, author=Author(**author)
        ).score

    before = score(reading, author, age)
    if more in INTENTS:
        after = score({**reading, more: min(1.0, reading[more] + by)}, author, age)
    elif more == "age":
        after = score(reading, author, age + by * timedelta(days=7))
    else:
        after = score(reading, {**author, more: author[more] * (1 + by) + by}, age)
    assert after >= before


@settings(deadline=None, max_examples=60)
@given(reading=readings, labels=st.lists(st.sampled_from(INTENTS), unique=True))
def test_labels_move_the_queue_alone(reading: dict[str, float], labels: list[str]) -> None:
    mention = Mention(text="help")
    with_labels = DEFAULT.prioritise(mention, None, reading, labels, NOON)
    without = DEFAULT.prioritise(mention, None, reading, [], NOON)
    assert dataclasses.replace(with_labels, queue="") == dataclasses.replace(without, queue="")
