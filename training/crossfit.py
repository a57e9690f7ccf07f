"""What calibration and cuts are worth on brands that they were not fitted on: fitted on the others, brand by brand.

The shipped calibration is fitted on every mention; the figures stated beside it come from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.schema import INTENTS
from data.splits import brand_folds
from model.bundle import CUTS, NO_INTERVAL
from model.reliability import calibration_error, wilson_interval
from training.calibrate import Cut, Fitted, probabilities
from training.sample import Flags, Floats, Sample

_FOLDS = 7


@dataclass(frozen=True)
class CrossFit:
    """Each mention read by the calibration and cuts of a fit that did not see its group; shapes (mentions, intents)."""

    sample: Sample
    folds: int
    values: Floats
    """Calibrated probabilities."""
    asserted: dict[str, Flags]
    """Per cut, which intents are labels."""
    uncertain: dict[str, Flags]
    """Per cut, which probabilities lie inside their threshold's interval."""

    def error(self, rows: Flags | None = None) -> float | None:
        """Expected calibration error, mean over the intents that have labels; of all mentions, or of some rows."""
        rows = np.ones(len(self.values), dtype=np.bool_) if rows is None else rows
        errors = []
        for column in range(len(INTENTS)):
            known = rows & (self.sample.labels[:, column] >= 0)
            error = calibration_error(self.sample.labels[known, column] == 1, self.values[known, column])
            errors += [] if error is None else [error]
        return round(float(np.mean(errors)), 4) if errors else None

    def reached(self, cut: str, rows: Flags | None = None) -> dict[str, Any]:
        """Precision with its 95% Wilson interval, and recall, per intent and over all intents ``pooled``."""
        known = self.sample.labels >= 0
        if rows is not None:
            known &= rows[:, None]
        asserted, true = self.asserted[cut] & known, (self.sample.labels == 1) & known
        correct = (asserted & true).sum(axis=0)
        each = [
            _shares(int(hits), int(said), int(support))
            for hits, said, support in zip(correct, asserted.sum(axis=0), true.sum(axis=0), strict=True)
        ]
        return {
            **{part: {i: one[part] for i, one in zip(INTENTS, each, strict=True)} for part in each[0]},
            "pooled": _shares(int(correct.sum()), int(asserted.sum()), int(true.sum())),
        }

    def doubt(self, cut: str) -> dict[str, float | None]:
        """Share of uncertain mentions, and how often these and the others are wrong; 0 to 1.

        ``share`` is of all mentions, by the probabilities of all intents. The other two count mentions with a known
        label, by their known labels alone: ``wrong`` is the share with a wrong label of those with an uncertain one,
        ``others_wrong`` that of those without. None where there is no such mention.
        """
        known = self.sample.labels >= 0
        judged = known.any(axis=1)
        uncertain = (known & self.uncertain[cut]).any(axis=1)
        wrong = (known & (self.asserted[cut] != (self.sample.labels == 1))).any(axis=1)
        inside, outside = wrong[judged & uncertain], wrong[judged & ~uncertain]
        return {
            "share": round(float(self.uncertain[cut].any(axis=1).mean()), 4),
            "wrong": round(float(inside.mean()), 4) if inside.size else None,
            "others_wrong": round(float(outside.mean()), 4) if outside.size else None,
        }


def cross_fit(sample: Sample, fit: Callable[[Sample], Fitted]) -> CrossFit:
    """Fit on all groups but those of a fold, and read the fold, for seven folds (or as many as there are groups)."""
    folds = min(_FOLDS, len(set(sample.groups)))
    fold = np.array(brand_folds(sample.groups, folds, seed=0))
    values = np.zeros_like(sample.logits)
    asserted, uncertain = ({name: np.zeros(values.shape, dtype=np.bool_) for name in CUTS} for _ in range(2))
    for number in range(folds):
        left_out = fold == number
        fitted = fit(sample.only(~left_out))
        values[left_out] = probabilities(fitted.calibration, sample.logits[left_out])
        for name, cut in fitted.cuts.items():
            thresholds, low, high = _edges(cut)
            asserted[name][left_out] = values[left_out] >= thresholds
            uncertain[name][left_out] = (values[left_out] >= low) & (values[left_out] <= high)
    return CrossFit(sample, folds, values, asserted, uncertain)


def calibration_entries(fitted: Fitted, measured: CrossFit) -> dict[str, Any]:
    """``calibration`` and ``cuts`` of ``bundle.json``: what is used, how sure it is, and what left-out groups say."""
    sample, calibration = measured.sample, fitted.calibration
    natural = sample.natural if 0 < sample.natural.sum() < len(sample.natural) else None
    return {
        "calibration": {
            "method": "platt",
            "scale": dict(zip(INTENTS, calibration.scale, strict=True)),
            "offset": dict(zip(INTENTS, calibration.offset, strict=True)),
            "measured": {
                "folds": measured.folds,
                "by": sample.by,
                "error": measured.error(),
                **({} if natural is None else {"error_natural": measured.error(natural)}),
            },
        },
        "cuts": {
            name: {
                "thresholds": cut.thresholds,
                "threshold_interval": cut.threshold_interval,
                **measured.reached(name),
                **({} if natural is None else {"natural": measured.reached(name, natural)}),
                "uncertain": measured.doubt(name),
            }
            for name, cut in fitted.cuts.items()
        },
    }


def _edges(cut: Cut) -> tuple[Floats, Floats, Floats]:
    """Thresholds and the ends of their intervals; infinite, and an empty interval, where the cut never asserts."""
    rows = []
    for intent in INTENTS:
        threshold, interval = cut.thresholds[intent], cut.threshold_interval[intent]
        low, high = interval or NO_INTERVAL
        rows.append((np.inf if threshold is None else threshold, low, high))
    thresholds, lows, highs = np.array(rows, dtype=np.float64).T
    return thresholds, lows, highs


def _shares(correct: int, asserted: int, support: int) -> dict[str, Any]:
    interval = wilson_interval(correct, asserted)
    return {
        "precision": round(correct / asserted, 4) if asserted else None,
        "interval": [round(end, 4) for end in interval] if interval else None,
        "recall": round(correct / support, 4) if support else None,
    }
