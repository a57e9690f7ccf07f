"""Calibration and cuts, on hand-worked numbers and drawn ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from data.schema import INTENTS, LabelledMention
from training.calibrate import CALIBRATED, PRECISION_CUTS, Prior, fit, probabilities
from training.sample import Sample

Draw = Callable[..., Sample]
Known = tuple[np.ndarray, np.ndarray]


def known(sample: Sample, values: np.ndarray, column: int) -> Known:
    rows = sample.labels[:, column] >= 0
    return sample.labels[rows, column], values[rows, column]


def test_platt_scaling_finds_the_scale_and_offset_that_were_drawn(drawn: Draw) -> None:
    sample = drawn(0)
    calibration = fit(sample).calibration
    assert calibration.scale == pytest.approx([0.5] * 5, abs=0.06)
    assert calibration.offset == pytest.approx([-1.0] * 5, abs=0.12)
    values = probabilities(calibration, sample.logits)
    for column in range(len(INTENTS)):
        truth, scores = known(sample, values, column)
        assert scores.mean() == pytest.approx(truth.mean(), abs=0.005)


def test_platt_scaling_with_a_prior_is_logistic_regression_of_what_the_prior_leaves(drawn: Draw) -> None:
    """Around scale 1: the same as scikit-learn's penalty, which is around 0, with the logits as a fixed offset."""
    sample = drawn(1, 300)
    found = fit(sample, Prior(2.0, 1e-9, 5, 0)).calibration
    scale, offset = found.scale[0], found.offset[0]
    truth, logits = known(sample, sample.logits, 0)

    def loss(a: float, b: float) -> float:
        return float(np.logaddexp(0, -(2 * truth - 1) * (a * logits + b)).sum() + (a - 1) ** 2)

    assert all(
        loss(scale, offset) < loss(scale + a, offset + b) for a, b in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01))
    )
    free = LogisticRegression(C=1e9).fit(logits[:, None], truth)
    weak = fit(sample, Prior(1e-9, 1e-9, 5, 0)).calibration
    assert (weak.scale[0], weak.offset[0]) == pytest.approx((free.coef_[0, 0], free.intercept_[0]), abs=1e-3)
    assert abs(scale - 1) < abs(weak.scale[0] - 1)


def test_too_few_labels_leave_logits_alone(drawn: Draw) -> None:
    sample = drawn(2, 30)
    sample.labels[:, 1] = [1.0, 1.0] + [0.0] * 28
    sample.labels[:, 2] = -1
    fitted = fit(sample)
    assert (fitted.calibration.scale[1], fitted.calibration.offset[1]) == (1.0, 0.0)
    values = probabilities(fitted.calibration, sample.logits)
    assert values[:, 2].max() < 0.01, "an intent without a positive label is never probable"
    assert fitted.cuts["balanced"].thresholds[INTENTS[2]] is None
    assert fitted.cuts["balanced"].threshold_interval[INTENTS[2]] is None
    assert fit(sample, CALIBRATED).calibration.offset[2] == 0.0, "log-odds that were calibrated once are believed"


@pytest.mark.parametrize("separable", [True, False])
def test_higher_logit_is_never_a_lower_probability(drawn: Draw, separable: bool) -> None:
    sample = drawn(3)
    turned = replace(sample, logits=np.where(sample.labels == 1, -9.0, 9.0) if separable else -sample.logits)
    assert min(fit(turned).calibration.scale) > 0


def test_balanced_cut_is_as_good_as_the_best_threshold_where_probabilities_are_true(drawn: Draw) -> None:
    sample = drawn(4, 8000)
    fitted = fit(sample)
    values = probabilities(fitted.calibration, sample.logits)
    for column, intent in enumerate(INTENTS):
        truth, scores = known(sample, values, column)
        best = max(f1_score(truth, scores >= threshold) for threshold in np.linspace(0.02, 0.98, 49))
        threshold = fitted.cuts["balanced"].thresholds[intent]
        assert threshold is not None
        assert f1_score(truth, scores >= threshold) == pytest.approx(best, abs=0.01)
        assert threshold == pytest.approx(best / 2, abs=0.02)


