"""``firstreply score``: a file of mentions in, a file of results out, of any length in constant memory.

Leaves out the formats of files (``data.files``), what a result holds (``model.triage``), the processes that score
(``serving.workers``), what a job that was killed leaves (``serving.unfinished``), what is said on the way
(``serving.progress``), and many machines (``serving.on_ray``).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from data.files import BadRow, Row, check_output, file_errors, open_writer, read_rows
from data.schema import INTENTS, FileError, Mention, MentionError, mention_from_row, unknown_columns
from model.cascade import is_cascade
from model.pipeline import TURN, usable_cores
from model.triage import Triage
from serving.progress import Progress
from serving.unfinished import Tally, Unfinished
from serving.workers import in_order

_CHUNK = 32
"""Rows that a process is given at once; to explain, which takes longer, ``TURN``."""


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
    as_of: datetime | None = None
    """The moment at which waiting times end; a mention without ``created_at`` is of this moment. None is when the job
    was begun."""
    explain: bool = False
    """Also say which words moved each label."""
    remember: int = 0
    """Mentions whose reading is kept in memory, so that a repeat costs nothing (``model.scorer.Scorer``)."""


def score_file(job: BulkJob) -> int:
    """Score every row of a file; results are in the order of the rows.

    A row that cannot be scored goes to ``OUTPUT.rejects.jsonl``, or to stderr when OUTPUT is stdout. OUTPUT takes its
    place only when it is whole: a job that fails or is interrupted leaves what was there before. When INPUT is a file,
    the same job begun again goes on where it was.

    Returns:
        Exit status: 0 all scored, 3 some rows rejected.

    Raises:
        FirstreplyError: a file that cannot be used.
        BrokenPipeError: nobody reads stdout any more.
    """
    output = job.output or _default_output(job.input)
    rejects = Path(f"{output}.rejects.jsonl")
    if job.input != "-" and Path(job.input).resolve() in (Path(output).resolve(), rejects.resolve()):
        raise FileError(f"{job.input}: would be read and written at once; give another -o OUTPUT")
    rows = read_rows(job.input)
    first = next(rows, None)  # before anything is loaded or written: most of what is wrong with a file shows here
    rows = chain([] if first is None else [first], rows)
    if output == "-":
        scoring = Scoring(job, job.as_of or datetime.now(UTC))
        tally = _score(job, scoring, rows, _Streams())
    else:
        check_output(output)
        with file_errors(output):
            tally = _to_file(job, rows, output, rejects)
    return 3 if tally.rejected else 0


def _to_file(job: BulkJob, rows: Iterator[Row | BadRow], output: str, rejects: Path) -> Tally:
    triage = load_triage(job)
    identity = _identity(job, triage)
    with Unfinished(output, identity) as unfinished:
        if unfinished.left:
            say(f"{output}: begun anew; what was done before does not count: {unfinished.left}")
        done = unfinished.tally.rows
        if done:
            say(f"{output}: going on after the {done:,} rows that are done")
        begun = datetime.fromisoformat(unfinished.as_of) if unfinished.as_of else datetime.now(UTC)
        unfinished.as_of = begun.isoformat()
        _score(job, Scoring(job, job.as_of or begun, triage), islice(rows, done, None), unfinished)
        if identity != _identity(job, triage):
            raise FileError(f"{job.input}: was changed while it was read; score it again")
        _put_in_place(unfinished, Path(output), rejects, columns_of(job.explain, is_cascade(job.bundle)))
    return unfinished.tally


def _score(job: BulkJob, scoring: Scoring, rows: Iterable[Row | BadRow], into: _Streams | Unfinished) -> Tally:
    """Score rows, and say how far it is."""
    chunks = _chunks(_columns_said(rows), TURN if job.explain else _CHUNK)
    with (
        Progress(into.tally) as progress,
        closing(in_order(scoring, chunks, usable_cores())) as answers,
    ):
        for scored in answers:
            into.append(*scored)
            progress.said()
    progress.summary(into.name, into.rejects)
    return into.tally


class _Streams:
    """Results to stdout and rejects to stderr."""

    name, rejects = "stdout", "stderr"

    def __init__(self) -> None:
        self.tally = Tally()

    def append(self, results: bytes, rejects: bytes, tally: Tally) -> None:
        """Write the lines of some more rows."""
        self.tally.add(tally)
        sys.stderr.write(rejects.decode("utf-8"))
        sys.stdout.buffer.write(results)
        sys.stdout.buffer.flush()


class Scored(NamedTuple):
    """What came of some rows: JSON lines of results and of rejects, and how many."""

    results: bytes
    rejects: bytes
    tally: Tally


class Scoring:
    """What is done with some rows, in whatever process; a pickle of it loads the bundle again."""

    def __init__(self, job: BulkJob, as_of: datetime, triage: Triage | None = None) -> None:
        self._job, self._as_of = job, as_of
        self._triage = triage or load_triage(job)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._job, self._as_of)

    def __call__(self, rows: Sequence[Row | BadRow]) -> Scored:
        """Score rows, in their order."""
        results: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        iterator = iter(rows)
        while turn := [(row, _mention(row)) for row in islice(iterator, TURN)]:
            ready = [self._triage.prepare(mention) for _, mention in turn if isinstance(mention, Mention)]
            answers = iter(self._triage.answer_ready(ready, as_of=self._as_of, explain=self._job.explain))
            for row, mention in turn:
                answer = next(answers) if isinstance(mention, Mention) else mention
                if isinstance(answer, MentionError):
                    rejects.append({"row": row.number, "id": _identifier(row), "reason": str(answer)})
                else:
                    results += [{**result, "model": self._triage.name} for result in answer]
        labels = Counter(label for result in results for label in result["labels"])
        return Scored(json_lines(results), json_lines(rejects), Tally(len(rows), len(rejects), len(results), labels))


def load_triage(job: BulkJob) -> Triage:
    """What answers the mentions of a job.

    Raises:
        FirstreplyError: a file that cannot be used.
    """
    return Triage.load(job.bundle, brands=job.brands, policy=job.policy, cut=job.cut, remember=job.remember)


def _identity(job: BulkJob, triage: Triage) -> dict[str, Any] | None:
    """What the results depend on; None where the input can be read only once."""
    source = Path(job.input)
    if not source.is_file():
        return None
    status = source.stat()
    return {"input": [str(source.resolve()), status.st_size, status.st_mtime_ns], **reading_identity(job, triage)}


def reading_identity(job: BulkJob, triage: Triage) -> dict[str, Any]:
    """What the results depend on besides the input."""
    return {
        "model": [triage.name, triage.sha256],
        "policy": triage.policy.sha256,
        "cut": triage.cut,
        "time": job.as_of and job.as_of.isoformat(),
        "output": "explained" if job.explain else "plain",
    }


def _put_in_place(unfinished: Unfinished, output: Path, rejects: Path, columns: Mapping[str, type]) -> None:
    if output.suffix.lower() == ".jsonl":
        unfinished.finish(output, rejects)
        return
    with open_writer(output, columns) as writer:
        for result in unfinished.results():
            writer.write(flat_row(result))
    unfinished.finish(None, rejects)


def _default_output(source: str) -> str:
    return "-" if source == "-" else str(Path(source).with_suffix(".scored.jsonl"))


def _columns_said(rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
    """The rows; columns that nobody looks at are named on stderr when they first come."""
    said: set[str] = set()
    for row in rows:
        if isinstance(row, Row) and (unknown := unknown_columns(row.values, said)):
            said.update(unknown)
            say(f"columns that are not read: {', '.join(unknown)}")
        yield row


def _chunks(rows: Iterator[Row | BadRow], size: int) -> Iterator[list[Row | BadRow]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def _mention(row: Row | BadRow) -> Mention | MentionError:
    if isinstance(row, BadRow):
        return row.reason
    try:
        return mention_from_row(row.values, str(row.number))
    except MentionError as reason:
        return reason


def _identifier(row: Row | BadRow) -> str | None:
    """The id of a row that is no mention, where it can have one."""
    if isinstance(row, BadRow):
        return None
    given = row.values.get("id")
    return str(row.number if given in (None, "") else given)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")


def say(what: str) -> None:
    """Say something on stderr, now."""
    print(f"firstreply: {what}", file=sys.stderr, flush=True)


def columns_of(explain: bool, tier: bool) -> dict[str, type]:
    """Columns of CSV and Parquet outputs, and their types."""
    columns: dict[str, type] = {"id": str, "brand": str}
    columns |= {f"p_{intent}": float for intent in INTENTS}
    columns |= {"labels": str, "priority": str, "queue": str, "truncated": bool, "uncertain": bool}
    columns |= {"tier": str} if tier else {}
    return columns | ({"why": str} if explain else {}) | {"model": str}


def flat_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as cells of CSV or Parquet."""
    return {
        **result,
        **{f"p_{intent}": probability for intent, probability in result["probabilities"].items()},
        "labels": "|".join(result["labels"]),
        "truncated": result.get("truncated", False),
        "uncertain": result.get("uncertain", False),
    }
