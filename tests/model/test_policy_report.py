"""What people are told of a policy and of one mention's priority is what the policy did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data.schema import INTENTS, Author, Mention
from model.errors import PolicyError
from model.policy import Policy
from model.policy_report import check_policy, explain_priority

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTHING = dict.fromkeys(INTENTS, 0.0)


def words(report: str) -> list[str]:
    return [" ".join(line.split()) for line in report.splitlines()]


def test_check_tells_what_the_default_policy_asks_for() -> None:
    report = words(check_policy(None))
    assert "policy 'default'" in report[0]
    assert "churn_risk 60 x probability alone at probability 0.9: 54.0, high, queue retention" in report
    assert "reach 8 points at 1,000,000 followers, on a log scale" in report
    assert "urgent from 58 deadline 15m" in report
    assert "3. intents any of churn_risk → retention" in report
    assert "otherwise → community" in report


def test_check_refuses_what_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read"):
        check_policy(tmp_path / "none.toml")


def test_explain_says_where_every_point_came_from() -> None:
    mention = Mention(
        id="17",
        text="This is the worst. Switching, please help",
        created_at=NOON - timedelta(minutes=6),
        author=Author(followers=11_200, lifetime_value=2500, satisfaction=0.2),
    )
    probabilities = {**NOTHING, "churn_risk": 0.93}
    report = words(explain_priority(Policy.load(None), mention, "delta", probabilities, ["churn_risk"], NOON))
    assert report == [
        "mention 17, brand delta, as of 2026-11-21T12:00:00Z",
        "signals",
        "intent:churn_risk 55.8 weight 60 x probability 0.93",
        'keyword:switching 6.0 the text has "switching"',
        'keyword:help 4.0 the text has "help"',
        'keyword:mad 4.0 the text has "worst"',
        "reach 5.4 11,200 followers (8 points at 1,000,000, on a log scale)",
        "customer_value 3.0 lifetime value 2,500 (6 points at 5,000), 0 purchases (4 points at 20)",
        "low_satisfaction 3.0 satisfaction 0.2 is below 0.5 (5 points at 0)",
        "waiting 3.2 waited 0:06:00 of 0:15:00 (8 points at the deadline)",
        "sum 84.4",
        "score 84.4",
        "level urgent: 81.2 points before waiting (from: urgent 58, high 30, normal 9, low 0)",
        "deadline 2026-11-21T12:09:00Z = created_at 2026-11-21T11:54:00Z + 15m (urgent)",
        "queue retention",
        "route 1 → safety: not taken, wants keywords any of safety; has help, mad, switching",
        "route 2 → legal: not taken, wants keywords any of legal; has help, mad, switching",
        "route 3 → retention: taken, intents any of churn_risk",
    ]


def test_explain_of_nothing_overdue_and_over_100() -> None:
    policy = Policy.load(None)
    nothing = words(explain_priority(policy, Mention(text="-"), None, NOTHING, [], NOON))
    assert nothing[0].startswith("mention (no id), brand (none)")
    assert "deadline none: level low has no deadline" in nothing
    assert nothing[-1] == "no route taken: the default queue, community"
    old = Mention(text="-", created_at=NOON - timedelta(days=1))
    report = words(explain_priority(policy, old, None, dict.fromkeys(INTENTS, 1.0), [], NOON))
    assert "sum 158.0" in report
    assert "score 100.0 (at most 100)" in report
    assert any(line.startswith("deadline ") and line.endswith("(urgent); overdue") for line in report)
