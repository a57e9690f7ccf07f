"""Files of mentions as chunks of rows for Ray Data: fixed by the file alone, read in constant memory.

Leaves out the formats (``data.files``) and what becomes of a chunk (``serving.on_ray.actor``). A chunk travels as one
value, so that Ray may cut, gather and repeat its blocks as it likes: whoever reads a file again makes the same chunks.
"""

from __future__ import annotations

import pickle  # nosec B403
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from data.files import BadRow, Row, read_rows
from data.places import StoredFile
from data.schema import MENTION_FIELDS, FileError, unknown_columns

_ROWS, _ROWS_EXPLAINED = 8_192, 512
"""Rows of a chunk at most, some ten seconds of one core: what a killed process loses."""
CHUNK_CHARACTERS = 2**23
"""Characters after which no row is added to a chunk: rows may be as long as they like."""


class Chunk(NamedTuple):
    """Rows of a file that stand one after another."""

    file: int
    """Which of the job's files, from 0."""
    number: int
    """Which of the file's chunks, from 0."""
    last: bool
    """Whether the file has no further ones."""
    rows: Sequence[Row | BadRow]
    unread: Sequence[str]
    """Columns of theirs that nobody looks at."""
    failure: str | None
    """Why the file cannot be read any further."""


def chunk_rows(explain: bool) -> int:
    """Rows of a chunk at most: fewer where results are explained, which takes many times as long."""
    return _ROWS_EXPLAINED if explain else _ROWS


def read_chunks(file: StoredFile, index: int, most: int) -> Iterator[Chunk]:
    """The chunks of a file, one at least; the last says what is wrong with the file.

    Args:
        file: CSV, JSON lines or Parquet.
        index: which of the job's files it is, from 0.
        most: rows of a chunk.

    Raises:
        FileError: the file cannot be opened.
    """
    rows: list[Row | BadRow] = []
    unread: list[str] = []
    number = characters = 0
    failure: str | None = None
    with file.opened() as stream:
        try:
            for row in read_rows(str(file.place), stream=stream):
                if len(rows) == most or characters > CHUNK_CHARACTERS:
                    yield Chunk(index, number, False, rows, unread, None)
                    rows, unread, characters, number = [], [], 0, number + 1
                if isinstance(row, Row):
                    unread += unknown_columns(row.values, unread)
                    row = Row(row.number, {name: row.values[name] for name in MENTION_FIELDS if name in row.values})
                    characters += sum(len(cell) for cell in row.values.values() if isinstance(cell, str))
                rows.append(row)
        except FileError as error:
            failure = str(error)
    yield Chunk(index, number, True, rows, unread, failure)


class Mentions(Datasource):
    """Files of mentions as a source of Ray Data: a task for each file, a row for each chunk."""

    def __init__(self, files: Sequence[StoredFile], most: int) -> None:
        self._files, self._most = files, most

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        """The tasks, whatever number of them is wished for."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(partial(_blocks, file, index, self._most), unknown) for index, file in enumerate(self._files)]

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known: Parquet is compressed."""
        return None


def _blocks(file: StoredFile, index: int, most: int) -> Iterator[pa.Table]:
    for chunk in read_chunks(file, index, most):
        # Cells of Parquet may be of any type, so JSON would not do; Ray itself moves pickles between its processes.
        yield pa.table({"chunk": pa.array([pickle.dumps(chunk)], pa.large_binary())})
