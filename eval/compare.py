"""Whether one bundle is better than another on the same mentions, and which mentions tell.

Leaves out the figures of each (``eval.metrics``). Both readers are measured on the same resamples, so what is hard for
both cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from data.schema import INTENTS, LabelledMention
from eval.baselines import Predictions
from eval.metrics import Flags, Floats
from eval.resampling import Interval, Resamples, interval, macro

MOST_FLIPS = 1_000
BETTER, WORSE, NO_EVIDENCE = "better", "worse", "no evidence"


class Flip(TypedDict):
    """A mention that the two read differently."""

    id: str
    text: str
    brand: str
    truth: list[str]
    ours: list[str]
    theirs: list[str]
    gained: int
    """Known labels that we get right and they do not, less those that they get right and we do not."""


def paired_difference(truth: Floats, ours: Flags, theirs: Flags, resamples: Resamples) -> Interval | None:
    """Ours minus theirs in macro-F1, -1 to 1, by a paired bootstrap of whole groups.

    An intent that has no F1 in a resample for either counts in neither mean. None where no label is 1 and nothing was
    asserted.
    """
    return interval(macro(_gaps(truth, ours, theirs, resamples)))


def verdict(difference: Interval | None) -> str:
    """``better`` or ``worse`` where the whole interval is on one side of 0, else ``no evidence``."""
    if difference is None:
        return NO_EVIDENCE
    return BETTER if difference["low"] > 0 else WORSE if difference["high"] < 0 else NO_EVIDENCE


def compare(
    mentions: Sequence[LabelledMention], truth: Floats, ours: Predictions, theirs: Predictions, resamples: Resamples
) -> dict[str, Any]:
    """Ours against theirs.

    Returns:
        ``difference`` in macro-F1 with its interval; ``verdict``; ``intents``, for each the ``difference`` in F1, how
        many known labels only one of the two gets right (``ours_alone``, ``theirs_alone``) and the exact ``p_value`` of
        McNemar's test (1947), which takes mentions as independent; ``flipped``, how many mentions they label
        differently, and ``flips``, ``MOST_FLIPS`` of these, those that gain or lose most first.
    """
    known = ~np.isnan(truth)
    right, their_right = ((labels == (truth == 1)) & known for labels in (ours.labels, theirs.labels))
    gaps = _gaps(truth, ours.labels, theirs.labels, resamples)
    intents = {}
    for column, intent in enumerate(INTENTS):
        alone = int((right & ~their_right)[:, column].sum())
        they_alone = int((their_right & ~right)[:, column].sum())
        intents[intent] = {
            "difference": interval(gaps[:, column]),
            "ours_alone": alone,
            "theirs_alone": they_alone,
            "p_value": mcnemar(alone, they_alone),
        }
    difference = interval(macro(gaps))
    gained = right.sum(axis=1) - their_right.sum(axis=1)
    changed = np.flatnonzero((ours.labels != theirs.labels).any(axis=1))
    order = changed[np.argsort(-np.abs(gained[changed]), kind="stable")]
    return {
        "name": theirs.name,
        "difference": difference,
        "verdict": verdict(difference),
        "intents": intents,
        "flipped": len(order),
        "flips": [
            Flip(
                id=mentions[row].id,
                text=mentions[row].text,
                brand=mentions[row].target or "",
                truth=_named(truth[row] == 1),
                ours=_named(ours.labels[row]),
                theirs=_named(theirs.labels[row]),
                gained=int(gained[row]),
            )
            for row in order[:MOST_FLIPS].tolist()
        ],
    }


def _gaps(truth: Floats, ours: Flags, theirs: Flags, resamples: Resamples) -> Floats:
    """Differences in F1, shape (resamples, intents), NaN where either has none."""
    return resamples.count(truth, ours).f1 - resamples.count(truth, theirs).f1


def mcnemar(one: int, other: int) -> float:
    """Two-sided exact p-value that of ``one + other`` disagreements each side is as likely; 1 without any."""
    from scipy.stats import binomtest

    return float(binomtest(one, one + other).pvalue) if one + other else 1.0


def _named(flags: Flags) -> list[str]:
    return [intent for intent, there in zip(INTENTS, flags.tolist(), strict=True) if there]
