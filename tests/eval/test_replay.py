"""The replay of a day against shares worked out by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from data.schema import INTENTS, Label, LabelledMention
from eval.replay import ReplayJob, replay, run_replay
from model.bundle import DEFAULT_BUNDLE
from model.policy import Policy

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
Labels = tuple[Label, Label, Label, Label, Label]
CHURN: Labels = (0, 1, 0, 0, 0)
COMPLAINT: Labels = (0, 0, 1, 0, 0)


def day(rows: list[tuple[str, Labels]]) -> list[LabelledMention]:
    """Mentions in the order of arrival, listed the other way round so that the file's order shows nothing."""
    mentions = [
        LabelledMention(id=str(i), text=text, created_at=NOON + timedelta(minutes=i), labels=labels)
        for i, (text, labels) in enumerate(rows)
    ]
    return mentions[::-1]


# arrival 0 to 3; the model sees half of the churn risk at 3 and mistakes the complaint at 0 for a little churn risk
DAY = day([("late again", COMPLAINT), ("mad at this", COMPLAINT), ("bye", CHURN), ("I'm off", CHURN)])
READ = np.array([[0, 0.5, 0, 0, 0], [0, 0.9, 0, 0, 0], [0, 0, 0.9, 0, 0], [0, 0.6, 0, 0, 0]], dtype=np.float64)


def test_shares_of_a_day_worked_by_hand() -> None:
    # of four, half are two: first come 0, 1; list 1, 0; policy 2 (54), 0 (36) before 3 (30), 1 (21.6 + 4); oracle 2, 3
    figures = replay(DAY, READ, Policy.load(None), capacities=(0.25, 0.5, 1.0))
    assert figures["mentions"] == 4
    assert figures["positives"] == {
        "purchase": 0, "churn_risk": 2, "complaint": 2, "praise": 0, "support_question": 0
    }  # fmt: skip
    churn = {
        order: [shares[capacity]["churn_risk"] for capacity in ("25", "50", "100")]
        for order, shares in figures["answered"].items()
    }
    assert churn == {
        "first_come": [0.0, 0.0, 1.0],
        "keyword_list": [0.0, 0.0, 1.0],
        "policy": [0.5, 0.5, 1.0],
        "oracle": [0.5, 1.0, 1.0],
    }
    assert figures["answered"]["keyword_list"]["25"]["complaint"] == 0.5
    assert figures["answered"]["first_come"]["50"]["complaint"] == 1.0
    assert figures["answered"]["policy"]["50"]["purchase"] is None


def test_ties_go_by_arrival_and_unknown_labels_count_nowhere() -> None:
    mentions = day([("a", (1, None, 0, 0, 0)), ("b", (1, None, 0, 0, 0)), ("c", (0, None, 0, 0, 0))])
    figures = replay(mentions, np.zeros((3, 5)), Policy.load(None), capacities=(1 / 3,))
    assert {order: shares["33.3333"]["purchase"] for order, shares in figures["answered"].items()} == {
        "first_come": 0.5,
        "keyword_list": 0.5,
        "policy": 0.5,
        "oracle": 0.5,
    }
    assert figures["answered"]["oracle"]["33.3333"]["churn_risk"] is None


def test_without_times_the_arrival_is_drawn_and_the_seed_fixes_it() -> None:
    mentions = [LabelledMention(text="-", labels=CHURN if i < 10 else COMPLAINT) for i in range(100)]
    nothing, policy = np.zeros((100, 5)), Policy.load(None)
    first = replay(mentions, nothing, policy, seed=1)
    assert first == replay(mentions, nothing, policy, seed=1)
    assert first["answered"]["first_come"] != replay(mentions, nothing, policy, seed=2)["answered"]["first_come"]
    assert first["answered"]["oracle"]["14"]["churn_risk"] == 1.0


@pytest.mark.skipif(not DEFAULT_BUNDLE.exists(), reason="no bundle has been trained yet")
def test_a_labelled_file_is_replayed_and_the_last_line_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "day.jsonl"
    rows = [
        {"text": "cancelling my account, never again @acme", "brand": "acme", "churn_risk": 1},
        {"text": "nice day", "brand": "acme", "churn_risk": 0},
        {"text": "bad", "brand": "acme", "churn_risk": 7},
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert run_replay(ReplayJob(path, DEFAULT_BUNDLE)) == 3
    output = capsys.readouterr()
    figures = json.loads(output.out.splitlines()[-1])
    assert figures["mentions"] == 2
    assert figures["answered"]["policy"]["50"]["churn_risk"] == 1.0
    assert list(figures["positives"]) == list(INTENTS)
    assert "row 3" in output.err
