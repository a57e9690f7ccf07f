"""The results of a job that is not finished: kept beside OUTPUT, so that a job that was killed goes on where it was.

Leaves out what is scored (``serving.bulk``). Three files lie beside OUTPUT while a job runs: its results and its
rejects so far, one JSON object a line, and a record of how many rows and bytes of them are surely on disk. What was
written after the last record is cut off before the job goes on.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from data.schema import FileError

_RECORD_SECONDS = 0.25
"""Work that a kill may cost, besides what is under way."""


@dataclass
class Tally:
    """What has been done of a file."""

    rows: int = 0
    rejected: int = 0
    results: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    """How often each intent was asserted."""

    def add(self, more: Tally) -> None:
        """Count what was done besides."""
        self.rows += more.rows
        self.rejected += more.rejected
        self.results += more.results
        self.labels = Counter(self.labels) + Counter(more.labels)


class Unfinished:
    """Results and rejects so far. Used in a ``with``: what ends it leaves the files for the next time.

    But a ``FileError``, which would come again, leaves nothing.

    Args:
        output: the file that is to be.
        job: what the results depend on; what was left by another job is not gone on with. None where nothing can be
            gone on with: then an exception leaves nothing.

    Raises:
        FileError: another process is at work on the same OUTPUT.
        OSError: the files cannot be written.
    """

    def __init__(self, output: str, job: Mapping[str, Any] | None) -> None:
        self._results_path = Path(f"{output}.unfinished.jsonl")
        self._rejects_path = Path(f"{output}.rejects.unfinished.jsonl")
        self._record_path = Path(f"{output}.unfinished.json")
        self.name, self.rejects, self._job = output, f"{output}.rejects.jsonl", job
        self.tally = Tally()
        self.as_of: str | None = None
        """The moment that the job counted as its beginning, where there is one to go on with."""
        self.left: str | None = None
        """Why what an earlier job left was thrown away, where it was."""
        self._results = self._results_path.open("a+b")
        try:
            _lock(self._results, self._results_path, output)
            self._rejects = self._rejects_path.open("ab")
        except BaseException:
            self._results.close()
            raise
        sizes = self._resume()
        for stream, size in zip((self._results, self._rejects), sizes, strict=True):
            stream.truncate(size)
            stream.seek(size)
        self._recorded = time.monotonic()
        self._kept = self.tally.rows
        self._torn = False

    def append(self, results: bytes, rejects: bytes, tally: Tally) -> None:
        """Keep the lines of some more rows."""
        self._torn = True
        self._results.write(results)
        self._rejects.write(rejects)
        self.tally.add(tally)
        self._torn = False
        if time.monotonic() - self._recorded >= _RECORD_SECONDS:
            self.record()

    def record(self) -> None:
        """Bring everything to disk, and say how much that is."""
        for stream in (self._results, self._rejects):
            stream.seek(0, os.SEEK_END)  # it may be read at the moment
            os.fsync(stream.fileno())
        if self._job is not None:
            record = {
                "job": self._job,
                "as_of": self.as_of,
                "bytes": [self._results.tell(), self._rejects.tell()],
                "tally": vars(self.tally),
            }
            new = Path(f"{self._record_path}.new")
            with new.open("w", encoding="utf-8") as written:
                json.dump(record, written)
                written.flush()
                os.fsync(written.fileno())
            new.replace(self._record_path)
            self._kept = self.tally.rows
        self._recorded = time.monotonic()

    def results(self) -> Iterator[dict[str, Any]]:
        """Everything that has been kept, from the beginning."""
        self._results.seek(0)
        yield from map(json.loads, self._results)

    def finish(self, results: Path | None, rejects: Path) -> None:
        """Put the files in their places: the results too, unless they went elsewhere (None)."""
        self.record()
        if self._rejects.tell():
            self._rejects_path.replace(rejects)
        else:
            rejects.unlink(missing_ok=True)
            self._rejects_path.unlink()
        if results is None:
            self._results_path.unlink()
        else:
            self._results_path.replace(results)
        self._record_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing."""
        for path in (self._record_path, self._results_path, self._rejects_path):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            if self._job is not None and not self._torn and not issubclass(kind, FileError):
                with suppress(OSError):  # then the last record counts
                    self.record()
            if self._kept == 0 or issubclass(kind, FileError):
                self.discard()
            else:
                kept = f"{self._kept:,} rows are done; the same command goes on after them"
                print(f"firstreply: {self.name}: {kept}", file=sys.stderr, flush=True)
        for stream in (self._results, self._rejects):
            with suppress(OSError):
                stream.close()

    def _resume(self) -> tuple[int, int]:
        """Take up what an earlier job left; bytes of results and rejects that count."""
        if not self._record_path.exists():
            return 0, 0
        try:
            record = json.loads(self._record_path.read_text(encoding="utf-8"))
            tally, (results, rejects) = Tally(**record["tally"]), map(int, record["bytes"])
            there = self._results.tell(), self._rejects.tell()
            if record["job"] != self._job:
                before, now = record["job"] or {}, self._job or {}
                changed = [name for name in now if before.get(name) != now[name]]
                self.left = f"it was of another {', '.join(changed) or 'kind of input'}"
            elif there[0] < results or there[1] < rejects:
                self.left = "it is damaged"
            else:
                self.tally, self.as_of = tally, record["as_of"]
                return results, rejects
        except (ValueError, KeyError, TypeError, AttributeError):
            self.left = "it is damaged"
        self._record_path.unlink()
        return 0, 0


def _lock(stream: IO[bytes], path: Path, output: str) -> None:
    """Held until this process ends or closes the file; where there are no such locks, nothing.

    Raises:
        FileError: another process has it, or has just put the file in its place.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            raise FileNotFoundError(path)
    except OSError:
        raise FileError(f"{output}: another process is writing it; wait for it, or give another -o OUTPUT") from None
