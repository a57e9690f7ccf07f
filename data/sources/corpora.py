"""Normalised corpora: one Parquet file per corpus, all with the same columns, the labels that each really has.

Leaves out the files as published (``data.sources.published``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.files import BadRow, read_rows
from data.schema import INTENTS, FileError, LabelledMention, MentionError, labelled_from_row
from data.sources.registry import Source
from data.sources.times import as_iso


def read_corpora(folder: Path, source: Source, *, unlabelled: bool = False) -> Iterator[LabelledMention]:
    """The mentions of one corpus, from ``FOLDER/NAME.parquet``.

    Args:
        folder: the folder of normalised corpora.
        source: which of them.
        unlabelled: also yield rows that say nothing about any intent.

    Raises:
        FileError: the file is missing or damaged, or a row of it is no labelled mention.
    """
    path = folder / f"{source.corpus}.parquet"
    for row in read_rows(path, required=("id", "text", "brand", "channel", "created_at", *INTENTS)):
        if isinstance(row, BadRow):
            raise FileError(f"{path}: row {row.number}: {row.reason}")
        cells = row.values
        if not unlabelled and all(cells[intent] is None for intent in INTENTS):
            continue
        flat = {name: cells[name] for name in ("brand", "channel", *INTENTS)}
        flat["text"] = cells.get("text_fixed") or cells["text"]  # airline: without the label names in the text
        flat["created_at"] = as_iso(cells["created_at"])
        flat["source"] = source.name
        try:
            yield labelled_from_row(flat, f"{source.name}:{cells['id']}")
        except MentionError as reason:
            raise FileError(f"{path}: row {row.number}: {reason}") from None
