from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.schema import INTENTS, FileError, mention_from_row
from model.errors import BundleError
from model.triage import Triage
from serving.bulk import BulkJob, score_file

AS_OF = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "Third outage this week. I am leaving @northtel for @skyfone.", "brand": "northtel|skyfone"},
    {"id": "b", "text": 'Where is my order, @shop?\nStill nothing, and "no" answer', "brand": None, "followers": 120.0},
    {"id": "c", "text": "Bien joué 😀", "brand": "northtel", "created_at": "2026-11-20T08:00:00+00:00"},
    {"id": "d", "text": "word " * 500, "brand": "northtel"},
]
COLUMNS = ("id", "text", "brand", "followers", "created_at")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """An input file, written without the code under test."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in COLUMNS} for row in rows]), path)
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def score(tiny_bundle: Path) -> Any:
    """Score a file with the tiny bundle: ``score(input, output, **fields of the job)`` → exit status."""

    def run(source: Path | str, output: Path | str | None = None, **fields: Any) -> int:
        job = {"bundle": tiny_bundle, "brands": None, "policy": None, "cut": "balanced", "as_of": AS_OF, **fields}
        return score_file(BulkJob(input=str(source), output=None if output is None else str(output), **job))

    return run


def expected(triage: Triage, rows: Sequence[Mapping[str, Any]], explain: bool = False) -> list[dict[str, Any]]:
    """The objects that the endpoint would answer, with the model's name."""
    found = [mention_from_row(row, str(number)) for number, row in enumerate(rows, start=1)]
    answers = [answer for one in found for answer in triage.answer(one, as_of=AS_OF, explain=explain)]
    return [{**answer, "model": triage.name} for answer in answers]


@pytest.mark.parametrize(("kind", "explain"), [("jsonl", False), ("csv", False), ("parquet", False), ("parquet", True)])
def test_json_lines_hold_the_endpoints_results_whatever_the_input(
    score: Any, tiny_triage: Triage, tmp_path: Path, kind: str, explain: bool
) -> None:
    source = write_rows(tmp_path / f"mentions.{kind}", ROWS)
    assert score(source, tmp_path / "out.jsonl", explain=explain) == 0
    assert read_lines(tmp_path / "out.jsonl") == expected(tiny_triage, ROWS, explain)
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, "out.jsonl"])


@pytest.mark.parametrize("explain", [False, True])
def test_csv_has_a_column_for_each_probability_and_json_in_nested_cells(
    score: Any, tiny_triage: Triage, tmp_path: Path, explain: bool
) -> None:
    assert score(write_rows(tmp_path / "in.jsonl", ROWS), tmp_path / "out.csv", explain=explain) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    for row, result in zip(found, expected(tiny_triage, ROWS, explain), strict=True):
        assert row == {
            "id": result["id"],
            "brand": result["brand"] or "",
            **{f"p_{intent}": str(result["probabilities"][intent]) for intent in INTENTS},
            "labels": "|".join(result["labels"]),
            "priority": row["priority"],
            "queue": result["queue"],
            "truncated": "true" if "truncated" in result else "false",
            "uncertain": "true" if "uncertain" in result else "false",
            **({"why": row["why"]} if explain else {}),
            "model": result["model"],
        }
        assert json.loads(row["priority"]) == result["priority"]
        assert not explain or json.loads(row["why"]) == result["why"]


def test_parquet_has_the_types_of_its_columns(score: Any, tiny_triage: Triage, tmp_path: Path) -> None:
    assert score(write_rows(tmp_path / "in.csv", ROWS), tmp_path / "out.parquet") == 0
    table = pq.read_table(tmp_path / "out.parquet")
    results = expected(tiny_triage, ROWS)
    assert table["id"].to_pylist() == [result["id"] for result in results]
    assert table["p_complaint"].to_pylist() == [result["probabilities"]["complaint"] for result in results]
    for flag in ("truncated", "uncertain"):
        assert table[flag].to_pylist() == [flag in result for result in results]
    assert [json.loads(cell) for cell in table["priority"].to_pylist()] == [result["priority"] for result in results]
    assert table.schema.field("p_praise").type == pa.float64()


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_no_rows_make_an_output_without_rows(score: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "in.csv").write_text("text,id\n")
    assert score(tmp_path / "in.csv", tmp_path / f"out.{kind}") == 0
    assert (tmp_path / f"out.{kind}").exists()
    if kind == "parquet":
        assert pq.read_table(tmp_path / "out.parquet").schema.field("p_praise").type == pa.float64()


