from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from serving.unfinished import Tally, Unfinished
from tests.processes import until, working_on

ROOT = Path(__file__).parents[2]
LONG = 10_000
"""Rows that take seconds."""
BROKEN = 7
"""Every so many rows cannot be scored."""

Command = Callable[..., list[str]]


@pytest.fixture
def command(tiny_bundle: Path) -> Command:
    """The command line that scores a file with the tiny bundle."""

    def line(source: Path, output: Path, *options: str) -> list[str]:
        program = [sys.executable, "-m", "firstreply", "score", str(source), "-o", str(output)]
        return [*program, "--bundle", str(tiny_bundle), "--remember", "0", *options]

    return line


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **options)


def write_input(path: Path, rows: int = LONG) -> Path:
    lines = [
        json.dumps({"id": f"m{number}", "text": "" if number % BROKEN == 0 else f"Where is order {number}, @northtel?"})
        for number in range(rows)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def stopped_once_recorded(command: list[str], output: Path, number: int) -> tuple[int, str]:
    """Exit status and stderr of a job that gets a signal as soon as it has recorded some rows.

    Its input is to be a file that is long enough.
    """
    record = Path(f"{output}.unfinished.json")
    before = record.stat().st_mtime_ns if record.exists() else 0
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until(lambda: process.poll() is not None or (record.exists() and record.stat().st_mtime_ns > before), 60)
    assert process.poll() is None, "the job was done before it could be stopped"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_killed_job_goes_on_and_makes_what_an_undisturbed_one_makes(
    command: Command, tmp_path: Path, kind: str
) -> None:
    source, output, whole = write_input(tmp_path / "in.jsonl"), tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    options = ("--as-of", "2026-11-21T10:00:00Z")
    status, _ = stopped_once_recorded(command(source, output, *options), output, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not output.exists()
    done = json.loads(Path(f"{output}.unfinished.json").read_text())["tally"]["rows"]
    with Path(f"{output}.unfinished.jsonl").open("a") as torn:
        torn.write('{"id": "torn off in the mid')
    again = run(command(source, output, *options))
    assert again.returncode == 3
    assert f"going on after the {done:,} rows" in again.stderr
    assert run(command(source, whole, *options)).returncode == 3
    if kind == "parquet":
        assert pq.read_table(output).equals(pq.read_table(whole))
    else:
        assert output.read_bytes() == whole.read_bytes()
    assert Path(f"{output}.rejects.jsonl").read_bytes() == Path(f"{whole}.rejects.jsonl").read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["in.jsonl", *(f"{name}{end}" for name in (output.name, whole.name) for end in ("", ".rejects.jsonl"))]
    )


def test_job_that_goes_on_counts_waiting_times_to_its_first_beginning(command: Command, tmp_path: Path) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"
    stopped_once_recorded(command(source, output), output, signal.SIGKILL)
    began = json.loads(Path(f"{output}.unfinished.json").read_text())["as_of"]
    assert run(command(source, output)).returncode == 3
    assert run(command(source, tmp_path / "b.jsonl", "--as-of", began)).returncode == 3
    assert output.read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_interrupted_job_says_that_it_can_go_on_and_leaves_no_process(command: Command, tmp_path: Path) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"
    status, said = stopped_once_recorded(command(source, output), output, signal.SIGINT)
    assert status == 130
    assert "the same command goes on after them" in said
    assert "Traceback" not in said
    assert not working_on(output)


def test_what_is_read_at_the_end_is_recorded_whole(tmp_path: Path) -> None:
    output = str(tmp_path / "a.csv")
    rows = [b'{"id": "%d"}\n' % number for number in range(1_000)]
    with pytest.raises(KeyboardInterrupt), Unfinished(output, {"input": "a"}) as unfinished:
        unfinished.append(b"".join(rows), b"", Tally(rows=1_000, results=1_000))
        for number, _ in enumerate(unfinished.results()):
            if number == 10:
                raise KeyboardInterrupt
    with Unfinished(output, {"input": "a"}) as again:
        assert again.tally.rows == 1_000
        assert len(list(again.results())) == 1_000


def test_processes_of_a_killed_job_end(command: Command, tmp_path: Path) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"
    stopped_once_recorded(command(source, output), output, signal.SIGKILL)
    assert until(lambda: not working_on(output), 10)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="one core needs no further process")
