"""Figures against scikit-learn, and by hand where a figure is not defined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from data.schema import INTENTS
from eval.metrics import average_precision, balanced_threshold, figures
from model.reliability import calibration_error, wilson_interval

TOLERANCE = 1e-9


def _cells(seed: int, rows: int, unknown: float, decimals: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random labels of which some are not known, scores with ties, and the labels of a cut."""
    random = np.random.default_rng(seed)
    scores = random.random((rows, len(INTENTS))).round(decimals)
    truth = (random.random(scores.shape) < 0.3 * scores + random.random(len(INTENTS)) * 0.4).astype(np.float64)
    truth[random.random(scores.shape) < unknown] = np.nan
    return truth, scores, scores >= random.random(len(INTENTS))


def _same(ours: float | None, theirs: float) -> bool:
    return np.isnan(theirs) if ours is None else abs(ours - theirs) < TOLERANCE


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    unknown=st.sampled_from([0.0, 0.3, 0.9]),
    decimals=st.sampled_from([1, 8]),
)
def test_the_figures_are_those_of_scikit_learn_on_the_known_cells(
    seed: int, rows: int, unknown: float, decimals: int
) -> None:
    truth, scores, labels = _cells(seed, rows, unknown, decimals)
    measured = figures(truth, scores, labels)
    expected = []
    for column, intent in enumerate(INTENTS):
        one = measured.intents[intent]
        known = ~np.isnan(truth[:, column])
        y, p, cut = truth[known, column].astype(int), scores[known, column], labels[known, column].astype(int)
        assert (one.known, one.support, one.predicted) == (known.sum(), y.sum(), cut.sum())
        if not len(y):
            assert (one.precision, one.recall, one.f1, one.average_precision, one.calibration_error) == (None,) * 5
            continue
        nan = {"zero_division": np.nan}
        theirs = [
            oracle.precision_score(y, cut, **nan),
            oracle.recall_score(y, cut, **nan),
            oracle.f1_score(y, cut, **nan),
        ]
        for ours, other in zip((one.precision, one.recall, one.f1), theirs, strict=True):
            assert _same(ours, other)
        expected.append(theirs)
        assert _same(one.average_precision, oracle.average_precision_score(y, p) if y.any() else np.nan)
        assert _same(one.calibration_error, _expected_calibration_error(y, p))
    flat = ~np.isnan(truth)
    for name in ("precision", "recall", "f1"):
        score = getattr(oracle, f"{name}_score")
        assert _same(
            getattr(measured, f"micro_{name}"),
            score(truth[flat], labels[flat], zero_division=np.nan) if flat.any() else np.nan,
        )
    for position, name in enumerate(("precision", "recall", "f1")):
        defined = [row[position] for row in expected if not np.isnan(row[position])]
        assert _same(getattr(measured, f"macro_{name}"), np.mean(defined) if defined else np.nan)


def _expected_calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    """From scikit-learn's reliability curve, weighted with the size of its bins."""
    shares, means = calibration_curve(y, p, n_bins=10)
    # both leave empty bins out, so the n-th mean belongs to the n-th bin that is not empty
    sizes = np.histogram(np.searchsorted(np.linspace(0, 1, 11)[1:-1], p), bins=np.arange(11))[0]
    return float(np.sum(sizes[sizes > 0] * np.abs(shares - means)) / len(p))


def test_an_intent_with_positives_and_none_found_counts_as_zero_and_one_without_labels_does_not_count() -> None:
    truth = np.full((4, len(INTENTS)), np.nan)
    truth[:, 0] = [1, 1, 0, 0]
    truth[:, 1] = [1, 0, 0, 0]
    truth[:, 2] = [0, 0, 0, 0]
    labels = np.zeros(truth.shape, dtype=np.bool_)
    labels[:2, 0] = True
    measured = figures(truth, labels.astype(np.float64), labels)
    assert [one.f1 for one in measured.intents.values()] == [1.0, 0.0, None, None, None]
    assert measured.macro_f1 == 0.5
    assert measured.intents["churn_risk"].precision is None
    assert measured.intents["complaint"].recall is None
    assert measured.intents["complaint"].average_precision is None
    assert measured.intents["praise"].calibration_error is None


def test_scores_that_are_no_probabilities_have_no_calibration_error() -> None:
    truth, scores, labels = _cells(1, 50, 0.0, 8)
    measured = figures(truth, scores * 7, labels, probabilities=False)
    assert measured.macro_calibration_error is None
    assert measured.macro_average_precision is not None


def test_calibration_error_by_hand() -> None:
    # (0, 0.1]: 0.1 against none of 1; (0.1, 0.2]: 0.2 against 1 of 1; (0.9, 1]: 0.95 on average against 2 of 2
    truth, probabilities = np.array([False, True, True, True]), np.array([0.1, 0.2, 0.92, 0.98])
    assert calibration_error(truth, probabilities) == pytest.approx((0.1 + 0.8 + 2 * 0.05) / 4)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # the closed form worked by hand: n + z² = 13.8415; for 0 and all of n, z² / (n + z²) and its complement
        (0, 10, 0.0, 3.841458820694124 / 13.841458820694124),
        (10, 10, 10 / 13.841458820694124, 1.0),
        (5, 10, 0.236593, 0.763407),
        (81, 263, 0.255289, 0.366210),  # Newcombe 1998, table I: 0.2553 to 0.3662
        (15, 148, 0.062387, 0.160506),  # Newcombe 1998: 0.0624 to 0.1605
        (1, 29, 0.006114, 0.171755),  # Newcombe 1998: 0.0061 to 0.1718
    ],
)
def test_wilson_interval_has_the_published_values(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, trials)
    assert interval is not None
    assert interval == pytest.approx((low, high), abs=5e-5)


@given(successes=st.integers(0, 500), more=st.integers(0, 500))
def test_wilson_ends_solve_the_score_equation(successes: int, more: int) -> None:
    trials = successes + more
    interval = wilson_interval(successes, trials)
    if interval is None:
        assert trials == 0
        return
    share = successes / trials
    assert interval[0] <= share <= interval[1]
    for end in interval:  # |share − end| is z standard errors at the end
        assert (share - end) ** 2 * trials == pytest.approx(3.841458820694124 * end * (1 - end), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40))
def test_the_balanced_threshold_has_the_best_f1_of_any(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth, scores = random.random(rows) < 0.4, random.random(rows).round(1)
    threshold = balanced_threshold(truth, scores)
    if not truth.any():
        assert threshold == float("inf")
        return
    best = max(oracle.f1_score(truth, scores >= one) for one in np.unique(scores))
    assert oracle.f1_score(truth, scores >= threshold) == pytest.approx(best)


def test_average_precision_does_not_depend_on_the_order_of_equal_scores() -> None:
    truth, scores = np.array([True, False, True, False]), np.full(4, 0.5)
    assert average_precision(truth, scores) == average_precision(~truth, scores) == 0.5
