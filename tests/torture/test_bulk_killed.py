"""A bulk job that is killed again and again, and begun again each time, makes what an undisturbed one makes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from random import Random

from eval.processes import firstreply
from tests.processes import until, working_on
from tests.torture.servers import ROOT

ROWS = 200_000
TEXTS = 10_000
"""Different texts: fewer than are remembered, so that the job is about rows and not about reading."""
KILLS = 20
SHORTEST = 0.2
"""Seconds from the start of a job to its end at the earliest."""
SEED = 20261121
SECONDS = 900
"""A job takes a small part of that."""

_UNREADABLE = (
    b'{"text": "cut o',
    b"\xff\xfe\x00",
    b'{"text": "caf\xe9"}',
    b"[1, 2]",
    b'{"note": 1}',
    b'{"text": "\\ud800"}',
)
_BROKEN = (
    {"text": ""},
    {"text": 7},
    {"text": "@northtel hello", "followers": -1},
    {"text": "@northtel hello", "created_at": "yesterday"},
    {"text": "@northtel hello", "id": [1]},
    {"text": "x" * 100_001},
)


def test_job_killed_twenty_times_makes_what_an_undisturbed_one_makes(tmp_path: Path) -> None:
    source, whole, output = tmp_path / "in.jsonl", tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    random = Random(SEED)
    bad = write_rows(source, random)
    began = time.monotonic()
    undisturbed = subprocess.run(command(source, whole), cwd=ROOT, capture_output=True, timeout=SECONDS, check=False)
    seconds = time.monotonic() - began
    assert undisturbed.returncode == 3, undisturbed.stderr.decode()
    assert len(rejects(whole).read_bytes().splitlines()) == bad
    assert len(whole.read_bytes().splitlines()) == ROWS - bad

    killed_at: list[int] = []
    finished = 0
    while len(killed_at) < KILLS:
        process = subprocess.Popen(command(source, output), cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            # A fifth of the time that the whole takes: it has to be begun again some times before it is done.
            status = process.wait(timeout=random.uniform(SHORTEST, max(2.0, seconds / 5)))
        except subprocess.TimeoutExpired:
            process.kill()
            assert process.wait() == -signal.SIGKILL
            killed_at.append(rows_done(output))
            assert not output.exists()
            continue
        assert status == 3
        finished += 1
        assert_same(output, whole)
        output.unlink()
        rejects(output).unlink()
    last = subprocess.run(command(source, output), cwd=ROOT, capture_output=True, timeout=SECONDS, check=False)
    assert last.returncode == 3, last.stderr.decode()
    assert_same(output, whole)
    assert until(lambda: not working_on(output), 10), "processes of a killed job are left"
    assert {path.name for path in tmp_path.iterdir()} == {
        *("in.jsonl", whole.name, output.name, rejects(whole).name, rejects(output).name)
    }
    done = ", ".join(f"{rows:,}" for rows in killed_at)
    print(
        f"\nbulk: {ROWS:,} rows, {bad:,} of them bad, undisturbed in {seconds:.0f} s; killed {KILLS} times, with {done}"
        f" rows done; whole {finished + 1} times, always the same bytes; no process left"
    )
    assert sum(rows > 0 for rows in killed_at) >= KILLS // 2, "most kills came before anything was done"


def command(source: Path, output: Path) -> list[str]:
    """The command line that is begun again and again."""
    return firstreply("score", source, "-o", output, "--tier", "fast", "--as-of", "2026-11-21T10:00:00Z")


def write_rows(path: Path, random: Random) -> int:
    """Write the input; returns how many of its rows cannot be scored."""
    texts = [
        f"{random.choice(('Where is', 'Cancel', 'Thanks for'))} order {number}, @northtel" for number in range(TEXTS)
    ]
    bad = 0
    with path.open("wb") as stream:
        for number in range(ROWS):
            draw = random.random()
            bad += draw < 0.02
            if draw < 0.01:
                line = random.choice(_UNREADABLE)
            elif draw < 0.0101:
                line = json.dumps(_BROKEN[-1]).encode()
            elif draw < 0.02:
                line = json.dumps({"id": f"b{number}", **random.choice(_BROKEN[:-1])}).encode()
            else:
                line = json.dumps({"id": f"m{number}", "text": random.choice(texts)}).encode()
            stream.write(line + b"\n")
    return bad


def rejects(output: Path) -> Path:
    """Where the rows go that cannot be scored."""
    return Path(f"{output}.rejects.jsonl")


def rows_done(output: Path) -> int:
    """Rows that an unfinished job has surely kept."""
    try:
        rows: int = json.loads(Path(f"{output}.unfinished.json").read_text())["tally"]["rows"]
    except FileNotFoundError:
        return 0
    return rows


def assert_same(output: Path, whole: Path) -> None:
    """Assert that results and rejects are those of the undisturbed job."""
    assert output.read_bytes() == whole.read_bytes()
    assert rejects(output).read_bytes() == rejects(whole).read_bytes()
