"""How far probabilities and shares can be trusted: calibration error, and Wilson's interval.

What training states of a bundle and what evaluation measures of it are these same figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 10
Z_95 = 1.959963984540054
"""The standard normal's 0.975 quantile."""


def calibration_error(truth: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float | None:
    """Expected calibration error: Σ over bins of n_bin / n · |share of 1s − mean probability|; None without labels.

    Ten bins of equal width, (0, 0.1], (0.1, 0.2] … (0.9, 1.0], 0 in the first (Guo et al. 2017, "On Calibration of
    Modern Neural Networks", with the probability of the intent in place of the confidence).
    """
    if not len(truth):
        return None
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bins = np.searchsorted(edges, probabilities)
    gaps = np.bincount(bins, weights=truth - probabilities, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float] | None:
    """Wilson's score interval (1927) of a share; None without trials. It behaves where n is small or the share is 1."""
    if not trials:
        return None
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = float((centre - spread) / scale) if successes else 0.0
    return low, float((centre + spread) / scale) if successes < trials else 1.0
