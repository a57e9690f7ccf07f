"""Fits, on labelled mentions and the quantised model's logits, what turns a logit into a probability and a label.

Platt scaling per intent, then every cut's thresholds and how sure they are. Leaves out reading the model
(``model.scorer``) and measuring the result on mentions that it was not fitted on (``training.crossfit``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data.schema import INTENTS
from model.bundle import CUTS, Calibration, probability
from training.sample import Floats, Sample

PRECISION_CUTS = {"p70": 0.70, "p80": 0.80, "p90": 0.90, "p95": 0.95}
RESAMPLES = 200
_SURE = 0.7
"""Share of the resamples whose lowest threshold of a precision is at or below the cut's: compared in eval/LOG.md."""
_FEWEST_ASSERTED = 5
_LEAST_SCALE = 0.05
"""A scale is never negative, so that a higher logit is never a lower probability."""


@dataclass(frozen=True)
class Prior:
    """How far Platt scaling may leave the logits as they are: Gaussians around scale 1 and offset 0."""

    scale: float
    """Inverse variance of the scale."""
    offset: float
    """Inverse variance of the offset."""
    fewest: int
    """Positives and negatives below which an intent's logits stay as they are."""
    unseen: float
    """Offset of an intent without a positive."""


RAW = Prior(scale=0.1, offset=0.001, fewest=5, unseen=-10.0)
"""For a network's own logits. An intent of which dev has no positive is never asserted: nothing says that it works."""
CALIBRATED = Prior(scale=25.0, offset=5.0, fewest=10, unseen=0.0)
"""For log-odds that are calibrated already, on other mentions: standard deviations 0.2 and 0.45 (eval/LOG.md)."""


