"""Labelled mentions as calibration sees them: logits, labels, and the groups that folds and resamples keep whole.

Free of torch, so that ``firstreply calibrate`` runs where only serving is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.schema import INTENTS, LabelledMention
from data.splits import independent_groups

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

UNKNOWN = -1.0
"""How a label that is not known is written in an array."""


@dataclass(frozen=True)
class Sample:
    """Mentions to calibrate on."""

    logits: Floats
    """Shape (mentions, intents)."""
    labels: Floats
    """1, 0 or ``UNKNOWN``; same shape."""
    groups: tuple[str, ...]
    """The group of each mention: brands, or posts where there are few brands (``by`` says which)."""
    by: str
    """``brand`` or ``mention``."""
    natural: Flags
    """Whether each mention is of the stratum ``natural``."""

    @classmethod
    def of(cls, mentions: Sequence[LabelledMention], logits: Floats) -> Sample:
        """The sample of labelled mentions and what the model reads in them."""
        groups, by = independent_groups(mentions, [mention.brand_key for mention in mentions])
        natural = np.array([mention.is_natural for mention in mentions], dtype=np.bool_)
        return cls(logits, labels_of(mentions), tuple(groups), by, natural)

    def only(self, rows: Flags) -> Sample:
        """The mentions of these rows."""
        groups = tuple(group for group, kept in zip(self.groups, rows, strict=True) if kept)
        return Sample(self.logits[rows], self.labels[rows], groups, self.by, self.natural[rows])


def labels_of(mentions: Sequence[LabelledMention]) -> Floats:
    """Labels of shape (mentions, intents): 1, 0, and ``UNKNOWN``."""
    rows = [[UNKNOWN if label is None else float(label) for label in mention.labels] for mention in mentions]
    return np.array(rows, dtype=np.float64).reshape(-1, len(INTENTS))
