"""pyarrow, imported only where Parquet is met: the base install does without it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from data.schema import FileError

PARQUET_ROWS = 4096
"""Rows held at a time when Parquet is read or written; the size of a row group that is written."""


def import_pyarrow(path: str | Path, doing: str) -> tuple[Any, Any]:
    """``pyarrow`` and ``pyarrow.parquet``, or one line that says what to install."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise FileError(f"{path}: {doing} Parquet needs pyarrow; install firstreply[parquet]") from None
