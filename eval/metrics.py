"""Figures of labels against what was predicted, per intent and averaged, with unknown labels left out.

Leaves out reading mentions and scoring them (``eval.evaluate``) and showing the figures (``eval.report``). Arrays have
one row per mention and one column per intent, in the order of ``INTENTS``; a label is 1, 0 or NaN (not known), and a
cell that is not known counts nowhere.

A figure that is not defined is ``None``, never 0 or 1: precision where nothing was predicted; recall and average
precision where no label is 1; F1, which is 2·TP / (2·TP + FP + FN), where all three are 0; everything where no label
is known. F1 is therefore 0 for an intent that has positives of which none was found. Macro averages run over the
intents for which the figure is defined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.schema import INTENTS, LabelledMention
from model.reliability import calibration_error, wilson_interval

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class IntentFigures:
    """One intent's figures; all but the counts are 0 to 1, or None where not defined."""

    known: int
    """Mentions whose label is known."""
    support: int
    """Known labels that are 1."""
    predicted: int
    """Known cells that were labelled by the model."""
    correct: int
    """Predicted cells whose label is 1."""
    precision: float | None
    precision_low: float | None
    """Lower end of the precision's 95% Wilson interval."""
    precision_high: float | None
    recall: float | None
    recall_low: float | None
    """Of its 95% Wilson interval, as for precision."""
    recall_high: float | None
    f1: float | None
    f1_low: float | None
    """Lower end of its 95% interval (``f1_interval``)."""
    f1_high: float | None
    average_precision: float | None
    calibration_error: float | None


@dataclass(frozen=True)
class Figures:
    """Figures of one set of mentions."""

    mentions: int
    macro_f1: float | None
    macro_precision: float | None
    macro_recall: float | None
    macro_average_precision: float | None
    macro_calibration_error: float | None
    micro_f1: float | None
    """Of the cells of all intents pooled, as those below, with intervals that take cells as independent."""
    micro_f1_low: float | None
    micro_f1_high: float | None
    micro_precision: float | None
    micro_precision_low: float | None
    micro_precision_high: float | None
    micro_recall: float | None
    micro_recall_low: float | None
    micro_recall_high: float | None
    intents: dict[str, IntentFigures]


def truth_of(mentions: Sequence[LabelledMention]) -> Floats:
    """Labels of mentions as an array, NaN where not known; shape (mentions, intents)."""
    return np.array([mention.labels for mention in mentions], dtype=np.float64).reshape(-1, len(INTENTS))


def figures(truth: Floats, scores: Floats, labels: Flags, *, probabilities: bool = True) -> Figures:
    """Compare ``labels`` (what was asserted) and ``scores`` (what ranks mentions) with ``truth``.

    Args:
        truth: 1, 0 or NaN, shape (mentions, intents).
        scores: probabilities, or anything that is higher where the intent is likelier; same shape.
        labels: scores at or above the thresholds; same shape.
        probabilities: whether ``scores`` are probabilities; otherwise there is no calibration error.
    """
    per_intent: dict[str, IntentFigures] = {}
    for column, intent in enumerate(INTENTS):
        known = ~np.isnan(truth[:, column])
        per_intent[intent] = _intent_figures(
            truth[known, column] == 1, scores[known, column], labels[known, column], probabilities
        )
    each = list(per_intent.values())
    correct, predicted, support = (
        sum(getattr(one, name) for one in each) for name in ("correct", "predicted", "support")
    )
    (precision_low, precision_high), (recall_low, recall_high), (low, high) = _ends(correct, predicted, support)
    return Figures(
        mentions=len(truth),
        macro_f1=_mean(one.f1 for one in each),
        macro_precision=_mean(one.precision for one in each),
        macro_recall=_mean(one.recall for one in each),
        macro_average_precision=_mean(one.average_precision for one in each),
        macro_calibration_error=_mean(one.calibration_error for one in each),
        micro_f1=_ratio(2 * correct, predicted + support),
        micro_f1_low=low,
        micro_f1_high=high,
        micro_precision=_ratio(correct, predicted),
        micro_precision_low=precision_low,
        micro_precision_high=precision_high,
        micro_recall=_ratio(correct, support),
        micro_recall_low=recall_low,
        micro_recall_high=recall_high,
        intents=per_intent,
    )


def _intent_figures(truth: Flags, scores: Floats, labels: Flags, probabilities: bool) -> IntentFigures:
    support, predicted, correct = int(truth.sum()), int(labels.sum()), int((truth & labels).sum())
    (low, high), (recall_low, recall_high), (f1_low, f1_high) = _ends(correct, predicted, support)
    return IntentFigures(
        known=len(truth),
        support=support,
        predicted=predicted,
        correct=correct,
        precision=_ratio(correct, predicted),
        precision_low=low,
        precision_high=high,
        recall=_ratio(correct, support),
        recall_low=recall_low,
        recall_high=recall_high,
        f1=_ratio(2 * correct, predicted + support),
        f1_low=f1_low,
        f1_high=f1_high,
        average_precision=average_precision(truth, scores),
        calibration_error=calibration_error(truth, scores) if probabilities else None,
    )


def _ends(correct: int, predicted: int, support: int) -> list[tuple[float, float] | tuple[None, None]]:
    """The intervals of precision, recall and F1."""
    intervals = (
        wilson_interval(correct, predicted),
        wilson_interval(correct, support),
        f1_interval(correct, predicted, support),
    )
    return [interval or (None, None) for interval in intervals]


def f1_interval(correct: int, predicted: int, support: int) -> tuple[float, float] | None:
    """95% interval of an F1: None where it is not defined.

    F1 = 2J / (1 + J), with J = TP / (TP + FP + FN) the share of the cells that are asserted or labelled on which both
    agree. J is a share of so many cells, so Wilson's interval of J gives that of F1, which rises with it.
    """
    share = wilson_interval(correct, predicted + support - correct)
    return (2 * share[0] / (1 + share[0]), 2 * share[1] / (1 + share[1])) if share else None


def average_precision(truth: Flags, scores: Floats) -> float | None:
    """Σ (recall at k − recall at k−1) · precision at k over the distinct scores, highest first; None without positives.

    Equal scores are one step, so the order of mentions does not matter.
    """
    if not truth.any():
        return None
    _, found, seen = ranked_steps(truth, scores)
    return float(np.sum(np.diff(found, prepend=0) / found[-1] * found / seen))


def balanced_threshold(truth: Flags, scores: Floats) -> float:
    """The lowest score at which labelling everything at or above it has the best F1; infinity without positives."""
    if not truth.any():
        return float("inf")
    thresholds, found, seen = ranked_steps(truth, scores)
    f1 = 2 * found / (seen + truth.sum())
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return float(thresholds[best])


def ranked_steps(truth: Flags, scores: Floats) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
    """Distinct scores, highest first, and how many positives and mentions are at or above each; at least one score."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_run = np.append(ranked[1:] != ranked[:-1], True)
    return ranked[last_of_run], np.cumsum(truth[order])[last_of_run], np.flatnonzero(last_of_run) + 1


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
