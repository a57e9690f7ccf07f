"""What a threshold buys: precision against recall, thresholds for a wanted precision, reliability, and confusions.

Leaves out single figures (``eval.metrics``) and pictures (``eval.plots``). Everything is plain data for
``report.json``; arrays have one row per mention and one column per intent, and cells that are not known count nowhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data.schema import INTENTS
from eval.metrics import Flags, Floats, ranked_steps
from model.reliability import CALIBRATION_BINS, wilson_interval

TARGETS = (0.7, 0.8, 0.9, 0.95)
"""Precisions that one may want."""
MOST_POINTS = 200
"""Points of a curve that are kept, evenly along the mentions in their order."""


def precision_recall(truth: Flags, scores: Floats) -> list[tuple[float, float, float]]:
    """(threshold, precision, recall) at distinct scores, highest first; empty without positives."""
    if not truth.any():
        return []
    thresholds, found, seen = ranked_steps(truth, scores)
    kept = np.unique(np.linspace(0, len(thresholds) - 1, min(MOST_POINTS, len(thresholds))).round().astype(np.intp))
    return [
        (float(thresholds[i]), float(found[i] / seen[i]), float(found[i] / found[-1])) for i in kept
    ]  # fmt: skip


def at_targets(truth: Flags, scores: Floats) -> list[dict[str, Any]]:
    """For each of ``TARGETS`` the lowest threshold that reaches this precision here, and what it costs.

    ``threshold`` (None, and nothing else, where none reaches it), ``precision`` with its 95% Wilson interval (``low``,
    ``high``), ``recall`` with its own (``recall_low``, ``recall_high``), ``per_1000`` (asserted of 1,000 mentions).
    """
    if not truth.any():
        return [{"target": target, "threshold": None} for target in TARGETS]
    rows: list[dict[str, Any]] = []
    thresholds, found, seen = ranked_steps(truth, scores)
    for target in TARGETS:
        reached = np.flatnonzero(found >= target * seen)
        row: dict[str, Any] = {"threshold": None}
        if len(reached):
            last = int(reached[-1])
            low, high = wilson_interval(int(found[last]), int(seen[last])) or (None, None)
            recall_low, recall_high = wilson_interval(int(found[last]), int(found[-1])) or (None, None)
            row = {
                "threshold": float(thresholds[last]),
                "precision": float(found[last] / seen[last]),
                "low": low,
                "high": high,
                "recall": float(found[last] / found[-1]),
                "recall_low": recall_low,
                "recall_high": recall_high,
                "per_1000": float(1000 * seen[last] / len(truth)),
            }
        rows.append({"target": target, **row})
    return rows


def reliability(truth: Flags, probabilities: Floats) -> list[dict[str, Any]]:
    """Ten bins of equal width: ``mentions``, mean ``probability``, ``share`` of 1s with its 95% Wilson interval."""
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = np.searchsorted(edges[1:-1], probabilities)
    rows = []
    for index in range(CALIBRATION_BINS):
        inside = bins == index
        there, ones = int(inside.sum()), int(truth[inside].sum())
        interval = wilson_interval(ones, there)
        rows.append(
            {
                "from": float(edges[index]),
                "to": float(edges[index + 1]),
                "mentions": there,
                "probability": float(probabilities[inside].mean()) if there else None,
                "share": ones / there if there else None,
                "low": interval[0] if interval else None,
                "high": interval[1] if interval else None,
            }
        )
    return rows


def histogram(truth: Flags, scores: Floats) -> dict[str, list[int]]:
    """Counts in 20 bins of equal width from 0 to 1, of the mentions with the intent and of those without."""
    counts = (np.histogram(scores[rows], bins=20, range=(0, 1))[0].tolist() for rows in (truth, ~truth))
    return dict(zip(("with", "without"), counts, strict=True))


def confusion(truth: Floats, labels: Flags) -> dict[str, Any]:
    """Which intents are taken for which, and for none.

    ``mentions`` is how many have all labels known: only these count. ``intents``, intent → ``missed`` (mentions that
    have it and were not read so) and ``read_as`` (of these, how many were read as each other intent, which they do not
    have, or as ``none`` at all); ``wrongly`` asserted and ``truly`` (what these have instead, or ``none``). A mention
    can count under several.
    """
    known = ~np.isnan(truth).any(axis=1)
    true: Flags = truth[known] == 1
    read: Flags = labels[known]
    counts = {}
    for column, intent in enumerate(INTENTS):
        missed, wrongly = true[:, column] & ~read[:, column], read[:, column] & ~true[:, column]
        counts[intent] = {
            "missed": int(missed.sum()),
            "read_as": _instead(missed, read & ~true, read.sum(axis=1) == 0),
            "wrongly": int(wrongly.sum()),
            "truly": _instead(wrongly, true & ~read, true.sum(axis=1) == 0),
        }
    return {"mentions": int(known.sum()), "intents": counts}


def _instead(rows: Flags, others: Flags, none: Flags) -> dict[str, int]:
    each = zip(INTENTS, others[rows].sum(axis=0).tolist(), strict=True)
    return {**{intent: int(count) for intent, count in each}, "none": int(none[rows].sum())}