def test_order_is_that_of_the_rows_however_long_they_take(score: Any, tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": "word " * (800 if number % 50 == 0 else 1)} for number in range(200)]
    assert score(write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl") == 0
    assert [result["id"] for result in read_lines(tmp_path / "out.jsonl")] == [row["id"] for row in rows]


def test_rejected_rows_are_told_with_row_and_id_and_the_others_are_scored(
    score: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        '{"id": "a", "text": "ok"}',
        '{"id": "b", "text": ""}',
        "not JSON",
        "",
        '{"id": 7, "text": "ok", "followers": -1}',
        '{"text": "ok", "created_at": "tomorrow"}',
        '{"id": "huge", "text": "' + "x" * 10_000_000 + '"}',
        '{"text": "ok"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert score(tmp_path / "in.jsonl", tmp_path / "out.jsonl") == 3
    assert [result["id"] for result in read_lines(tmp_path / "out.jsonl")] == ["a", "7"]
    rejects = read_lines(tmp_path / "out.jsonl.rejects.jsonl")
    assert [(reject["row"], reject["id"]) for reject in rejects] == [
        (2, "b"),
        (3, None),
        (4, "7"),
        (5, "5"),
        (6, "huge"),
    ]
    assert "text is empty" in rejects[0]["reason"]
    assert "10,000,000" in rejects[-1]["reason"]
    assert "7 rows, 5 rejected (see " in capsys.readouterr().err


def test_csv_row_of_ten_megabytes_is_rejected_alone(score: Any, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"id,text\na,{'x' * 10_000_000}\nb,ok\n")
    assert score(tmp_path / "in.csv", tmp_path / "out.jsonl") == 3
    assert [result["id"] for result in read_lines(tmp_path / "out.jsonl")] == ["b"]


def test_rejects_of_an_earlier_job_go_when_there_are_none(score: Any, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [{"text": ""}])
    assert score(tmp_path / "in.jsonl", tmp_path / "out.csv") == 3
    write_rows(tmp_path / "in.jsonl", [{"text": "ok"}])
    assert score(tmp_path / "in.jsonl", tmp_path / "out.csv") == 0
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "out.csv"]


def test_output_lies_beside_the_input_by_default(score: Any, tmp_path: Path) -> None:
    assert score(write_rows(tmp_path / "june.2026.csv", ROWS)) == 0
    assert len(read_lines(tmp_path / "june.2026.scored.jsonl")) == 5


def test_stdin_goes_to_stdout_and_rejects_to_stderr(
    score: Any, tiny_triage: Triage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(json.dumps(row) + "\n" for row in [*ROWS[:2], {"id": "x", "text": ""}, ROWS[2]])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert score("-") == 3
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == expected(tiny_triage, ROWS[:3])
    assert json.loads(captured.err.splitlines()[0]) == {"row": 3, "id": "x", "reason": "Invalid mention: text is empty"}
    assert "4 rows, 1 rejected" in captured.err


def test_unknown_columns_are_told_once(score: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("text,folowers,complaint\nok,5,1\nok,6,0\n")
    assert score(tmp_path / "in.csv", tmp_path / "out.jsonl") == 0
    assert capsys.readouterr().err.count("folowers") == 1
    rows = [{"text": "ok", f"extra{number}": 1} for number in range(100)]
    assert score(write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl") == 0
    assert capsys.readouterr().err.count("extra") == 20


def test_reader_that_goes_away_ends_the_job_without_a_word(
    score: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_rows(tmp_path / "in.jsonl", [{"text": "ok"}] * 300)
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stdout, open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(BrokenPipeError):
            score(source, "-")
        os.dup2(nowhere.fileno(), writing)  # what is still buffered
    assert capsys.readouterr().err == ""


def test_interrupt_leaves_what_was_there(score: Any, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    os.mkfifo(tmp_path / "in.jsonl")

    def write_then_interrupt() -> None:
        with (tmp_path / "in.jsonl").open("w") as stream:
            stream.write('{"text": "ok"}\n' * 3)
            stream.flush()
            threading.Event().wait(0.5)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            threading.Event().wait(0.5)

    writer = threading.Thread(target=write_then_interrupt)
    writer.start()
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    writer.join()
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "no such file"),
        ("in.txt", b"text", ".csv, .jsonl or .parquet"),
        ("in.csv", b"id,body\n1,ok\n", "no column 'text'"),
        ("in.csv", b"", "empty"),
        ("in.parquet", b"PAR1 and then nothing", "not a whole Parquet file"),
    ],
)
def test_unreadable_input_is_one_clear_line_and_writes_nothing(
    score: Any, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    (tmp_path / "out.jsonl").write_text("before")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        score(tmp_path / name, tmp_path / "out.jsonl")
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert not list(tmp_path.glob("*.part"))


def test_truncated_parquet_fails_and_leaves_what_was_there(score: Any, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.parquet", ROWS)
    source.write_bytes(source.read_bytes()[:-30])
    with pytest.raises(FileError, match=r"in\.parquet"):
        score(source, tmp_path / "out.csv")
    assert os.listdir(tmp_path) == ["in.parquet"]


@pytest.mark.parametrize("output", ["in.jsonl", "sub/../in.jsonl", "link.jsonl"])
def test_input_is_not_written_over(score: Any, tmp_path: Path, output: str) -> None:
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    (tmp_path / "link.jsonl").symlink_to(source)
    with pytest.raises(FileError, match="give another -o OUTPUT"):
        score(source, tmp_path / output)
    assert read_lines(source) == ROWS


def test_unwritable_output_is_one_clear_line(score: Any, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    for output in (tmp_path / "none" / "out.jsonl", tmp_path / "out.json", tmp_path / "out"):
        with pytest.raises(FileError, match="out"):
            score(source, output)
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_bundle_that_is_none_leaves_what_was_there(score: Any, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(BundleError):
        score(source, tmp_path / "out.jsonl", bundle=tmp_path)
    assert os.listdir(tmp_path) == ["in.jsonl"]
