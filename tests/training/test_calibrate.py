"""Calibration and cuts, on hand-worked numbers and drawn ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score

from data.schema import INTENTS
from training.calibrate import PRECISION_CUTS, fit_calibration, fit_cuts, probabilities


def _drawn(seed: int, mentions: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (mentions, len(INTENTS)))
    truth = (rng.random(logits.shape) < 1 / (1 + np.exp(-(0.5 * logits - 1)))).astype(float)
    truth[rng.random(truth.shape) < 0.1] = -1
    return logits, truth


def test_platt_scaling_finds_the_scale_and_offset_that_were_drawn() -> None:
    logits, truth = _drawn(0)
    calibration = fit_calibration(logits, truth)
    assert calibration.scale == pytest.approx([0.5] * 5, abs=0.06)
    assert calibration.offset == pytest.approx([-1.0] * 5, abs=0.12)
    values = probabilities(calibration, logits)
    for column in range(len(INTENTS)):
        known = truth[:, column] >= 0
        assert values[known, column].mean() == pytest.approx(truth[known, column].mean(), abs=0.005)


def test_too_few_labels_leave_logits_alone() -> None:
    logits, truth = _drawn(1, 30)
    truth[:, 1] = [1.0, 1.0] + [0.0] * 28
    truth[:, 2] = -1
    calibration = fit_calibration(logits, truth)
    assert (calibration.scale[1], calibration.offset[1]) == (1.0, 0.0)
    values = probabilities(calibration, logits)
    assert values[:, 2].max() < 0.01, "an intent without a positive label is never probable"
    assert fit_cuts(values, truth)["balanced"].thresholds[INTENTS[2]] is None


def test_higher_logit_is_never_a_lower_probability() -> None:
    logits, truth = _drawn(2)
    calibration = fit_calibration(-logits, truth)
    assert min(calibration.scale) > 0


def test_balanced_cut_is_as_good_as_the_best_threshold_where_probabilities_are_true() -> None:
    logits, truth = _drawn(3, 20_000)
    values = probabilities(fit_calibration(logits, truth), logits)
    cut = fit_cuts(values, truth)["balanced"]
    for column, intent in enumerate(INTENTS):
        known = truth[:, column] >= 0
        actual, scores = truth[known, column], values[known, column]
        best = max(f1_score(actual, scores >= threshold) for threshold in np.linspace(0.02, 0.98, 49))
        threshold = cut.thresholds[intent]
        assert threshold is not None
        assert f1_score(actual, scores >= threshold) == pytest.approx(best, abs=0.01)
        assert threshold == pytest.approx(best / 2, abs=0.02)
        assert cut.precision[intent] == pytest.approx(precision_score(actual, scores >= threshold))


def test_precision_cuts_are_the_lowest_thresholds_that_reach_it() -> None:
    logits, truth = _drawn(4, 400)
    values = probabilities(fit_calibration(logits, truth), logits)
    cuts = fit_cuts(values, truth)
    reached = 0
    for name, precision in PRECISION_CUTS.items():
        for column, intent in enumerate(INTENTS):
            threshold = cuts[name].thresholds[intent]
            known = truth[:, column] >= 0
            actual, scores = truth[known, column], values[known, column]
            lower = [t for t in np.unique(scores) if threshold is None or t < threshold]
            lower = [t for t in lower if (scores >= t).sum() >= 5]
            assert all(actual[scores >= t].mean() < precision for t in lower)
            if threshold is not None:
                reached += 1
                assert precision_score(actual, scores >= threshold) >= precision
    assert reached > 5


def test_precision_that_nothing_reaches_has_no_threshold() -> None:
    values = np.linspace(0, 1, 40).reshape(-1, 1).repeat(5, axis=1)
    truth = np.zeros_like(values)
    truth[:10] = 1
    cuts = fit_cuts(values, truth)
    assert cuts["p95"].thresholds["purchase"] is None
    assert cuts["balanced"].thresholds["purchase"] is not None
