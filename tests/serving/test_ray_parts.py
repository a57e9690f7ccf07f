"""The folder of results: parts are whole or not there, the same job goes on, and no other gets mixed with it."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from data.files import Row
from data.places import Place
from data.schema import FileError
from serving.bulk import BulkJob, Scoring
from serving.on_ray.actor import ScoreChunks
from serving.on_ray.chunks import Chunk
from serving.on_ray.counts import Counts
from serving.on_ray.parts import SUCCESS, Parts, part_name

BEGUN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
JOB = {"input": "a", "cut": "balanced"}
FIRST, SECOND = part_name(0, 0), part_name(0, 1)


def lines(*ids: str) -> bytes:
    results: Iterator[dict[str, Any]] = (
        {"id": one, "brand": None, "probabilities": {}, "labels": [], "queue": "care"} for one in ids
    )
    return "".join(json.dumps(result) + "\n" for result in results).encode()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(Place.of(str(tmp_path / "out")), None)


def test_parts_are_written_whole_and_a_manifest_ends_the_job(parts: Parts, tmp_path: Path) -> None:
    assert parts.begin(JOB, BEGUN) == (BEGUN, None)
    parts.write(FIRST, lines("a", "b"), b'{"row": 3}\n', {"rows": 3})
    parts.write(SECOND, lines("c"), b"", {"rows": 1})
    assert parts.done(FIRST) == {"rows": 3}
    assert parts.done(part_name(0, 2)) is None
    assert SUCCESS not in names(tmp_path / "out")
    parts.finish([FIRST, SECOND], {"model": "m"})
    assert names(tmp_path / "out") == [SUCCESS, f"_rejects/{FIRST}.jsonl", f"{FIRST}.jsonl", f"{SECOND}.jsonl"]
    assert json.loads((tmp_path / "out" / SUCCESS).read_text()) == {"model": "m"}
    assert (tmp_path / "out" / f"{FIRST}.jsonl").read_bytes() == lines("a", "b")


def test_parquet_parts_are_read_as_one_table_beside_their_rejects(tmp_path: Path) -> None:
    parts = Parts(Place.of(str(tmp_path / "out")), {"id": str, "queue": str, "truncated": bool})
    parts.begin(JOB, BEGUN)
    parts.write(FIRST, lines("a", "b"), b'{"row": 3}\n', {})
    parts.write(SECOND, b"", b"", {})
    parts.finish([FIRST, SECOND], {})
    table = ds.dataset(tmp_path / "out").to_table()
    assert table.to_pydict() == {"id": ["a", "b"], "queue": ["care"] * 2, "truncated": [False] * 2}


def test_the_same_job_goes_on_from_its_first_beginning(parts: Parts) -> None:
    parts.begin(JOB, BEGUN)
    parts.write(FIRST, lines("a"), b"", {"rows": 1})
    again = Parts(parts.place, None)
    begun, found = again.begin(JOB, BEGUN + timedelta(hours=1))
    assert begun == BEGUN
    assert found == "going on; parts that are done: 1"
    assert again.done(FIRST) == {"rows": 1}


@pytest.mark.parametrize("left", ["unfinished", "finished", "damaged"])
def test_what_another_job_left_goes_before_anything_is_written(parts: Parts, tmp_path: Path, left: str) -> None:
    parts.begin(JOB, BEGUN)
    parts.write(FIRST, lines("a"), b"{}\n", {"rows": 1})
    if left == "finished":
        parts.finish([FIRST], {})
    if left == "damaged":
        (tmp_path / "out" / "_unfinished" / "job.json").write_text('{"identity"')
    again = Parts(parts.place, None)
    _, found = again.begin(JOB if left != "unfinished" else {**JOB, "cut": "p90"}, BEGUN)
    assert names(tmp_path / "out") == ["_unfinished/job.json"]
    assert again.done(FIRST) is None
    said = {"unfinished": "it was of another cut", "damaged": "it is damaged", "finished": None}[left]
    assert found == (said and f"begun anew; what was done before does not count: {said}")


@pytest.mark.parametrize("strange", ["notes.txt", "part-00000-00000.parquet", "deep/a.csv", "_SUCCESS.bak"])
def test_files_of_others_are_not_touched(parts: Parts, tmp_path: Path, strange: str) -> None:
    path = tmp_path / "out" / strange
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(FileError, match=f"holds {strange}, which no bulk job wrote"):
        parts.begin(JOB, BEGUN)
    assert names(tmp_path / "out") == [strange]


def test_two_jobs_do_not_write_to_one_folder(parts: Parts) -> None:
    parts.begin(JOB, BEGUN)
    Parts(parts.place, None).begin(JOB, BEGUN)
    with pytest.raises(FileError, match="another job has begun to write here"):
        parts.write(FIRST, b"", b"", {})
    with pytest.raises(FileError, match="another job has begun to write here"):
        parts.done(FIRST)
    with pytest.raises(FileError, match="another job has begun to write here"):
        parts.finish([], {})


def test_parts_of_another_job_do_not_count_and_go(parts: Parts, tmp_path: Path) -> None:
    parts.begin(JOB, BEGUN)
    parts.write(FIRST, lines("a"), b"{}\n", {"rows": 1})
    left = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if FIRST in path.name}
    again = Parts(parts.place, None)
    again.begin({**JOB, "cut": "p90"}, BEGUN)
    for folder, stem in (("", FIRST), ("_rejects/", FIRST), ("", "part-00007-00000")):  # a killed job's last writes
        (tmp_path / "out" / f"{folder}{stem}.jsonl").write_bytes(left[f"{FIRST}.jsonl"])
    (tmp_path / "out" / "_unfinished" / f"{FIRST}.json").write_bytes(left[f"{FIRST}.json"])
    assert again.done(FIRST) is None
    again.write(FIRST, lines("b"), b"", {"rows": 1})
    again.finish([FIRST], {})
    assert names(tmp_path / "out") == [SUCCESS, f"{FIRST}.jsonl"]
    assert (tmp_path / "out" / f"{FIRST}.jsonl").read_bytes() == lines("b")


def test_a_folder_that_is_being_taken_over_is_another_jobs(parts: Parts, tmp_path: Path) -> None:
    parts.begin(JOB, BEGUN)
    (tmp_path / "out" / "_unfinished" / "job.json").write_text("{}")
    with pytest.raises(FileError, match="another job has begun to write here"):
        parts.done(FIRST)


class Here(ScoreChunks):
    """The actor in this process."""

    def __init__(self, bundle: Path, parts: Parts) -> None:
        self._files, self._parts = ["in.jsonl"], parts
        self._score = Scoring(BulkJob("in.jsonl", None, bundle, None, None, "balanced", BEGUN), BEGUN)


def test_a_file_that_broke_off_is_read_again_when_the_job_goes_on(
    parts: Parts, tiny_bundle: Path, tmp_path: Path
) -> None:
    def ask(parts: Parts, *chunks: Chunk) -> list[dict[str, Any]]:
        block = pa.table({"chunk": [pickle.dumps(chunk) for chunk in chunks]})
        return [json.loads(record.as_py()) for record in Here(tiny_bundle, parts)(block)["record"]]

    rows = [Row(number, {"text": "ok", "id": str(number)}) for number in range(1, 31)]
    parts.begin(JOB, BEGUN)
    whole = Chunk(0, 0, False, rows[:10], [], None)
    ask(parts, whole, Chunk(0, 1, True, rows[10:13], [], "in.jsonl: the connection is lost"))
    assert (tmp_path / "out" / "_rejects" / f"{SECOND}.jsonl").exists()
    again = Parts(parts.place, None)
    again.begin(JOB, BEGUN)
    counts = Counts(["in.jsonl"])
    records = ask(again, whole, Chunk(0, 1, False, rows[10:20], [], None), Chunk(0, 2, True, rows[20:], [], None))
    for record in records[::-1]:
        counts.add(record)
    counts.check()
    assert (counts.tally.rows, counts.failures) == (30, [])
    again.finish(counts.parts(), {})
    written = [path.read_bytes().splitlines() for path in sorted(tmp_path.glob("out/part-*"))]
    assert [json.loads(line)["id"] for part in written for line in part] == [row.values["id"] for row in rows]
    assert not (tmp_path / "out" / "_rejects" / f"{SECOND}.jsonl").exists()


def test_a_folder_that_is_not_shared_is_noticed(parts: Parts, tmp_path: Path) -> None:
    parts.begin(JOB, BEGUN)
    elsewhere = replace(parts, place=Place.of(str(tmp_path / "other")))
    with pytest.raises(FileError, match="not the folder that the job began; OUTPUT has to be"):
        elsewhere.write(FIRST, b"", b"", {})
    with pytest.raises(FileError, match="parts that were written are not here: 1"):
        parts.finish([FIRST], {})


def test_what_a_killed_process_was_writing_is_gone_in_the_end(parts: Parts, tmp_path: Path) -> None:
    parts.begin(JOB, BEGUN)
    torn = tmp_path / "out" / f".{FIRST}.jsonl.{'0' * 32}.new"
    torn.write_text("half a li")
    parts.write(FIRST, lines("a"), b"", {})
    parts.finish([FIRST], {})
    assert names(tmp_path / "out") == [SUCCESS, f"{FIRST}.jsonl"]


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(FileError, match="file") as caught:
            Parts(Place.of(str(place)), None).begin(JOB, BEGUN)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_other_file_systems_are_written_to_as_well() -> None:
    filesystem: Any = fs._MockFileSystem()
    parts = Parts(Place(filesystem, "bucket/out"), None)
    parts.begin(JOB, BEGUN)
    parts.write(FIRST, lines("a"), b"{}\n", {"rows": 1})
    assert parts.done(FIRST) == {"rows": 1}
    parts.finish([FIRST], {})
    found = filesystem.get_file_info(fs.FileSelector("bucket/out", recursive=True))
    files = sorted(info.path for info in found if info.type == fs.FileType.File)
    assert files == [f"bucket/out/{name}" for name in (SUCCESS, f"_rejects/{FIRST}.jsonl", f"{FIRST}.jsonl")]
