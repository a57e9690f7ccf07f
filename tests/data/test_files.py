"""Files of mentions: what is written is read back, and every kind of broken file says what is wrong."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.files import (
    BadRow,
    Row,
    open_writer,
    read_labelled,
    read_mentions,
    read_rows,
    write_labelled,
)
from data.schema import INTENTS, Author, FileError, LabelledMention, Mention, MentionError

EXTENSIONS = ["csv", "jsonl", "parquet"]

visible = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))
label = st.sampled_from([0, 1, None])
labelled_mentions = st.builds(
    LabelledMention,
    id=visible,
    text=visible,
    brand=st.lists(visible.map(str.strip), max_size=3, unique=True).map(tuple),
    channel=st.none() | visible,
    created_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    author=st.builds(
        Author,
        followers=st.none() | st.floats(0, 1e9),
        lifetime_value=st.none() | st.floats(0, 1e9),
        purchases=st.none() | st.floats(0, 1e6),
        satisfaction=st.none() | st.floats(0, 1),
    ),
    brand_key=visible,
    source=st.just("") | visible,
    stratum=st.just("") | visible,
    labels=st.tuples(label, label, label, label, label),
)


@pytest.mark.parametrize("extension", EXTENSIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mentions=st.lists(labelled_mentions, max_size=4))
def test_what_is_written_is_read_back(tmp_path: Path, extension: str, mentions: list[LabelledMention]) -> None:
    path = tmp_path / f"mentions.{extension}"
    write_labelled(path, mentions)
    assert read_labelled(path) == mentions


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_nested_values_are_json_strings_in_flat_formats(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"results.{extension}"
    row = {"text": "a\rb", "signals": [{"name": "reach", "points": 1.5}], "truncated": True, "score": 2, "none": None}
    with open_writer(path, list(row)) as writer:
        writer.write(row)
    (read,) = read_rows(path)
    assert isinstance(read, Row)
    signals = read.values["signals"]
    assert (signals if extension == "jsonl" else json.loads(signals)) == row["signals"]
    assert read.values["text"] == "a\rb"
    assert read.values["truncated"] == ("true" if extension == "csv" else True)
    assert float(read.values["score"]) == 2
    assert read.values["none"] == ("" if extension == "csv" else None)


def test_parquet_keeps_the_types_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    with open_writer(path, {"late": bool, "count": int, "purchase": int, "other": str}) as writer:
        writer.write({"other": 5})
        writer.write({"late": True, "count": 2**60, "purchase": 1, "other": "x"})
    table = pq.read_table(path)
    assert table.schema.types == [pa.bool_(), pa.int64(), pa.int8(), pa.string()]
    assert table.to_pylist()[1] == {"late": True, "count": 2**60, "purchase": 1, "other": "x"}


def test_parquet_refuses_fractions_in_a_column_of_integers(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"column count is int64, but has fractions"):  # noqa: SIM117
        with open_writer(tmp_path / "results.parquet", {"count": int}) as writer:
            writer.write({"count": 1.5})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_exception_leaves_the_old_file_and_no_part(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"results.{extension}"
    with open_writer(path, ["text"]) as writer:
        writer.write({"text": "old"})
    with pytest.raises(KeyboardInterrupt), open_writer(path, ["text"]) as writer:
        for _ in range(5000):
            writer.write({"text": "new"})
        raise KeyboardInterrupt
    assert [row.values["text"] for row in read_rows(path) if isinstance(row, Row)] == ["old"]
    assert os.listdir(tmp_path) == [path.name]


def test_stdin_and_stdout_are_json_lines(capfdbinary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "caf\xc3\xa9"}\n\n{"text": 1}')))
    numbers = [(number, type(mention)) for number, mention in read_mentions("-")]
    assert numbers == [(1, Mention), (2, MentionError)]
    with open_writer("-", []) as writer:
        writer.write({"text": "café", "at": datetime(2026, 1, 1, tzinfo=UTC)})
    assert capfdbinary.readouterr().out == '{"text": "café", "at": "2026-01-01T00:00:00+00:00"}\n'.encode()


def reasons(path: Path) -> dict[int, str]:
    return {row.number: str(row.reason) for row in read_rows(path) if isinstance(row, BadRow)}


def texts(path: Path) -> dict[int, str]:
    return {row.number: row.values["text"] for row in read_rows(path) if isinstance(row, Row)}


def test_bad_csv_rows_cost_themselves_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(
        b'\xef\xbb\xbftext,id\n"two\nlines",1\n\ntoo,many,cells\nfew\ncaf\xe9,2\n'
        b'"stray" quote,3\nnul\x00,4\nend,5\n"open,6\n'
    )
    assert texts(path) == {1: "two\nlines", 6: "nul\x00", 7: "end"}
    found = reasons(path)
    assert set(found) == {2, 3, 4, 5, 8}
    assert "line 5 has 3 cells and the header 2; put cells with commas in quotes" in found[2]
    assert "line 6 has 1 cells" in found[3]
    assert "line 7, column text: not UTF-8 text; save the file as UTF-8" in found[4]
    assert "line 8: ',' expected" in found[5]
    assert "line 11: unexpected end of data" in found[8]


def test_bad_json_lines_cost_themselves_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    lines = [
        b'\xef\xbb\xbf{"text": "first"}',
        b"",
        b"[1]",
        b'{"text": "\xff"}',
        b'{"text": "\\ud83d"}',
        b'{"tweet": "x"}',
        b'{"text": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"{text}",
        b'{"text": "last", "followers": ' + b"9" * 400 + b"}",
    ]
    path.write_bytes(b"\n".join(lines))
    assert texts(path) == {1: "first", 9: "last"}
    found = reasons(path)
    assert "line 3: a JSON list, not an object; write one JSON object on each line" in found[2]
    assert "line 4: not UTF-8" in found[3]
    assert "half a surrogate pair" in found[4]
    assert "no 'text' among 'tweet'" in found[5]
    assert "too long" in found[6]
    assert "too deep" in found[7]
    assert "not JSON" in found[8]
    assert isinstance(dict(read_mentions(path))[9], MentionError)  # a number of 400 digits is no count of followers


def test_a_huge_cell_is_refused_by_the_schema_and_not_by_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"text\n{'x' * 10_000_000}\nshort\n")
    first, second = read_mentions(path)
    assert isinstance(first[1], MentionError)
    assert "10,000,000 bytes" in first[1].detail
    assert isinstance(second[1], Mention)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"", "empty"),
        ("in.csv", b"Tweet,id\nx,1\n", "no column 'text' among 'Tweet', 'id'; rename 'Tweet'"),
        ("in.csv", b"text;id\nx;1\n", "separated by ';'"),
        ("in.csv", b"text,text\n", "two columns are named 'text'"),
        ("in.csv", "text,id\n".encode("utf-16"), "not UTF-8"),
        ("in.parquet", b"", "not a whole Parquet file"),
        ("in.parquet", b"PAR1 and no more", "not a whole Parquet file"),
        ("in.tsv", b"", r"\.csv, \.jsonl or \.parquet"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        list(read_rows(path))
    assert str(path) in str(caught.value)


def test_a_column_that_has_its_own_meaning_is_not_taken_for_a_misspelt_one(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,purchases\nok,3\n")
    with pytest.raises(FileError, match="no column 'purchase' among 'text', 'purchases'; where"):
        list(read_rows(tmp_path / "in.csv", required=("text", "purchase")))


def test_missing_files_and_folders_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        list(read_rows(tmp_path / "in.csv"))
    with pytest.raises(FileError, match="there is no folder .*; create it first"):
        open_writer(tmp_path / "nowhere" / "out.csv", ["text"])
    with pytest.raises(FileError, match="is a directory"):
        (tmp_path / "folder.csv").mkdir()
        list(read_rows(tmp_path / "folder.csv"))


def test_an_empty_file_of_json_lines_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"")
    assert list(read_rows(tmp_path / "in.jsonl")) == []


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": ["x" * 50] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileError, match="write or copy it again"):
        list(read_rows(path))


def test_parquet_times_and_broken_cells(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    broken = pa.array([b"good", b"caf\xe9"]).view(pa.string())
    when = datetime(2026, 3, 1, tzinfo=UTC)
    nanoseconds = [int((when - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000 + 7] * 2
    pq.write_table(pa.table({"text": broken, "created_at": pa.array(nanoseconds, pa.timestamp("ns", tz="UTC"))}), path)
    mentions = dict(read_mentions(path))
    assert isinstance(mentions[1], Mention)
    assert mentions[1].created_at == when
    assert isinstance(mentions[2], MentionError)
    assert "UTF-8" in str(mentions[2])


def test_labelled_files_name_the_row_and_the_column(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"text,{','.join(INTENTS)}\nfine,1,0,,,\nwrong,1,0,maybe,,\n")
    with pytest.raises(FileError, match=r"in\.csv: row 2: Invalid label: complaint is 'maybe'"):
        read_labelled(path)
    path.write_text("text,purchase\nx,1\n")
    with pytest.raises(FileError, match="no column 'churn_risk'"):
        read_labelled(path)
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"text": "x"}\n')
    with pytest.raises(FileError, match="none of the intents"):
        read_labelled(lines)
    lines.write_text('{"text": "x", "brand": 5, "praise": 1}\n')
    with pytest.raises(FileError, match="row 1: .*brand"):
        read_labelled(lines)
