"""Files that many machines read: where they are found, and that their chunks are the same whoever reads them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("ray")

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from data.arrow import PARQUET_ROWS
from data.files import BadRow, read_rows
from data.places import Place, StoredFile, find_files
from data.schema import FileError
from serving.on_ray.chunks import CHUNK_CHARACTERS, read_chunks


def stored(path: Path) -> StoredFile:
    (file,), _ = find_files(str(path))
    return file


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.sampled_from(['{"id": "x", "text": "a"}', '{"note": 1}', "no JSON", ""])), most=st.integers(1, 9)
)
def test_chunks_hold_every_row_once_and_are_the_same_again(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], most: int
) -> None:
    path = tmp_path_factory.mktemp("chunks") / "in.jsonl"
    path.write_text("\n".join(lines))
    chunks = list(read_chunks(stored(path), 3, most))
    rows = [row for chunk in chunks for row in chunk.rows]
    assert repr(rows) == repr(list(read_rows(path)))  # no error equals another
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(len(chunk.rows) == most for chunk in chunks[:-1])
    assert {chunk.file for chunk in chunks} == {3}
    assert repr(list(read_chunks(stored(path), 3, most))) == repr(chunks)


def test_columns_that_are_not_read_are_named_wherever_they_first_come(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    first, later = ({"text": "a"} | {f"{letter}{number}": 1 for number in range(12)} for letter in "ab")
    path.write_text(f"{json.dumps(first)}\n{json.dumps(first | later)}\n")
    (chunk,) = read_chunks(stored(path), 0, 9)
    assert chunk.unread == [f"a{number}" for number in range(12)] + [f"b{number}" for number in range(8)]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_are_those_that_the_local_engine_reads(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"in.{kind}"
    texts = ["one", "two\nlines", "", "caf\u00e9 \u2028 end"]
    if kind == "csv":
        path.write_bytes(
            '\ufeffid,text\n1,one\n2,"two\nlines"\n\nbroken\n3,\n4,caf\u00e9 \u2028 end\n'.encode() + b"5,\xff\n"
        )
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts) + "{broken\n")
    else:
        pq.write_table(pa.table({"text": texts, "followers": [1.5, None, 2, 3]}), path)
    (chunk,) = read_chunks(stored(path), 0, 100)
    assert repr(chunk.rows) == repr(list(read_rows(path)))
    assert chunk.failure is None


def test_long_rows_make_short_chunks(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(3 * (json.dumps({"text": "x" * (CHUNK_CHARACTERS + 1)}) + "\n"))
    assert [len(chunk.rows) for chunk in read_chunks(stored(path), 0, 100)] == [1, 1, 1]


def test_columns_that_nobody_reads_are_named_and_not_carried_along(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text,folowers\nok,5\nok,6\n")
    first, second = read_chunks(stored(path), 0, 1)
    assert first.unread == second.unread == ["folowers"]
    assert [row.values for row in (*first.rows, *second.rows) if not isinstance(row, BadRow)] == [{"text": "ok"}] * 2


def test_a_file_that_breaks_off_gives_the_rows_before_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    texts = [os.urandom(40).hex() for _ in range(10_000)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=5_000, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    second = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content[second : second + 40] = b"\xff" * 40
    path.write_bytes(content)
    *_, last = chunks = list(read_chunks(stored(path), 0, 3_000))
    assert [row.values["text"] for chunk in chunks for row in chunk.rows if not isinstance(row, BadRow)] == texts[
        :PARQUET_ROWS
    ]
    assert last.failure is not None
    assert f"unreadable after row {PARQUET_ROWS} " in last.failure


def test_folders_and_globs_are_searched_and_what_is_no_mentions_is_counted(tmp_path: Path) -> None:
    for name in (
        "b.csv",
        "a.jsonl",
        "deep/c.PARQUET",
        "deep/notes.txt",
        "_temporary/d.csv",
        ".hidden/e.csv",
        "[f].csv",
        "._a.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("text\n")

    def names(where: str) -> tuple[list[str], int]:
        files, others = find_files(where)
        return [os.path.relpath(file.place.path, tmp_path) for file in files], others

    assert names(str(tmp_path)) == (["[f].csv", "a.jsonl", "b.csv", "deep/c.PARQUET"], 1)
    assert names(f"{tmp_path}/*") == (["[f].csv", "a.jsonl", "b.csv"], 0)
    assert names(f"{tmp_path}/**/*.P*") == (["deep/c.PARQUET"], 0)
    assert names(f"{tmp_path}/**/*.csv") == (["[f].csv", "b.csv"], 0)
    assert names(f"{tmp_path}/.hidden/*.csv") == ([".hidden/e.csv"], 0)
    assert names(f"file://{tmp_path}/[ab].csv") == (["b.csv"], 0)
    assert names(f"file://{tmp_path}/*.csv") == (["[f].csv", "b.csv"], 0)
    assert names(str(tmp_path / "[f].csv")) == (["[f].csv"], 0)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("none.csv", "no such file"),
        ("*.tsv", r"no file that ends in \.csv"),
        ("notes.txt", r"ends in \.csv, \.jsonl or \.parquet"),
        ("empty", r"no file that ends in \.csv"),
    ],
)
def test_what_is_not_there_is_one_clear_line(tmp_path: Path, where: str, message: str) -> None:
    (tmp_path / "notes.txt").write_text("text\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=message) as caught:
        find_files(str(tmp_path / where))
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["ftp://host/in.csv", "file://somewhere/in.csv", "s3:// /in.csv"])
def test_addresses_that_nobody_knows_are_one_clear_line(uri: str) -> None:
    with pytest.raises(FileError, match=uri.partition(":")[0]) as caught:
        find_files(uri)
    assert "\n" not in str(caught.value)


def test_files_of_any_arrow_file_system_are_read() -> None:
    filesystem = fs._MockFileSystem()
    filesystem.create_dir("bucket/day")
    for name, content in (("a.csv", b"text\nok\n"), ("b.jsonl", b'{"text": "ok"}\n')):
        with filesystem.open_output_stream(f"bucket/day/{name}") as stream:
            stream.write(content)
    for name in ("a.csv", "b.jsonl"):
        place = Place(filesystem, f"bucket/day/{name}")
        (chunk,) = read_chunks(StoredFile(place, 0, ""), 0, 10)
        assert [row.values for row in chunk.rows if not isinstance(row, BadRow)] == [{"text": "ok"}]
        assert str(place) == f"mock://bucket/day/{name}"


def test_a_file_that_changes_or_goes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text\nok\n")
    before = stored(path)
    assert stored(path) == before
    path.write_text("text\nok\nok\n")
    assert stored(path) != before
    path.unlink()
    with pytest.raises(FileError, match="no such file"):
        next(read_chunks(before, 0, 1))
