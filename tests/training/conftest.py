"""Drawn logits and labels for the tests of calibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from data.schema import INTENTS
from training.sample import Sample


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Sample]:
    """A sample whose true calibration is scale 0.5 and offset -1, a tenth of its labels not known."""

    def draw(seed: int, mentions: int = 4000, brands: int = 20) -> Sample:
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 2, (mentions, len(INTENTS)))
        truth = (rng.random(logits.shape) < 1 / (1 + np.exp(-(0.5 * logits - 1)))).astype(float)
        truth[rng.random(truth.shape) < 0.1] = -1
        groups = tuple(f"brand{number}" for number in rng.integers(0, brands, mentions))
        return Sample(logits, truth, groups, "brand", rng.random(mentions) < 0.5)

    return draw
