"""``firstreply score``: a file of mentions in, a file of results out, of any length in constant memory.

Leaves out the formats of files (``data.files``), what a result holds (``model.triage``) and what is said on the way
(``serving.progress``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from data.files import BadRow, Row, Writer, file_errors, open_writer, read_rows
from data.schema import INTENTS, FileError, Mention, MentionError, mention_from_row, unknown_columns
from model.cascade import is_cascade, load_reader
from model.pipeline import Pipeline
from model.policy import Policy
from model.triage import Ready, Triage
from serving.progress import Progress

_COLUMNS_SAID = 20
"""Unknown columns that are named; JSON lines may have any number of them."""


@dataclass(frozen=True)
class BulkJob:
    """One file to score, and with what."""

    input: str
    """``.jsonl``, ``.csv`` or ``.parquet``; ``-`` is JSON lines on stdin."""
    output: str | None
    """The same kinds; ``-`` is stdout. None: INPUT's stem with ``.scored.jsonl``, beside it; stdout for stdin."""
    bundle: Path
    """Bundle folder."""
    brands: Path | None
    """Brands file; None is the bundle's own."""
    policy: Path | None
    """Policy file; None is the default one."""
    cut: str
    """Which of the bundle's cuts makes labels of probabilities."""
    as_of: datetime
    """The moment at which waiting times end; a mention without ``created_at`` is of this moment."""
    explain: bool = False
    """Also say which words moved each label."""
    remember: int = 0
    """Mentions whose reading is kept in memory, so that a repeat costs nothing (``model.scorer.Scorer``)."""


_Results = list[dict[str, Any]] | MentionError


@dataclass(frozen=True)
class _Reading:
    """A row and the mention in it, or why there is none."""

    number: int
    identifier: str | None
    mention: Mention | MentionError


def score_file(job: BulkJob) -> int:
    """Score every row of a file; results are in the order of the rows.

    A row that cannot be scored goes to ``OUTPUT.rejects.jsonl``, or to stderr when OUTPUT is stdout. OUTPUT takes its
    place only when it is whole: a job that fails or is interrupted leaves what was there before.

    Returns:
        Exit status: 0 all scored, 3 some rows rejected.

    Raises:
        FirstreplyError: a file that cannot be used.
        BrokenPipeError: nobody reads stdout any more.
    """
    output = job.output or _default_output(job.input)
    rejects = f"{output}.rejects.jsonl"
    if job.input != "-" and Path(job.input).resolve() in (Path(output).resolve(), Path(rejects).resolve()):
        raise FileError(f"{job.input}: would be read and written at once; give another -o OUTPUT")
    if output == "-":
        return _score(job, output, rejects)
    with file_errors(output):
        return _score(job, output, rejects)


def _score(job: BulkJob, output: str, rejects: str) -> int:
    rows = read_rows(job.input)
    first = next(rows, None)  # before anything is loaded or written: most of what is wrong with a file shows here
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(output, _columns(job.explain, is_cascade(job.bundle))))
        rejected = stack.enter_context(_Rejects(output, rejects))
        triage = Triage(
            load_reader(job.bundle, brands=job.brands, remember=job.remember), Policy.load(job.policy), job.cut
        )
        progress = stack.enter_context(Progress(output))
        as_row = _result_row if output == "-" or Path(output).suffix.lower() == ".jsonl" else _flat_row

        def prepared(readings: Iterator[_Reading]) -> Iterator[tuple[_Reading, Ready | MentionError]]:
            for one in readings:
                yield one, triage.prepare(one.mention) if isinstance(one.mention, Mention) else one.mention

        def answer(turn: Sequence[tuple[_Reading, Ready | MentionError]]) -> list[tuple[_Reading, _Results]]:
            ready = [what for _, what in turn if isinstance(what, Ready)]
            answers = iter(triage.answer_ready(ready, as_of=job.as_of, explain=job.explain))
            return [(one, next(answers) if isinstance(what, Ready) else what) for one, what in turn]

        pipeline = stack.enter_context(Pipeline())
        readings = _readings(chain([] if first is None else [first], rows))
        for reading, results in pipeline.in_order(answer, prepared(readings)):
            if isinstance(results, MentionError):
                rejected.write({"row": reading.number, "id": reading.identifier, "reason": str(results)})
                progress.rejected()
                continue
            for result in results:
                writer.write(as_row(result, triage.name))
            progress.scored(results)
    progress.summary()
    return 3 if rejected.any else 0


def _default_output(source: str) -> str:
    return "-" if source == "-" else str(Path(source).with_suffix(".scored.jsonl"))


def _readings(rows: Iterator[Row | BadRow]) -> Iterator[_Reading]:
    """The mention of each row; columns that nobody looks at are named on stderr when they first come."""
    said: set[str] = set()
    for row in rows:
        if isinstance(row, BadRow):
            yield _Reading(row.number, None, row.reason)
            continue
        if len(said) < _COLUMNS_SAID and (
            unknown := [name for name in unknown_columns(row.values) if name not in said]
        ):
            said.update(unknown)
            print(f"firstreply: columns that are not read: {', '.join(unknown[:_COLUMNS_SAID])}", file=sys.stderr)
        given = row.values.get("id")
        try:
            mention: Mention | MentionError = mention_from_row(row.values, str(row.number))
        except MentionError as reason:
            mention = reason
        yield _Reading(row.number, str(row.number if given in (None, "") else given), mention)


def _columns(explain: bool, tier: bool) -> dict[str, type]:
    """Columns of CSV and Parquet outputs, and their types."""
    columns: dict[str, type] = {"id": str, "brand": str}
    columns |= {f"p_{intent}": float for intent in INTENTS}
    columns |= {"labels": str, "priority": str, "queue": str, "truncated": bool, "uncertain": bool}
    columns |= {"tier": str} if tier else {}
    return columns | ({"why": str} if explain else {}) | {"model": str}


def _result_row(result: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A result as it is answered over HTTP, and who answered."""
    return {**result, "model": model}


def _flat_row(result: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A result as cells of CSV or Parquet."""
    return {
        **result,
        **{f"p_{intent}": probability for intent, probability in result["probabilities"].items()},
        "labels": "|".join(result["labels"]),
        "truncated": result.get("truncated", False),
        "uncertain": result.get("uncertain", False),
        "model": model,
    }


class _Rejects:
    """Rows that could not be scored, one JSON object a line: beside OUTPUT, or on stderr when that is stdout.

    The file is there when there is something in it: one that an earlier job left is removed.
    """

    def __init__(self, output: str, path: str) -> None:
        self.any = False
        self._path = None if output == "-" else path
        self._writer: Writer | None = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self.any = True
        if self._path is None:
            print(json.dumps(row, ensure_ascii=False), file=sys.stderr)
            return
        if self._writer is None:
            self._writer = open_writer(self._path, ())
        self._writer.write(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)
        elif self._path is not None and kind is None:
            Path(self._path).unlink(missing_ok=True)
