"""A job on a Ray cluster that loses an actor and then a machine makes what the local engine makes, row for row."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("ray")

from ray.cluster_utils import Cluster

from eval.processes import firstreply
from tests.processes import scoring_actors, until
from tests.torture.servers import ROOT

FILES = 20
ROWS = 300_000
TEXTS = 10_000
"""Different texts: fewer than are remembered, so that the job is about rows and not about reading."""
NODES = 3
SEED = 20261122
SECONDS = 900
"""A job takes a small part of that."""

# What Ray itself leaves open in this process, and says when a machine of its test cluster goes
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of three nodes with a CPU each."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 2**28, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        for _ in range(NODES - 1):
            cluster.add_node(**node)
        yield cluster
        cluster.shutdown()  # type: ignore[no-untyped-call]


def test_job_that_loses_an_actor_and_a_machine_makes_what_the_local_engine_makes(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder, whole = tmp_path / "in", tmp_path / "whole.parquet"
    write_rows(folder, whole)
    judge, alone, output = tmp_path / "judge.parquet", tmp_path / "alone", tmp_path / "out"
    took = timed(command(whole, judge))
    undisturbed = timed(command(folder, alone, "--engine", "ray"))
    assert_same(alone, judge)

    process = subprocess.Popen(
        command(folder, output, "--engine", "ray", "--address", cluster.address),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert until(lambda: parts_done(output) >= 3, SECONDS), "nothing was done"
    before = scoring_actors()
    before[0].kill()
    killed_at = parts_done(output)
    assert until(lambda: parts_done(output) >= killed_at + 5, SECONDS), "nothing was done after an actor was killed"
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    lost_at = parts_done(output)
    stdout, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == 3, stderr
    assert stdout == ""
    assert_same(output, judge)
    parts = len(list(output.glob("part-*")))
    assert killed_at < lost_at < parts, "the job was done before it could be disturbed"
    assert until(lambda: not scoring_actors(), 60), "actors of a job that is done are left"
    print(
        f"\nray: {ROWS:,} rows in {FILES} files, {parts} parts; an actor of {len(before)} was killed after {killed_at}"
        f" parts and a machine of {NODES} was lost after {lost_at}; every row scored once, as by the local engine."
        f" Undisturbed on this machine {ROWS / undisturbed:,.0f} rows/s, start included, {took / undisturbed:.2f} times"
        f" the local engine's {ROWS / took:,.0f}"
    )


def command(source: Path, output: Path, *options: str) -> list[str]:
    """The command line of a job."""
    return firstreply("score", source, "-o", output, "--tier", "fast", "--as-of", "2026-11-21T10:00:00Z", *options)


def timed(line: list[str]) -> float:
    """Seconds that a job takes in which some rows are rejected."""
    began = time.monotonic()
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 3, done.stderr
    return time.monotonic() - began


def write_rows(folder: Path, whole: Path) -> None:
    """Write the input, once in many files and once in one."""
    random = Random(SEED)
    texts = [
        f"{random.choice(('Where is', 'Cancel', 'Thanks for'))} order {number}, @northtel" for number in range(TEXTS)
    ]
    rows = [
        {
            "id": f"m{number}",
            "text": random.choice(texts) if random.random() < 0.99 else "",
            "brand": random.choice(("northtel", "northtel|skyfone", None)),
            "followers": -1.0 if random.random() < 0.01 else float(number),
        }
        for number in range(ROWS)
    ]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), whole)
    size = ROWS // FILES
    for number in range(FILES):
        part = pa.Table.from_pylist(rows[number * size : (number + 1) * size])
        pq.write_table(part, folder / f"in-{number:02d}.parquet")


def parts_done(output: Path) -> int:
    """Parts that a job has surely written."""
    return len(list(output.glob("_unfinished/part-*.json")))


def assert_same(output: Path, judge: Path) -> None:
    """Assert that results and rejects are those of the local engine, in its order."""
    assert (output / "_SUCCESS").exists()
    parts = sorted(output.glob("part-*.parquet"))
    results = pa.concat_tables([pq.read_table(part) for part in parts])
    assert results.equals(pq.read_table(judge))
    lines = [json.loads(line) for part in sorted(output.glob("_rejects/*")) for line in part.open(encoding="utf-8")]
    expected = [json.loads(line) for line in Path(f"{judge}.rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["id"], line["reason"]) for line in lines] == [(line["id"], line["reason"]) for line in expected]
    assert {path.name for path in output.iterdir()} == {"_SUCCESS", "_rejects", *(part.name for part in parts)}
