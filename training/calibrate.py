"""Fits, on labelled mentions and the quantised model's logits, what turns a logit into a probability and a label.

Platt scaling per intent, then every cut's thresholds. Leaves out reading the model (``model.scorer``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from data.schema import INTENTS
from model.bundle import Calibration, probability
from training.examples import Floats

PRECISION_CUTS = {"p70": 0.70, "p80": 0.80, "p90": 0.90, "p95": 0.95}
_FEWEST = 5
"""Known positives and negatives below which an intent keeps its logits as they are, and labels asserted for a cut."""
_NEVER = -10.0
"""Offset of an intent of which dev has no positive: nothing says that the model knows it, so it is never asserted."""


@dataclass(frozen=True)
class Cut:
    """A threshold per intent on the calibrated probability (None: none reaches the precision), and what it reached."""

    thresholds: dict[str, float | None]
    precision: dict[str, float | None]
    recall: dict[str, float | None]


def fit_calibration(logits: Floats, labels: Floats) -> Calibration:
    """Platt scaling of logits (mentions, intents) against labels (1, 0, negative where unknown).

    The targets are smoothed as in Platt (1999), which a weak regularisation stands for here; a scale is never negative,
    so that a higher logit is never a lower probability.
    """
    scale, offset = [], []
    for column in range(len(INTENTS)):
        known = labels[:, column] >= 0
        truth = labels[known, column]
        if not truth.sum():
            scale.append(1.0)
            offset.append(_NEVER)
            continue
        if min(truth.sum(), (1 - truth).sum()) < _FEWEST:
            scale.append(1.0)
            offset.append(0.0)
            continue
        model = LogisticRegression(C=10.0).fit(logits[known, column : column + 1], truth)
        scale.append(max(float(model.coef_[0, 0]), 0.05))
        offset.append(float(model.intercept_[0]))
    return Calibration(tuple(scale), tuple(offset))


def probabilities(calibration: Calibration, logits: Floats) -> Floats:
    """Calibrated probabilities, shape (mentions, intents), by the arithmetic that serving uses."""
    rows = [[probability(value) for value in calibration.log_odds(tuple(row))] for row in logits.tolist()]
    return np.array(rows, dtype=np.float64).reshape(-1, len(INTENTS))


def fit_cuts(values: Floats, labels: Floats) -> dict[str, Cut]:
    """Every cut: ``balanced`` (best F1 per intent) and the lowest threshold that reaches each precision.

    The best F1 is the best *expected* one: for calibrated probabilities its threshold is half of that F1 (Lipton, Elkan
    and Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", 2014). Searching the labels for the
    best threshold instead follows their noise: fitted on half of the dev brands it lost 0.7 points on the others.
    """
    points = [_points(values[:, column], labels[:, column]) for column in range(len(INTENTS))]
    balanced = [_balanced(values[:, column], labels[:, column]) for column in range(len(INTENTS))]
    cuts = {"balanced": _cut(balanced)}
    for name, precision in PRECISION_CUTS.items():
        cuts[name] = _cut([_lowest_at(point, precision) for point in points])
    return cuts


def _points(values: Floats, labels: Floats) -> NDArray[Any]:
    """(threshold, precision, recall, asserted) at every distinct value, thresholds descending.

    A threshold lies half-way to the next lower value, so that it does not hang on the last digit of one mention.
    """
    known = labels >= 0
    values, truth = values[known], labels[known]
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last = np.flatnonzero(np.diff(values, append=-1.0))
    if not truth.sum():
        return np.empty((0, 4))
    asserted = last + 1
    hits = np.cumsum(truth)[last]
    below = np.append(values, 0.0)[last + 1]
    return np.column_stack([(values[last] + below) / 2, hits / asserted, hits / truth.sum(), asserted])


def _balanced(values: Floats, labels: Floats) -> tuple[float | None, float | None, float | None]:
    known = labels >= 0
    values, truth = values[known], labels[known]
    if not truth.sum():
        return None, None, None
    ranked = np.sort(values)[::-1]
    expected = 2 * np.cumsum(ranked) / (np.arange(1, len(ranked) + 1) + ranked.sum())
    threshold = math.floor(float(expected.max()) / 2 * 1e6) / 1e6
    asserted = values >= threshold
    hits = float(truth[asserted].sum())
    return threshold, hits / asserted.sum() if asserted.any() else None, hits / float(truth.sum())


def _lowest_at(points: NDArray[Any], precision: float) -> tuple[float | None, float | None, float | None]:
    reached = points[(points[:, 1] >= precision) & (points[:, 3] >= _FEWEST)]
    return _row(reached[-1]) if len(reached) else (None, None, None)


def _row(point: NDArray[Any]) -> tuple[float, float, float]:
    return math.floor(float(point[0]) * 1e6) / 1e6, float(point[1]), float(point[2])


def _cut(rows: list[tuple[float | None, float | None, float | None]]) -> Cut:
    thresholds, precision, recall = ({i: row[part] for i, row in zip(INTENTS, rows, strict=True)} for part in range(3))
    return Cut(thresholds, precision, recall)
