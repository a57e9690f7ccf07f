"""What a report says of one reader: its figures with their intervals, at every cut and along every threshold.

Leaves out the formulas (``eval.metrics``, ``eval.resampling``, ``eval.curves``) and which readers there are
(``eval.evaluate``). Everything is plain data for ``report.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from data.schema import INTENTS
from eval.baselines import Predictions
from eval.curves import at_targets, histogram, precision_recall, reliability
from eval.metrics import Flags, Floats, figures
from eval.resampling import Resamples, mean_interval, shares
from model.bundle import Bundle


def with_intervals(reader: Predictions, truth: Floats, resamples: Resamples) -> dict[str, Any]:
    """The figures of a reader's mentions, and ``intervals`` of what is averaged over resampled groups."""
    overall = asdict(figures(truth, reader.scores, reader.labels, probabilities=reader.probabilities))
    counted = resamples.count(truth, reader.labels)
    intents = {intent: shares(counted, column) for column, intent in enumerate(INTENTS)}
    overall["intervals"] = {"intents": intents}
    for name, values in (("precision", counted.precision), ("recall", counted.recall), ("f1", counted.f1)):
        overall["intervals"][f"macro_{name}"] = mean_interval(values, [part[name] for part in intents.values()])
    for name, one in shares(counted.pooled, 0).items():
        overall["intervals"][f"micro_{name}"] = one
    return overall


def every_cut(bundle: Bundle, labels: Mapping[str, Flags], scores: Floats, truth: Floats) -> dict[str, Any]:
    """Cut → macro-F1, and per intent the threshold, the precision that the bundle states, and the figures here.

    ``labels`` are what is asserted at each cut that is wanted.
    """
    cuts = {}
    for name, asserted in labels.items():
        thresholds = bundle.thresholds(name)
        here = figures(truth, scores, asserted)
        cuts[name] = {
            "macro_f1": here.macro_f1,
            "intents": {
                intent: {
                    "threshold": threshold if np.isfinite(threshold) else None,
                    "stated_interval": bundle.stated[name].get(intent),
                    **asdict(one),
                }
                for (intent, one), threshold in zip(here.intents.items(), thresholds, strict=True)
            },
        }
    return cuts


def curves_of(truth: Floats, scores: Floats) -> dict[str, Any]:
    """Intent → everything of ``eval.curves`` that is of one intent, over the mentions whose label is known."""
    curves = {}
    for column, intent in enumerate(INTENTS):
        known = ~np.isnan(truth[:, column])
        its, chances = truth[known, column] == 1, scores[known, column]
        curves[intent] = {
            "precision_recall": precision_recall(its, chances),
            "targets": at_targets(its, chances),
            "reliability": reliability(its, chances),
            "histogram": histogram(its, chances),
        }
    return curves
