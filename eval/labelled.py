"""Labelled files as evaluation reads them: a row that cannot be read costs itself and is named, the others count.

Leaves out the formats (``data.files``) and what is done with the mentions (``eval.evaluate``, ``eval.fidelity``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.files import BadRow, read_rows
from data.schema import INTENTS, FileError, LabelledMention, MentionError, labelled_from_row, unknown_columns
from data.stored import StoredMentions
from eval.progress import counted
from model.cascade import Reader
from model.scorer import Reading

_REFUSALS_SAID = 5


@dataclass(frozen=True)
class LabelledFile:
    """What became of a file's rows."""

    path: Path
    mentions: int
    refused: tuple[tuple[int, MentionError], ...]
    """Row number (1-based) and reason of each row that is no labelled mention."""


@dataclass(frozen=True)
class LabelledData:
    """What files gave, in their order."""

    mentions: StoredMentions
    files: tuple[LabelledFile, ...]
    extra: Mapping[str, Sequence[str]]
    """The columns that were asked for besides, one value per mention, ``""`` where a cell is empty or not there."""

    @property
    def any_refused(self) -> bool:
        """Whether a row of any file was refused."""
        return any(file.refused for file in self.files)


def read_labelled_files(paths: Iterable[Path], columns: Sequence[str] = ()) -> LabelledData:
    """All mentions of the files; the first refused rows of each are said on stderr.

    ``columns`` are read besides, where a file has them. A mention without an id has its row's number for one, after the
    path of the file where there are several.

    Raises:
        FileError: a file cannot be read at all, or holds no labelled mention.
    """
    mentions, files, paths = StoredMentions(), [], list(paths)
    extra: dict[str, list[str]] = {name: [] for name in columns}
    for path in paths:
        file = _read(path, f"{path}:" if len(paths) > 1 else "", mentions, extra)
        files.append(file)
        for number, reason in file.refused[:_REFUSALS_SAID]:
            print(f"{path}: row {number} refused: {reason}", file=sys.stderr)
        if len(file.refused) > _REFUSALS_SAID:
            print(f"{path}: {len(file.refused):,} rows refused in all", file=sys.stderr)
    return LabelledData(mentions, tuple(files), extra)


def read_by_model(scorer: Reader, mentions: Sequence[LabelledMention], what: str) -> Iterator[Reading]:
    """The bundle's reading of every mention for its target brand, in order, with progress on stderr."""
    pairs = ((mention.text, mention.target) for mention in mentions)
    return counted(scorer.read_all(pairs), what, len(mentions))


def _read(path: Path, prefix: str, mentions: StoredMentions, extra: Mapping[str, list[str]]) -> LabelledFile:
    """Append a file's mentions to ``mentions``, and their other columns to ``extra``."""
    refused: list[tuple[int, MentionError]] = []
    before, any_label, any_brand = len(mentions), False, False
    unread: list[str] = []
    # a JSON line may leave intents out; a table either has the column or is some other file
    required = ("text",) if path.suffix.lower() == ".jsonl" else ("text", *INTENTS)
    for row in counted(read_rows(path, required=required), f"{path.name}: rows read"):
        try:
            if isinstance(row, BadRow):
                raise row.reason
            mention = labelled_from_row(row.values, f"{prefix}{row.number}")
        except MentionError as reason:
            refused.append((row.number, reason))
            continue
        mentions.append(mention)
        any_label = any_label or mention.is_labelled
        for name, values in extra.items():
            value = row.values.get(name)
            values.append("" if value is None else sys.intern(str(value).strip()))
        any_brand = any_brand or bool(mention.brand)
        unread += unknown_columns((name for name in row.values if name not in extra), unread)
    if not any_label:
        first = f"; row {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise FileError(f"{path}: no row has a label; columns {', '.join(INTENTS)} hold 1, 0 or nothing{first}")
    if unread:
        print(f"{path}: columns that are not read: {', '.join(unread)}", file=sys.stderr)
    if not any_brand:
        print(f"{path}: no row has a brand; the first whose handle a text names is its target", file=sys.stderr)
    return LabelledFile(path, len(mentions) - before, tuple(refused))