def test_precision_cuts_are_the_lowest_thresholds_that_seven_in_ten_resamples_reach(drawn: Draw) -> None:
    """Beside a plain loop over resampled brands: drawn otherwise, so equal within a few resamples' spread."""
    sample = drawn(5, 300)
    fitted = fit(sample)
    values = probabilities(fitted.calibration, sample.logits)
    rng = np.random.default_rng(1)
    names = sorted(set(sample.groups))
    rows_of = [np.flatnonzero(np.array(sample.groups) == name) for name in names]
    for name, precision in PRECISION_CUTS.items():
        found = []
        for _ in range(150):
            rows = np.concatenate([rows_of[number] for number in rng.integers(0, len(names), len(names))])
            truth, scores = sample.labels[rows, 0], values[rows, 0]
            truth, scores = truth[truth >= 0], scores[truth >= 0]
            reached = [t for t in np.unique(scores) if (s := scores >= t).sum() >= 5 and truth[s].mean() >= precision]
            found.append(min(reached, default=1.0))
        low, high = np.quantile(found, 0.6), np.quantile(found, 0.8)
        threshold, ends = fitted.cuts[name].thresholds["purchase"], fitted.cuts[name].threshold_interval["purchase"]
        assert low - 0.02 <= (1.0 if threshold is None else threshold) <= high + 0.02
        if threshold is not None:
            assert ends is not None
            assert ends[0] <= threshold <= ends[1]
            assert ends[0] == pytest.approx(np.quantile(found, 0.025), abs=0.05)


def test_precision_that_nothing_reaches_has_no_threshold() -> None:
    logits = np.linspace(-3, 3, 40).reshape(-1, 1).repeat(5, axis=1)
    truth = np.zeros_like(logits)
    truth[:10] = 1
    sample = Sample(logits, truth, tuple(map(str, range(40))), "mention", np.zeros(40, dtype=bool))
    cuts = fit(sample).cuts
    assert cuts["p95"].thresholds["purchase"] is None
    assert cuts["p95"].threshold_interval["purchase"] is None
    assert cuts["balanced"].thresholds["purchase"] is not None


def test_intervals_narrow_with_more_brands_and_are_the_same_every_time(drawn: Draw) -> None:
    def width(sample: Sample) -> float:
        ends = fit(sample).cuts["p80"].threshold_interval["complaint"]
        return math.inf if ends is None else ends[1] - ends[0]

    assert width(drawn(6, 8000, 200)) < width(drawn(6, 800, 20))
    assert fit(drawn(7)) == fit(drawn(7))


def test_an_intent_labelled_in_few_brands_has_an_interval_of_resamples_that_have_its_positives(drawn: Draw) -> None:
    """In a tenth of the resamples of eight brands neither of two is drawn: those would reach from 0 to 1."""
    sample = drawn(8, 1600, brands=8)
    sample.labels[:, 0] = (sample.logits[:, 0] > 1) ^ (np.arange(1600) % 20 == 0)
    sample.labels[[name not in ("brand0", "brand1") for name in sample.groups], 0] = -1
    for name, cut in fit(sample).cuts.items():
        threshold, ends = cut.thresholds["purchase"], cut.threshold_interval["purchase"]
        if name != "p95":  # about as many as are not flipped
            assert threshold is not None
            assert ends is not None
            assert ends[0] <= threshold <= ends[1]
            assert (ends[0] > 0.02, ends[1] < 0.98) == (True, True), name


def test_a_post_labelled_for_another_brand_goes_with_the_post() -> None:
    rows = [("1@Delta", "delta", "other_target"), ("1", "united", "natural"), ("me@home", "hulu", "natural")]
    rows += [("2", "zara", "natural"), ("3", "sony", "")]
    mentions = [LabelledMention(id=i, text="-", brand_key=key, stratum=stratum) for i, key, stratum in rows]
    sample = Sample.of(mentions, np.zeros((5, 5)))
    assert (sample.by, sample.groups) == ("brand", ("united", "united", "hulu", "zara", "sony"))
    few = Sample.of(mentions[:3], np.zeros((3, 5)))
    assert (few.by, few.groups) == ("mention", ("1", "1", "me@home"))
