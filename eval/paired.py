"""How sure it is that one reader beats another: both on the same mentions, whole brands drawn again and again.

Leaves out the figures of one reader (``eval.metrics``) and which readers there are (``eval.evaluate``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Flags, Floats

DRAWS = 10_000
_SEED = 0


class Difference(TypedDict):
    """Ours minus theirs in macro-F1, -1 to 1, and the ends of its 95% interval."""

    macro_f1: float
    low: float
    high: float
    groups: int
    """How many were drawn from; below about 20 the interval is rough."""


def paired_difference(truth: Floats, ours: Flags, theirs: Flags, groups: Sequence[str]) -> Difference | None:
    """The difference in macro-F1 and its interval by a paired bootstrap that draws whole groups.

    Both readers are measured on the same resamples, so what is hard in a brand for both cancels out (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993). An intent that is neither labelled nor asserted in a resample
    counts in neither mean.

    Args:
        truth: 1, 0 or NaN (not known), shape (mentions, intents).
        ours: what one reader asserted, same shape.
        theirs: what the other asserted, same shape.
        groups: the group of each mention, normally its brand.

    Returns:
        The difference, or None where no label is 1 and nothing was asserted.
    """
    names, group = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    drawn = np.random.default_rng(_SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    weights = np.vstack([np.ones(len(names)), drawn])
    with np.errstate(invalid="ignore"):
        f1 = [_f1(truth, labels, group, weights) for labels in (ours, theirs)]
    both = np.isfinite(f1[0]) & np.isfinite(f1[1])
    counted = both.sum(axis=1)
    if counted[0] == 0:
        return None
    gaps = np.where(both, f1[0] - f1[1], 0).sum(axis=1)[counted > 0] / counted[counted > 0]
    low, high = np.quantile(gaps[1:], (0.025, 0.975)) if len(gaps) > 1 else (gaps[0], gaps[0])
    return {"macro_f1": float(gaps[0]), "low": float(low), "high": float(high), "groups": len(names)}


def _f1(truth: Floats, labels: Flags, group: NDArray[np.intp], weights: Floats) -> Floats:
    """F1 of each intent in each resample, shape (resamples, intents), NaN where it is not defined."""
    known = ~np.isnan(truth)
    correct, predicted, positive = (
        weights @ _per_group(cells, group, weights.shape[1])
        for cells in (labels & (truth == 1), labels & known, truth == 1)
    )
    f1: Floats = 2 * correct / (predicted + positive)
    return f1


def _per_group(cells: Flags, group: NDArray[np.intp], groups: int) -> Floats:
    total = np.zeros((groups, cells.shape[1]))
    np.add.at(total, group, cells)
    return total
