"""``firstreply data suspects``: likely label errors in out-of-fold predictions, by confident learning.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021), through
cleanlab's pruning by noise rate. A mention counts as truly of the label whose probability
reaches the mean of that probability over the mentions that carry the label (the likelier one where both do; none where
neither does). These counts, scaled to how often each label is given, estimate how many of the 0s should be 1 and of the
1s 0. So many are suspect: those to which the model, which never saw their brand, gives the opposite label most, as far
as it finds the opposite likelier at all. Leaves out making the predictions (``firstreply train --cross-validate``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray

from data.files import write_labelled
from data.out_of_fold import read_out_of_fold
from data.schema import INTENTS, LabelledMention

Floats = NDArray[np.float64]

_FEWEST = 10
"""Known labels of either kind below which an intent is not looked at: there is nothing to estimate its noise from."""


@dataclass(frozen=True)
class SuspectsJob:
    """Which predictions to look at, and where the cleaned mentions go."""

    predictions: Path
    """What cross-validation wrote: labelled mentions with columns ``p_<intent>``."""
    out: Path | None = None
    """File for the same mentions with every suspect label emptied: not known, so that it trains nothing."""
    show: int = 5
    """Suspects of each intent to print, the most glaring first."""


class Suspect(NamedTuple):
    """A label that is likely wrong."""

    row: int
    """Position of its mention in the file."""
    column: int
    """Position of its intent in ``INTENTS``."""
    probability: float
    """What the model gave the intent, 0 to 1."""


def suspects(job: SuspectsJob) -> int:
    """Print how many labels of each source and intent are suspect, and the worst; write ``job.out``. Exit status 0.

    Raises:
        FileError: the file cannot be read, or is not what cross-validation writes.
    """
    mentions, probabilities = read_out_of_fold(job.predictions)
    labels = np.array([mention.labels for mention in mentions], dtype=np.float64)  # None becomes NaN
    found = find_suspects(labels, np.array(probabilities))
    print(_table(mentions, found))
    for column, intent in enumerate(INTENTS):
        worst = [suspect for suspect in found if suspect.column == column][: job.show]
        for suspect in worst:
            mention = mentions[suspect.row]
            text = " ".join(mention.text.split())
            label = mention.labels[column]
            print(f"{intent}: labelled {label}, read {suspect.probability:.2f}: {mention.id} ({mention.target}) {text}")
    if job.out is not None:
        write_labelled(job.out, without_suspects(mentions, found))
        print(f"{job.out}: {len(mentions):,} mentions, {len(found):,} suspect labels emptied")
    return 0


def find_suspects(labels: Floats, probabilities: Floats) -> list[Suspect]:
    """The suspect labels, intent by intent, the least likely label first.

    Args:
        labels: 1, 0, or NaN where not known; shape (mentions, intents).
        probabilities: out-of-fold, of the same shape, 0 to 1.
    """
    found = []
    for column in range(len(INTENTS)):
        rows = np.flatnonzero(~np.isnan(labels[:, column]))
        given = labels[rows, column].astype(np.int64)
        if min((given == 1).sum(), (given == 0).sum()) < _FEWEST:
            continue
        asserted = probabilities[rows, column]
        ranked = find_label_issues(
            given, np.column_stack([1 - asserted, asserted]), return_indices_ranked_by="self_confidence", n_jobs=1
        )
        found += [Suspect(int(rows[index]), column, float(asserted[index])) for index in ranked]
    return found


def without_suspects(mentions: Sequence[LabelledMention], found: Sequence[Suspect]) -> list[LabelledMention]:
    """The mentions, suspect labels not known."""
    emptied = {(suspect.row, suspect.column) for suspect in found}
    return [
        mention.model_copy(
            update={"labels": tuple(None if (row, i) in emptied else x for i, x in enumerate(mention.labels))}
        )
        for row, mention in enumerate(mentions)
    ]


def _table(mentions: Sequence[LabelledMention], found: Sequence[Suspect]) -> str:
    known = Counter((m.source, i) for m in mentions for i, label in enumerate(m.labels) if label is not None)
    suspect = Counter((mentions[one.row].source, one.column) for one in found)
    sources = [source for source, _ in Counter(mention.source for mention in mentions).most_common()]
    lines = [f"{'suspect labels':<14}" + "".join(f"{intent:>18}" for intent in INTENTS)]
    for source in sources:
        shares = [
            f"{suspect[source, i]:,} of {known[source, i]:,}" if known[source, i] else "–" for i in range(len(INTENTS))
        ]
        lines.append(f"{source or '(no source)':<14}" + "".join(f"{share:>18}" for share in shares))
    return "\n".join(lines)
