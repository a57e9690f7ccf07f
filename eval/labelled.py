"""Labelled files as evaluation reads them: a row that cannot be read costs itself and is named, the others count.

Leaves out the formats (``data.files``) and what is done with the mentions (``eval.evaluate``, ``eval.fidelity``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.files import BadRow, read_rows
from data.schema import INTENTS, FileError, LabelledMention, MentionError, labelled_from_row
from eval.progress import counted
from model.scorer import Reading, Scorer

_REFUSALS_SAID = 5


@dataclass(frozen=True)
class LabelledFile:
    """What a file gave."""

    path: Path
    mentions: tuple[LabelledMention, ...]
    refused: tuple[tuple[int, MentionError], ...]
    """Row number (1-based) and reason of each row that is no labelled mention."""
    extra: Mapping[str, tuple[str, ...]]
    """The columns that were asked for besides, one value per mention, ``""`` where a cell is empty."""


def read_labelled_files(paths: Iterable[Path], columns: Sequence[str] = ()) -> list[LabelledFile]:
    """Every file with its mentions and its refused rows; the first refused rows of each are said on stderr.

    ``columns`` are read besides, where a file has them.

    Raises:
        FileError: a file cannot be read at all, or holds no labelled mention.
    """
    files = [_read(path, columns) for path in paths]
    for file in files:
        for number, reason in file.refused[:_REFUSALS_SAID]:
            print(f"{file.path}: row {number} refused: {reason}", file=sys.stderr)
        if len(file.refused) > _REFUSALS_SAID:
            print(f"{file.path}: {len(file.refused):,} rows refused in all", file=sys.stderr)
    return files


def read_by_model(scorer: Scorer, mentions: Sequence[LabelledMention], what: str) -> Iterator[Reading]:
    """The bundle's reading of every mention for its target brand, in order, with progress on stderr."""
    pairs = ((mention.text, mention.target) for mention in mentions)
    return counted(scorer.read_all(pairs), len(mentions), what)


def _read(path: Path, columns: Sequence[str]) -> LabelledFile:
    mentions: list[LabelledMention] = []
    refused: list[tuple[int, MentionError]] = []
    extra: dict[str, list[str]] = {name: [] for name in columns}
    # a JSON line may leave intents out; a table either has the column or is some other file
    required = ("text",) if path.suffix.lower() == ".jsonl" else ("text", *INTENTS)
    for row in read_rows(path, required=required):
        try:
            if isinstance(row, BadRow):
                raise row.reason
            mentions.append(labelled_from_row(row.values, str(row.number)))
            for name, values in extra.items():
                value = row.values.get(name)
                values.append("" if value is None else str(value).strip())
        except MentionError as reason:
            refused.append((row.number, reason))
    if not any(label is not None for mention in mentions for label in mention.labels):
        first = f"; row {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise FileError(f"{path}: no row has a label; columns {', '.join(INTENTS)} hold 1, 0 or nothing{first}")
    return LabelledFile(path, tuple(mentions), tuple(refused), {name: tuple(values) for name, values in extra.items()})