def test_job_whose_process_is_killed_says_so_and_can_go_on(command: Command, tmp_path: Path) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"
    process = subprocess.Popen(command(source, output), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert until(Path(f"{output}.unfinished.json").exists, 60)
    psutil.Process(process.pid).children()[0].kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a scoring process has ended" in said
    assert "the same command goes on after them" in said
    assert run(command(source, output)).returncode == 3
    assert len(output.read_text().splitlines()) == LONG - len(range(0, LONG, BROKEN))


@pytest.mark.parametrize("change", ["input", "cut", "time"])
def test_what_another_job_left_is_not_gone_on_with(command: Command, tmp_path: Path, change: str) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"
    stopped_once_recorded(command(source, output), output, signal.SIGKILL)
    if change == "input":
        write_input(source, 100)
    options = {"input": (), "cut": ("--cut", "p90"), "time": ("--as-of", "2026-11-21")}[change]
    again = run(command(source, output, *options))
    assert f"begun anew; what was done before does not count: it was of another {change}" in again.stderr
    rows = 100 if change == "input" else LONG
    assert len(output.read_text().splitlines()) == rows - len(range(0, rows, BROKEN))


@pytest.mark.parametrize("damage", ["record", "results"])
def test_damaged_remains_are_not_gone_on_with(command: Command, tmp_path: Path, damage: str) -> None:
    output = tmp_path / "a.jsonl"
    long = write_input(tmp_path / "long.jsonl")
    stopped_once_recorded(command(long, output), output, signal.SIGKILL)
    if damage == "record":
        Path(f"{output}.unfinished.json").write_text('{"job": ')
    else:
        Path(f"{output}.unfinished.jsonl").write_text("")
    assert "it is damaged" in run(command(long, output)).stderr
    assert len(output.read_text().splitlines()) == LONG - len(range(0, LONG, BROKEN))


def test_input_that_changes_meanwhile_is_noticed(command: Command, tmp_path: Path) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"
    process = subprocess.Popen(command(source, output), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not Path(f"{output}.unfinished.json").exists():
        time.sleep(0.005)
    with source.open("a") as stream:
        stream.write('{"text": "one more"}\n')
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1].endswith(f"{source}: was changed while it was read; score it again")
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_two_jobs_do_not_write_one_output(command: Command, tmp_path: Path) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"
    first = subprocess.Popen(command(source, output), cwd=ROOT, stderr=subprocess.DEVNULL)
    while not Path(f"{output}.unfinished.json").exists():
        time.sleep(0.005)
    second = run(command(source, output))
    assert second.returncode == 1
    assert "another process is writing it" in second.stderr
    assert first.wait(timeout=60) == 3
    assert len(output.read_text().splitlines()) == LONG - len(range(0, LONG, BROKEN))


def test_disk_without_room_is_one_line_and_the_job_goes_on_once_there_is_some(command: Command, tmp_path: Path) -> None:
    source, output = write_input(tmp_path / "in.jsonl"), tmp_path / "a.jsonl"

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, 2_500_000))

    full = run(command(source, output), preexec_fn=little_room)
    assert full.returncode == 1
    assert f"{output}: file too large" in full.stderr
    assert "the same command goes on after them" in full.stderr
    assert "Traceback" not in full.stderr
    again = run(command(source, output))
    assert again.returncode == 3
    assert "going on after" in again.stderr
    assert len(output.read_text().splitlines()) == LONG - len(range(0, LONG, BROKEN))
