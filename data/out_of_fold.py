"""Out-of-fold predictions: labelled mentions, each with what a bundle that never saw it read in it.

Leaves out writing them (``training.cross_validate``).
"""

from __future__ import annotations

from pathlib import Path

from data.files import BadRow, read_rows
from data.schema import INTENTS, FileError, LabelledMention, MentionError, labelled_from_row


def read_out_of_fold(path: Path) -> tuple[list[LabelledMention], list[tuple[float, ...]]]:
    """The labelled mentions of a file that cross-validation wrote, and each one's probabilities by intent.

    Raises:
        FileError: the file cannot be read, or is not what cross-validation writes.
    """
    mentions, probabilities = [], []
    columns = [f"p_{intent}" for intent in INTENTS]
    for row in read_rows(path, required=("text", *columns)):
        if isinstance(row, BadRow):
            raise FileError(f"{path}: row {row.number}: {row.reason}")
        try:
            mentions.append(labelled_from_row(row.values, str(row.number)))
            chances = tuple(float(row.values[name]) for name in columns)
        except (MentionError, TypeError, ValueError) as reason:
            raise FileError(f"{path}: row {row.number}: {reason}") from None
        if not all(0 <= chance <= 1 for chance in chances):
            raise FileError(f"{path}: row {row.number}: a probability is not from 0 to 1; is this an out-of-fold file?")
        probabilities.append(chances)
    return mentions, probabilities
