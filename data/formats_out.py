"""How rows are written to CSV, JSON lines and Parquet: a file takes its place only when it is whole.

Leaves out which format a path has and the system's errors (``data.files``).
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from data.arrow import PARQUET_ROWS, import_pyarrow
from data.schema import AUTHOR_FIELDS, INTENTS, LABELLED_FIELDS, FileError

LABELLED_TYPES: dict[str, type] = {
    **dict.fromkeys(LABELLED_FIELDS, str),
    **dict.fromkeys(AUTHOR_FIELDS, float),
    **dict.fromkeys(INTENTS, int),
}
"""Type of each column of labelled mentions, in their order."""


class Writer(Protocol):
    """Writes rows to one file; used in a ``with``, an exception leaves no file behind."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row; columns that it lacks are empty."""

    def close(self) -> None:
        """Finish the file and put it in its place."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def _flat(value: Any) -> Any:
    """A cell for a format without nesting."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_json_time)
    return value.isoformat() if isinstance(value, date) else value


def _json_time(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written to a file of mentions")


class _PartFile:
    """A file that takes its place only when it is whole; ``-`` is stdout, which has no such thing."""

    def __init__(self, path: str | Path, columns: Sequence[str] | Mapping[str, type]) -> None:
        self._path = Path(path)
        self._part = None if str(path) == "-" else Path(f"{path}.part")
        self._columns = list(columns)
        self._stream: IO[bytes] = self._part.open("wb") if self._part else sys.stdout.buffer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self.close()
        except BaseException:
            self._discard()
            raise

    def close(self) -> None:
        """Finish the file and put it in its place; a second call does nothing."""
        if self._stream.closed:
            return
        self._finish()
        self._stream.flush()
        if self._part:
            self._stream.close()
            self._part.replace(self._path)

    def _discard(self) -> None:
        if self._part:
            self._stream.close()
            self._part.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Write what is still held back."""


class JsonlWriter(_PartFile):
    """One JSON object a line, as given; ``-`` is stdout."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        line = json.dumps(row, ensure_ascii=False, default=_json_time)
        self._stream.write(line.encode("utf-8") + b"\n")


class CsvWriter(_PartFile):
    """Comma-separated cells under a header line, quoted where they must be."""

    def __init__(self, path: str | Path, columns: Sequence[str] | Mapping[str, type]) -> None:
        super().__init__(path, columns)
        self._text = io.StringIO()
        self._plain = csv.writer(self._text, lineterminator="\n")
        # The plain writer quotes what holds its own line end, "\n", but not a lone "\r", which every reader splits at.
        self._quoted = csv.writer(self._text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._append(self._columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        cells = [_flat(row.get(name)) for name in self._columns]
        self._append([json.dumps(cell) if isinstance(cell, bool) else cell for cell in cells])

    def _append(self, cells: Sequence[Any]) -> None:
        writer = self._quoted if any(isinstance(cell, str) and "\r" in cell for cell in cells) else self._plain
        writer.writerow(cells)
        self._stream.write(self._text.getvalue().encode("utf-8"))
        self._text.seek(0)
        self._text.truncate()


class ParquetWriter(_PartFile):
    """Row groups of ``PARQUET_ROWS`` rows, compressed with zstd."""

    def __init__(self, path: str | Path, columns: Sequence[str] | Mapping[str, type]) -> None:
        self._arrow, self._parquet = import_pyarrow(path, "writing")
        super().__init__(path, columns)
        self._types = {**LABELLED_TYPES, **(columns if isinstance(columns, Mapping) else {})}
        self._rows: list[Mapping[str, Any]] = []
        self._writer: Any = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self._rows.append(row)
        if len(self._rows) == PARQUET_ROWS:
            self._write_group()

    def _finish(self) -> None:
        if self._rows or self._writer is None:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        cells = {name: [_flat(row.get(name)) for row in self._rows] for name in self._columns}
        if self._writer is None:
            schema = self._arrow.schema([(name, self._type(name, cells[name])) for name in self._columns])
            self._writer = self._parquet.ParquetWriter(self._stream, schema, compression="zstd")
        arrays = []
        for field in self._writer.schema:
            column = cells[field.name]
            if field.type == self._arrow.string():
                column = [cell if cell is None or isinstance(cell, str) else json.dumps(cell) for cell in column]
            elif field.type != "double" and any(isinstance(cell, float) for cell in column):
                raise FileError(
                    f"{self._path}: column {field.name} is {field.type}, but has fractions"
                )  # or Arrow cuts
            try:
                arrays.append(self._arrow.array(column, field.type))
            except (self._arrow.ArrowException, OverflowError) as error:
                raise FileError(f"{self._path}: column {field.name} is {field.type}, but {error}") from None
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._writer.schema))
        self._rows.clear()

    def _type(self, name: str, cells: list[Any]) -> Any:
        """The column's Arrow type: as given, else by its first cells; a column that begins empty holds strings."""
        found = {type(cell) for cell in cells if cell is not None}
        guess = bool if found == {bool} else float if found and found <= {int, float} else str
        names = {bool: "bool", int: "int8" if name in INTENTS else "int64", float: "double", str: "string"}
        return self._arrow.type_for_alias(names[self._types.get(name, guess)])

    def _discard(self) -> None:
        if self._writer is not None and not self._stream.closed:
            self._writer.close()  # it writes a footer when it goes, so it goes before its stream
        super()._discard()
