"""Figures on resamples of whole groups, for the intervals of what is averaged over brands.

Mentions of one brand resemble each other, so intervals that take them for independent are too narrow: a resample draws
whole brands with replacement (the cluster bootstrap; Davison and Hinkley, Bootstrap Methods and their Application,
1997, section 3.8). Below about 20 groups such an interval is rough, and rather too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Flags, Floats, f1_interval
from model.reliability import wilson_interval

DRAWS = 4_000
"""Resamples; fewer where there are very many groups, which need fewer."""
FEW_GROUPS = 20
_SEED = 0
_MOST_CELLS = 40_000_000
_FEWEST_DRAWS = 200
_CHUNK = 100


class Interval(TypedDict):
    """A figure and the ends of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Counted:
    """Cells of each intent in each resample, shape (resamples, intents); the first row is the mentions as they are."""

    correct: Floats
    predicted: Floats
    positive: Floats

    @property
    def precision(self) -> Floats:
        """NaN where nothing was asserted."""
        return _ratio(self.correct, self.predicted)

    @property
    def recall(self) -> Floats:
        """NaN where no label is 1."""
        return _ratio(self.correct, self.positive)

    @property
    def f1(self) -> Floats:
        """NaN where nothing was asserted and no label is 1."""
        return _ratio(2 * self.correct, self.predicted + self.positive)

    @property
    def pooled(self) -> Counted:
        """The cells of all intents together, shape (resamples, 1)."""
        parts = (self.correct, self.predicted, self.positive)
        return Counted(*(part.sum(axis=1, keepdims=True) for part in parts))


@dataclass(frozen=True)
class Resamples:
    """How often each group is drawn in each resample."""

    group: NDArray[np.intp]
    """The group of each mention, as an index."""
    weights: NDArray[np.uint8]
    """Shape (1 + draws, groups); the first row is ones."""

    @classmethod
    def of(cls, groups: Sequence[str], draws: int = DRAWS) -> Resamples:
        """The same for the same groups."""
        names, group = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
        draws = min(draws, max(_FEWEST_DRAWS, _MOST_CELLS // len(names)))
        weights = np.ones((1 + draws, len(names)), dtype=np.uint8)
        random, even = np.random.default_rng(_SEED), np.full(len(names), 1 / len(names))
        for row in range(1, 1 + draws):
            weights[row] = np.minimum(random.multinomial(len(names), even), 255)
        return cls(group, weights)

    def count(self, truth: Floats, labels: Flags) -> Counted:
        """Of labels asserted against labels known; ``truth`` is 1, 0 or NaN (not known), both (mentions, intents)."""
        cells = (labels & (truth == 1), labels & ~np.isnan(truth), truth == 1)
        per_group = np.concatenate([self._per_group(one) for one in cells], axis=1)
        chunks = (self.weights[start : start + _CHUNK] for start in range(0, len(self.weights), _CHUNK))
        counts = np.concatenate([chunk.astype(np.float64) @ per_group for chunk in chunks])
        return Counted(*np.split(counts, 3, axis=1))

    def _per_group(self, cells: Flags) -> Floats:
        total = np.zeros((self.weights.shape[1], cells.shape[1]))
        np.add.at(total, self.group, cells)
        return total


def interval(figures: Floats, at_least: tuple[float, float] | None = None) -> Interval | None:
    """The first figure with the 2.5% and 97.5% quantiles of the others; NaN ones are left out, None if the first is.

    Resamples of a share that is 0 or 1, or of few cells, do not differ enough: ``at_least`` is an interval that takes
    cells as independent (Wilson's), which the result then holds.
    """
    if np.isnan(figures[0]):
        return None
    drawn = figures[1:][~np.isnan(figures[1:])]
    low, high = np.quantile(drawn, (0.025, 0.975)) if len(drawn) else (figures[0], figures[0])
    if at_least is not None:
        low, high = min(low, at_least[0]), max(high, at_least[1])
    return {"value": float(figures[0]), "low": float(low), "high": float(high)}


def shares(counted: Counted, column: int) -> dict[str, Interval | None]:
    """``precision``, ``recall`` and ``f1`` of an intent with their intervals, never narrower than of so few cells."""
    correct, predicted, positive = (
        int(part[0, column]) for part in (counted.correct, counted.predicted, counted.positive)
    )
    return {
        "precision": interval(counted.precision[:, column], wilson_interval(correct, predicted)),
        "recall": interval(counted.recall[:, column], wilson_interval(correct, positive)),
        "f1": interval(counted.f1[:, column], f1_interval(correct, predicted, positive)),
    }


def mean_interval(figures: Floats, parts: Sequence[Interval | None]) -> Interval | None:
    """The macro average with its interval; where a part's resamples say nothing, that of the parts' ends averaged.

    ``figures`` has the shape (resamples, intents); ``parts`` are the intents' own intervals.
    """
    whole = interval(macro(figures))
    there = [part for part in parts if part is not None]
    if whole is None or all(np.nanmin(figures[:, i]) < np.nanmax(figures[:, i]) for i, p in enumerate(parts) if p):
        return whole
    low, high = (float(np.mean([part[end] for part in there])) for end in ("low", "high"))
    return {"value": whole["value"], "low": min(whole["low"], low), "high": max(whole["high"], high)}


def macro(figures: Floats) -> Floats:
    """The mean over the intents for which each row has a figure, NaN where it has none."""
    defined = ~np.isnan(figures)
    return _ratio(np.where(defined, figures, 0).sum(axis=1), defined.sum(axis=1))


def _ratio(part: Floats, whole: Floats | NDArray[np.intp]) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio
