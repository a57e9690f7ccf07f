"""From brands seen to brands unseen: two cross-validations of the same mentions side by side.

``train --cross-validate K --group id`` leaves out mentions whose brands the bundle knows, ``--group brand_key`` whole
brands. Leaves out making these files, and how it looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data.out_of_fold import read_out_of_fold
from data.schema import INTENTS, FileError, LabelledMention
from data.splits import independent_groups
from eval.compare import paired_difference
from eval.metrics import Floats, figures, truth_of
from eval.resampling import Resamples, shares


def held_out(unseen: Path, seen: Path | None, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Figures of the out-of-fold predictions of ``unseen`` brands and, if given, of ``seen`` ones.

    Both of the same mentions and at the same thresholds, so that what moves is the reading. Intervals of precision and
    recall resample brands (posts, where there are few brands).

    Returns:
        ``files``; ``unseen`` and ``seen`` (or None): the figures, ``brands``, and per intent ``precision_interval`` and
        ``recall_interval``; ``difference`` (or None): unseen less seen in macro-F1, with its interval.

    Raises:
        FileError: a file cannot be read, is not what cross-validation writes, or the two hold different mentions.
    """
    cut = np.array([thresholds[intent] for intent in INTENTS], dtype=np.float64)
    mentions, scores = _read(unseen)
    groups, _ = independent_groups(mentions, [mention.brand_key for mention in mentions])
    resamples, truth = Resamples.of(groups), truth_of(mentions)
    found: dict[str, Any] = {
        "files": [str(path) for path in (unseen, seen) if path],
        "unseen": _measure(truth, scores, cut, resamples, len({mention.brand_key for mention in mentions})),
        "seen": None,
        "difference": None,
    }
    if seen is not None:
        others, other_scores = _read(seen)
        place = {(mention.id, mention.text, mention.brand): row for row, mention in enumerate(others)}
        rows = [place.get((mention.id, mention.text, mention.brand)) for mention in mentions]
        if len(others) != len(mentions) or None in rows:
            raise FileError(f"{seen}: not the same mentions as in {unseen}; cross-validate the same files both ways")
        other_scores = other_scores[np.array(rows, dtype=np.intp)]
        found["seen"] = _measure(truth, other_scores, cut, resamples, found["unseen"]["brands"])
        found["difference"] = paired_difference(truth, scores >= cut, other_scores >= cut, resamples)
    return found


def _read(path: Path) -> tuple[list[LabelledMention], Floats]:
    mentions, chances = read_out_of_fold(path)
    return mentions, np.array(chances, dtype=np.float64)


def _measure(truth: Floats, scores: Floats, cut: Floats, resamples: Resamples, brands: int) -> dict[str, Any]:
    labels = scores >= cut
    measured = asdict(figures(truth, scores, labels))
    counted = resamples.count(truth, labels)
    for column, intent in enumerate(INTENTS):
        spread = shares(counted, column)
        measured["intents"][intent]["precision_interval"] = spread["precision"]
        measured["intents"][intent]["recall_interval"] = spread["recall"]
    return {**measured, "brands": brands}
