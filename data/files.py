"""Files of mentions in and out: CSV, JSON lines and Parquet by extension, row by row, so any length fits in memory.

Leaves out the formats themselves (``data.formats_in``, ``data.formats_out``), what a row means (``data.schema``) and
the files that others publish (``data.sources``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from data.arrow import import_pyarrow
from data.formats_in import BadRow, Row, read_csv, read_jsonl, read_parquet
from data.formats_out import LABELLED_TYPES, CsvWriter, JsonlWriter, ParquetWriter, Writer
from data.schema import (
    INTENTS,
    LABELLED_FIELDS,
    FileError,
    LabelledMention,
    Mention,
    MentionError,
    labelled_from_row,
    labelled_to_row,
    mention_from_row,
)

__all__ = [
    "LABELLED_TYPES",
    "BadRow",
    "Row",
    "Writer",
    "check_output",
    "extension",
    "file_errors",
    "open_writer",
    "read_labelled",
    "read_mentions",
    "read_rows",
    "write_labelled",
]

_READERS: dict[str, Callable[[str | Path, Sequence[str], IO[bytes]], Iterator[Row | BadRow]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
_WRITERS: dict[str, Callable[[str | Path, Sequence[str] | Mapping[str, type]], Writer]] = {
    ".csv": CsvWriter,
    ".jsonl": JsonlWriter,
    ".parquet": ParquetWriter,
}


def read_rows(
    path: str | Path, *, required: Sequence[str] = ("text",), stream: IO[bytes] | None = None
) -> Iterator[Row | BadRow]:
    """The rows of a file, one at a time; ``-`` is JSON lines on stdin.

    Args:
        path: a ``.csv``, ``.jsonl`` or ``.parquet`` file.
        required: columns that must be there. CSV and Parquet have them in their header or are refused; a JSON line
            without one of them is a ``BadRow``.
        stream: what is in the file, where somebody else has opened it; for Parquet it can seek. It may be closed here.

    Raises:
        FileError: at the first row: no such file, unknown extension, a required column missing, not the format
            that the extension says; at any row of a damaged Parquet file.
    """
    with file_errors(path), ExitStack() as stack:
        read = _READERS[extension(path)]
        if stream is None:
            stream = sys.stdin.buffer if str(path) == "-" else stack.enter_context(open(path, "rb"))
        yield from read(path, required, stream)


def read_mentions(path: str | Path) -> Iterator[tuple[int, Mention | MentionError]]:
    """Row number and mention of each row, or why it is none; a mention without ``id`` has its row number as id.

    Raises:
        FileError: as in ``read_rows``.
    """
    for row in read_rows(path):
        if isinstance(row, BadRow):
            yield row.number, row.reason
            continue
        try:
            yield row.number, mention_from_row(row.values, str(row.number))
        except MentionError as reason:
            yield row.number, reason


def read_labelled(path: str | Path) -> list[LabelledMention]:
    """Every labelled mention of a file that has ``text`` and the five intent columns.

    A JSON line may leave intents out (not known), but the first one must have at least one of them.

    Raises:
        FileError: as in ``read_rows``, and at the first row that is no labelled mention, with its number and column.
    """
    jsonl = extension(path) == ".jsonl"
    mentions: list[LabelledMention] = []
    for row in read_rows(path, required=("text",) if jsonl else ("text", *INTENTS)):
        if isinstance(row, BadRow):
            raise FileError(f"{path}: row {row.number}: {row.reason}")
        if not mentions and not any(intent in row.values for intent in INTENTS):
            raise FileError(f"{path}: row {row.number} has none of the intents {', '.join(INTENTS)}; add their labels")
        try:
            mentions.append(labelled_from_row(row.values, str(row.number)))
        except MentionError as reason:
            raise FileError(f"{path}: row {row.number}: {reason}") from None
    return mentions


def open_writer(path: str | Path, columns: Sequence[str] | Mapping[str, type]) -> Writer:
    """A writer for the format that the extension names; ``-`` is JSON lines on stdout.

    Rows go to ``PATH.part``, which takes PATH's place on a clean close and is deleted otherwise. Lists and objects
    are JSON strings in CSV and Parquet; a JSON line is the row as given.

    Args:
        path: a ``.csv``, ``.jsonl`` or ``.parquet`` file in a folder that exists.
        columns: the columns of CSV and Parquet, in order; as a mapping also their types (``str``, ``int``,
            ``float``, ``bool``). Types not given are those of a labelled mention's columns, else Parquet goes by
            the first ``4,096`` rows.

    Raises:
        FileError: unknown extension, or the file cannot be written there.
    """
    check_output(path)
    with file_errors(path):
        return _WRITERS[extension(path)](path, columns)


def check_output(path: str | Path) -> None:
    """Whether ``open_writer`` will know what to do, before there is anything to write.

    Raises:
        FileError: unknown extension, no such folder, or Parquet without what writes it.
    """
    if extension(path) == ".parquet":
        import_pyarrow(path, "writing")
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileError(f"{path}: there is no folder {folder}; create it first")


def write_labelled(path: str | Path, mentions: Iterable[LabelledMention]) -> None:
    """Write labelled mentions so that ``read_labelled`` reads back the same.

    Raises:
        FileError: as in ``open_writer``.
    """
    with open_writer(path, LABELLED_FIELDS) as writer:
        for mention in mentions:
            writer.write(labelled_to_row(mention))


def extension(path: str | Path) -> str:
    """The format of a file of mentions: ``.csv``, ``.jsonl`` (that of ``-`` too) or ``.parquet``.

    Raises:
        FileError: it has another.
    """
    if str(path) == "-":
        return ".jsonl"
    found = Path(path).suffix.lower()
    if found not in _READERS:
        raise FileError(f"{path}: a file of mentions ends in .csv, .jsonl or .parquet")
    return found


@contextmanager
def file_errors(path: str | Path) -> Iterator[None]:
    """The system's errors as ours, which name the file."""
    try:
        yield
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).splitlines()[0].lower()}") from None
