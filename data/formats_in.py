"""How rows are read from CSV, JSON lines and Parquet: one generator per format; a broken row costs itself alone.

Each reads a binary stream; the path only names it where something is wrong. Leaves out which format a path has, how it
is opened and the system's errors (``data.files``), and what a row means (``data.schema``).
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from data.arrow import PARQUET_ROWS, import_pyarrow
from data.schema import INTENTS, LABELLED_FIELDS, FileError, MentionError

MAX_CELL_CHARS = 2**26
"""Longest CSV cell that is read, in characters: room for a row far too long to be scored, which the schema then
refuses by name, and a bound on what an unclosed quote can swallow."""

_UNDECODED = re.compile("[\udc80-\udcff]")  # what errors="surrogateescape" makes of bytes that are not UTF-8
_NOT_UTF8 = "not UTF-8 text; save the file as UTF-8"
_NOT_OBJECTS = {list: "list", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


@dataclass(frozen=True)
class Row:
    """One row of a file: its columns and their cells, flat."""

    number: int
    """1-based among the rows of data; blank lines do not count."""
    values: dict[str, Any]


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read; the rows after it can."""

    number: int
    """1-based among the rows of data, as in ``Row``."""
    reason: MentionError
    """What is wrong with it, on which line or in which column, and what to do."""


def _require_columns(path: str | Path, columns: Sequence[str], required: Sequence[str]) -> None:
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise FileError(f"{path}: two columns are named {twice!r}; rename one of them")
    for name in required:
        if name in columns:
            continue
        others = [column.strip().lower() for column in columns if column not in LABELLED_FIELDS]
        nearest = difflib.get_close_matches(name, others, n=1, cutoff=0.5)
        original = next((column for column in columns if [column.strip().lower()] == nearest), None)
        hint = f"; rename {original!r} if that is it" if original is not None else ""
        if name in INTENTS:
            hint += "; where an intent is not known, leave its cells empty"
        if len(columns) == 1 and (separator := next((mark for mark in ";\t|" if mark in columns[0]), None)):
            hint = f"; it looks separated by {separator!r}, but the columns of a CSV are separated by commas"
        raise FileError(f"{path}: no column {name!r} among {', '.join(map(repr, columns))}{hint}")


def read_csv(path: str | Path, required: Sequence[str], stream: IO[bytes]) -> Iterator[Row | BadRow]:
    """The rows of a comma-separated file with a header line, in UTF-8 with or without a byte order mark."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))  # the only switch is the module's
    # Bytes that are not UTF-8 are carried along as lone surrogates, so that they cost one row and not the file.
    with TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        # Strict, because the lenient reader silently changes a text with stray quotes and swallows rows after one.
        reader = csv.reader(text, strict=True)
        try:
            header = next((cells for cells in reader if cells), None)
        except csv.Error as error:
            raise FileError(f"{path}: line 1 is no CSV header: {error}") from None
        if header is None:
            raise FileError(f"{path}: the file is empty; a CSV begins with a line of column names")
        if any(map(_UNDECODED.search, header)):
            raise FileError(f"{path}: line 1 is {_NOT_UTF8}")
        _require_columns(path, header, required)
        number = 0
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                advice = "put cells with commas, quotes or line breaks in double quotes, and double quotes inside them"
                number += 1
                yield BadRow(number, MentionError("Unreadable row", f"line {line}: {error}; {advice}"))
                continue
            if cells:
                number += 1
                yield _csv_row(number, line, header, cells)


def _csv_row(number: int, line: int, header: list[str], cells: list[str]) -> Row | BadRow:
    if len(cells) != len(header):
        detail = f"line {line} has {len(cells)} cells and the header {len(header)}; put cells with commas in quotes"
        return BadRow(number, MentionError("Unreadable row", detail))
    values = dict(zip(header, cells, strict=True))
    if undecoded := next((name for name, cell in values.items() if _UNDECODED.search(cell)), None):
        return BadRow(number, MentionError("Unreadable row", f"line {line}, column {undecoded}: {_NOT_UTF8}"))
    return Row(number, values)


def read_jsonl(_: str | Path, required: Sequence[str], stream: IO[bytes]) -> Iterator[Row | BadRow]:
    """The rows of a file with one JSON object a line, in UTF-8."""
    number = 0
    for line, raw in enumerate(stream, start=1):
        if line == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if raw.isspace() or not raw:
            continue
        number += 1
        try:
            yield Row(number, _json_object(raw, required))
        except ValueError as error:
            yield BadRow(number, MentionError("Unreadable row", f"line {line}: {error}"))


def _json_object(raw: bytes, required: Sequence[str]) -> dict[str, Any]:
    """The object on one line.

    Raises:
        ValueError: it is none, or not one that can be written again; the message says what to do.
    """
    try:
        value: Any = json.loads(raw.decode("utf-8"))
        if rb"\ud" in raw.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(_NOT_UTF8) from None
    except UnicodeEncodeError:
        raise ValueError(r"half a surrogate pair (\ud800 to \udfff on its own); write the whole character") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON ({error.msg} at column {error.colno}); write one JSON object on each line"
        ) from None
    except (ValueError, RecursionError):
        raise ValueError("a number too long or a nesting too deep to read; shorten it") from None
    if (kind := _NOT_OBJECTS.get(type(value))) is not None:
        raise ValueError(f"a JSON {kind}, not an object; write one JSON object on each line")
    for name in required:
        if name not in value:
            raise ValueError(f"no {name!r} among {', '.join(map(repr, value)) or 'no keys at all'}; add it")
    return dict(value)


def read_parquet(path: str | Path, required: Sequence[str], stream: IO[bytes]) -> Iterator[Row | BadRow]:
    """The rows of a Parquet file, read ``PARQUET_ROWS`` at a time."""
    arrow, parquet = import_pyarrow(path, "reading")
    number = 0
    try:
        file = parquet.ParquetFile(stream)
        _require_columns(path, file.schema_arrow.names, required)
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            yield from _batch_rows(arrow, batch, number)
            number += batch.num_rows
    except (arrow.ArrowException, OSError) as error:
        where = f"unreadable after row {number}" if number else "not a whole Parquet file"
        raise FileError(f"{path}: {where} ({str(error).splitlines()[0]}); write or copy it again") from None


def _batch_rows(arrow: Any, batch: Any, before: int) -> Iterator[Row | BadRow]:
    for index, field in enumerate(batch.schema):
        if arrow.types.is_timestamp(field.type) and field.type.unit == "ns":  # Python's datetime ends at microseconds
            micro = batch.column(index).cast(arrow.timestamp("us", tz=field.type.tz), safe=False)
            batch = batch.set_column(index, field.name, micro)
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError):  # a text that is not UTF-8, a time out of Python's range: find the row
        for index in range(batch.num_rows):
            number = before + index + 1
            try:
                yield Row(number, batch.slice(index, 1).to_pylist()[0])
            except (ValueError, OverflowError) as error:
                yield BadRow(number, MentionError("Unreadable row", f"{error}; write it as UTF-8 text"))
        return
    for index, values in enumerate(rows):
        yield Row(before + index + 1, values)
