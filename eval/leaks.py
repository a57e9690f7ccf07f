"""Posts that stand in the data and nearly so in the train files: what is measured on them is memory.

Leaves out what a near-duplicate is (``data.duplicates``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.duplicates import comparable_text, occurring
from data.schema import LabelledMention
from eval.progress import counted

_FEWEST_WORDS = 5
MOST_IDS = 1_000
"""Ids of leaks in ``report.json``."""
SHOWN = 20
"""Leaks that are listed, the most alike first."""


def find_leaks(mentions: Sequence[LabelledMention], train: Sequence[LabelledMention]) -> dict[str, Any]:
    """``mentions`` (how many nearly occur in ``train``, whatever the brand), some of their ``ids``, and ``examples``.

    Posts of fewer than ``_FEWEST_WORDS`` words ("thank you!") occur everywhere and are counted apart, as ``short``.

    Raises:
        FirstreplyError: datasketch is not installed.
    """
    read = counted(train, "train files fingerprinted", len(train))
    looked_for = counted(mentions, "looked for in the train files", len(mentions))
    duplicates = (duplicate for _, duplicate in occurring(looked_for, read) if duplicate is not None)
    found = sorted(duplicates, key=lambda leak: -leak.similarity)
    leaks = [leak for leak in found if len(comparable_text(leak.mention.text).split()) >= _FEWEST_WORDS]
    return {
        "mentions": len(leaks),
        "short": len(found) - len(leaks),
        "ids": [leak.mention.id for leak in leaks[:MOST_IDS]],
        "examples": [
            {
                "id": leak.mention.id,
                "text": leak.mention.text,
                "train_id": leak.kept.id,
                "train_text": leak.kept.text,
                "similarity": round(leak.similarity, 3),
            }
            for leak in leaks[:SHOWN]
        ],
    }
