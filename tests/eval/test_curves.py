"""Thresholds, reliability and confusions against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from data.schema import INTENTS
from eval.curves import at_targets, confusion, histogram, precision_recall, reliability

_RANDOM = np.random.default_rng(4)
SCORES = _RANDOM.random(150).round(3)
TRUTH = _RANDOM.random(150) < SCORES


def test_every_point_of_the_curve_is_one_of_scikit_learns() -> None:
    precision, recall, thresholds = precision_recall_curve(TRUTH, SCORES)
    theirs = {round(t, 9): (p, r) for t, p, r in zip(thresholds, precision, recall, strict=False)}
    points = precision_recall(TRUTH, SCORES)
    assert len(points) > 100
    for threshold, p, r in points:
        assert np.allclose(theirs[round(threshold, 9)], (p, r), atol=1e-9)
    assert [r for _, _, r in points] == sorted(r for _, _, r in points)
    assert precision_recall(np.zeros(3, dtype=np.bool_), np.ones(3)) == []


def test_a_target_is_reached_by_the_lowest_threshold_that_reaches_it() -> None:
    for row in at_targets(TRUTH, SCORES):
        read = row["threshold"] <= SCORES
        assert np.isclose(TRUTH[read].mean(), row["precision"])
        assert row["precision"] >= row["target"]
        assert row["low"] <= row["precision"] <= row["high"]
        assert np.isclose(row["recall"], (TRUTH & read).sum() / TRUTH.sum())
        assert row["recall_low"] <= row["recall"] <= row["recall_high"]
        assert np.isclose(row["per_1000"], 1000 * read.mean())
        lower = [one for one in np.unique(SCORES) if one < row["threshold"]]
        assert all(TRUTH[one <= SCORES].mean() < row["target"] for one in lower)
    never = at_targets(np.array([False, True]), np.array([0.9, 0.1]))
    assert {row["threshold"] for row in never} == {None}


def test_reliability_is_that_of_scikit_learn() -> None:
    rows = [row for row in reliability(TRUTH, SCORES) if row["mentions"]]
    shares, means = calibration_curve(TRUTH, SCORES, n_bins=10)
    assert np.allclose([row["share"] for row in rows], shares)
    assert np.allclose([row["probability"] for row in rows], means)
    assert sum(row["mentions"] for row in rows) == 150


def test_histogram_counts_every_mention_once() -> None:
    counts = histogram(TRUTH, SCORES)
    assert (sum(counts["with"]), sum(counts["without"])) == (TRUTH.sum(), (~TRUTH).sum())


def test_what_is_taken_for_what() -> None:
    #                 purchase churn complaint praise support
    truth = np.array([[0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 0, np.nan]])
    labels = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]]) == 1
    whole = confusion(truth, labels)
    assert whole["mentions"] == 4
    found = whole["intents"]
    none = dict.fromkeys((*INTENTS, "none"), 0)
    # one read as a complaint that it is not, one as nothing; the third is read as the complaint that it also is
    assert found["churn_risk"] == {
        "missed": 3, "read_as": {**none, "complaint": 1, "none": 1}, "wrongly": 0, "truly": none
    }  # fmt: skip
    assert found["complaint"]["truly"] == {**none, "churn_risk": 1}
    assert found["praise"] == {"missed": 0, "read_as": none, "wrongly": 1, "truly": {**none, "none": 1}}