@dataclass(frozen=True)
class Cut:
    """A threshold per intent on the calibrated probability (None: none reaches the precision), and its interval.

    The interval is from the 2.5% to the 97.5% quantile of thresholds fitted on resampled groups that have a positive.
    """

    thresholds: dict[str, float | None]
    threshold_interval: dict[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Fitted:
    """What a bundle's probabilities and labels are made by."""

    calibration: Calibration
    cuts: dict[str, Cut]


def fit(sample: Sample, prior: Prior = RAW) -> Fitted:
    """Calibration and every cut; the same sample gives the same.

    ``balanced`` takes, per intent, half of the best *expected* F1: for calibrated probabilities that is where F1 is
    best (Lipton, Elkan and Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", 2014).
    The lowest threshold that reaches a precision is found in every resample; the cut takes their 70% quantile.
    A resample that draws no positive of an intent says nothing of its thresholds and is left out.
    """
    weights = _resampled(sample.groups)
    scale, offset = [], []
    thresholds: dict[str, list[float | None]] = {name: [] for name in CUTS}
    intervals: dict[str, list[tuple[float, float] | None]] = {name: [] for name in CUTS}
    for column in range(len(INTENTS)):
        known = sample.labels[:, column] >= 0
        logits, truth = sample.logits[known, column], sample.labels[known, column]
        drawn = weights[:, known]
        if truth.any():
            drawn = drawn[drawn @ truth > 0]
        platt = _platt(logits, truth, drawn, prior)
        scale.append(float(platt[0, 0]))
        offset.append(float(platt[0, 1]))
        found = _thresholds(logits, truth, drawn, platt)
        for name in CUTS:
            threshold, interval = _summary(found[name], name, scale[-1], offset[-1])
            thresholds[name].append(threshold)
            intervals[name].append(interval)
    cuts = {
        name: Cut(dict(zip(INTENTS, thresholds[name], strict=True)), dict(zip(INTENTS, intervals[name], strict=True)))
        for name in CUTS
    }
    return Fitted(Calibration(tuple(scale), tuple(offset)), cuts)


def probabilities(calibration: Calibration, logits: Floats) -> Floats:
    """Calibrated probabilities, shape (mentions, intents), by the arithmetic that serving uses."""
    rows = [[probability(value) for value in calibration.log_odds(tuple(row))] for row in logits.tolist()]
    return np.array(rows, dtype=np.float64).reshape(-1, len(INTENTS))


def _resampled(groups: tuple[str, ...]) -> Floats:
    """How often each mention counts: once in the first row, then as whole groups are drawn with replacement.

    Shape (1 + resamples, mentions).
    """
    names, group = np.unique(groups, return_inverse=True)
    draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    return np.vstack([np.ones(len(group)), draws[:, group]])


def _platt(logits: Floats, truth: Floats, weights: Floats, prior: Prior) -> Floats:
    """Scale and offset of each row of weights, shape (rows, 2): Newton's method on the log likelihood and the prior.

    Platt, "Probabilistic outputs for support vector machines" (1999); the prior stands for his smoothed targets.
    """
    start = np.array([1.0, 0.0])
    if min(truth.sum(), (1 - truth).sum()) < prior.fewest:
        return np.tile(start if truth.any() else [1.0, prior.unseen], (len(weights), 1))
    precision = np.array([prior.scale, prior.offset])
    design = np.column_stack([logits, np.ones_like(logits)])
    products = np.column_stack([logits * logits, logits, logits, np.ones_like(logits)])
    for rows in (weights[:1], weights):  # the resamples start from what all mentions say: that is near
        found = np.tile(start, (len(rows), 1))
        for _ in range(100):
            values = _logistic(found @ design.T)
            gradient = (rows * (truth - values)) @ design - precision * (found - [1.0, 0.0])
            curvature = ((rows * values * (1 - values)) @ products).reshape(-1, 2, 2) + np.diag(precision)
            step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
            longest = np.abs(step).max(axis=1, keepdims=True)
            found += step / np.maximum(1.0, longest / 2)  # never so far that the curvature vanishes
            if longest.max() < 1e-6:
                break
        start = found[0]
    found[:, 0] = np.maximum(found[:, 0], _LEAST_SCALE)
    return found


def _thresholds(logits: Floats, truth: Floats, weights: Floats, platt: Floats) -> dict[str, Floats]:
    """Every cut's threshold as a logit for each row of weights; infinity where none will do.

    A precision cut's lies half-way to the next lower logit, so that it does not hang on the last digit of one mention.
    """
    if not truth.any():
        return {name: np.full(len(weights), np.inf) for name in CUTS}
    order = np.argsort(-logits, kind="stable")
    logits, truth, weights = logits[order], truth[order], weights[:, order]
    last = np.flatnonzero(np.diff(logits, append=-np.inf))
    below = np.append(logits, logits[-1] - 1.0)[last + 1]
    asserted, hits = np.cumsum(weights, axis=1), np.cumsum(weights * truth, axis=1)
    expected = weights * _logistic(platt[:, :1] * logits + platt[:, 1:])
    total = expected.sum(axis=1, keepdims=True)
    half = (np.cumsum(expected, axis=1) / np.maximum(asserted + total, 1e-9)).max(axis=1).clip(1e-9, 1 - 1e-9)
    found = {"balanced": (np.log(half / (1 - half)) - platt[:, 1]) / platt[:, 0]}
    asserted, hits, between = asserted[:, last], hits[:, last], (logits[last] + below) / 2
    for name, precision in PRECISION_CUTS.items():
        reached = (hits >= precision * asserted - 1e-9) & (asserted >= _FEWEST_ASSERTED)
        lowest = len(between) - 1 - np.argmax(reached[:, ::-1], axis=1)
        found[name] = np.where(reached.any(axis=1), between[lowest], np.inf)
    return found


def _summary(found: Floats, cut: str, scale: float, offset: float) -> tuple[float | None, tuple[float, float] | None]:
    """Threshold and interval as probabilities of the calibration that is shipped."""
    resampled = np.sort(found[1:])
    low, sure, high = (resampled[math.ceil(q * (len(resampled) - 1))] for q in (0.025, _SURE, 0.975))
    chosen = found[0] if cut == "balanced" else sure
    if not math.isfinite(chosen):
        return None, None
    low, chosen, high = (
        math.floor(probability(scale * float(logit) + offset) * 1e6) / 1e6 for logit in (low, chosen, high)
    )
    return chosen, (min(low, chosen), max(high, chosen))


def _logistic(log_odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))  # within what floats can hold
