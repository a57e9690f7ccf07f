"""``firstreply score --engine ray`` on a real cluster of two small nodes: the local engine is the judge."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("ray")

from ray.cluster_utils import Cluster

from data.files import Row
from eval.processes import free_port
from firstreply import main
from model.bundle import DEFAULT_BUNDLE
from model.policy import DEFAULT_POLICY
from serving.bulk import BulkJob, Scoring, load_triage, score_file
from serving.on_ray.actor import Shipped
from tests.processes import scoring_actors, until

ROOT = Path(__file__).parents[2]
AS_OF = "2026-11-21T10:00:00+00:00"
COLUMNS = ("id", "text", "brand", "followers")
LONG = 20_000
"""Rows of a job that is disturbed: some chunks for each actor."""

# What Ray 2.60 itself leaves open or calls by old names, in this process
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of a cluster of two nodes with a CPU each."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args=node())
        cluster.add_node(**node())
        yield cluster.address
        cluster.shutdown()  # type: ignore[no-untyped-call]


def node() -> dict[str, Any]:
    return {"num_cpus": 1, "object_store_memory": 2**27, "include_dashboard": False}


def rows(prefix: str, count: int) -> list[dict[str, Any]]:
    """Of which some cannot be scored, and few differ, so that a job is about rows and not about reading."""
    return [
        {
            "id": f"{prefix}{number}",
            "text": "" if number % 7 == 3 else f"Where is order {number % 40}, @northtel? \U0001f600",
            "brand": "northtel|skyfone" if number % 5 == 0 else "northtel",
            "followers": -1.0 if number % 11 == 5 else float(number),
        }
        for number in range(count)
    ]


def write_input(path: Path, given: Sequence[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in given) + "no JSON\n")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(given)
            stream.write("too,many,cells,in,this,row\n")
    else:
        pq.write_table(pa.Table.from_pylist(list(given)), path)
    return path


def command(source: Path | str, output: Path, bundle: Path, address: str, *options: str) -> list[str]:
    program = [sys.executable, "-m", "firstreply", "score", str(source), "-o", str(output), "--bundle", str(bundle)]
    return [*program, "--as-of", AS_OF, "--engine", "ray", "--address", address, *options]


def run(line: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def local(source: Path, output: Path, bundle: Path, **fields: Any) -> list[dict[str, Any]]:
    """Score with the local engine; returns the rejects, with the name of the file."""
    job = {"brands": None, "policy": None, "cut": "balanced", "as_of": datetime.fromisoformat(AS_OF), **fields}
    score_file(BulkJob(str(source), str(output), bundle, **job))
    rejects = Path(f"{output}.rejects.jsonl")
    lines = rejects.read_text(encoding="utf-8").splitlines() if rejects.exists() else []
    return [{"file": str(source), **json.loads(line)} for line in lines]


def parts_of(output: Path, kind: str, file: int) -> list[Path]:
    return sorted(output.glob(f"part-{file:05d}-*.{kind}"))


def rejects_of(output: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for part in sorted(output.glob("_rejects/*.jsonl")) for line in part.open(encoding="utf-8")
    ]


def test_results_and_rejects_are_those_of_the_local_engine(address: str, tiny_bundle: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    sources = [write_input(folder / name, rows(name[0], 60)) for name in ("a.csv", "b.jsonl", "c.parquet")]
    (folder / "d.parquet").write_bytes(b"PAR1 and then nothing")
    (folder / "e.csv").write_text("id,body\n1,ok\n")
    (folder / "notes.txt").write_text("not for us")
    done = run(command(f"file://{folder}", output, tiny_bundle, address, "--explain", "--cut", "p90"))
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""

    rejects: list[dict[str, Any]] = []
    for number, source in enumerate(sources):
        judge = tmp_path / f"{source.stem}.parquet"
        rejects += local(source, judge, tiny_bundle, explain=True, cut="p90")
        (part,) = parts_of(output, "parquet", number)
        assert pq.read_table(part).equals(pq.read_table(judge))
    found = rejects_of(output)
    assert found[:-2] == rejects
    assert [(reject["row"], Path(reject["file"]).name) for reject in found[-2:]] == [
        (None, "d.parquet"),
        (None, "e.csv"),
    ]
    for broken, message in zip(found[-2:], ("not a whole Parquet file", "no column 'text'"), strict=True):
        assert message in broken["reason"]
        assert f"firstreply: {broken['reason']}\n" in done.stderr
    assert "2 of 5 files cannot be read" in done.stderr
    assert "files passed over that do not end in .csv, .jsonl or .parquet: 1" in done.stderr
    manifest = json.loads((output / "_SUCCESS").read_text())
    assert [file["rows"] for file in manifest["files"]] == [61, 61, 60, 0, 0]
    assert manifest["rejected"] == len(rejects)
    assert manifest["results"] == pq.read_table(output).num_rows
    assert f"182 rows, {len(rejects)} rejected" in done.stderr
    assert {path.name for path in output.iterdir()} - {path.name for path in output.glob("part-*")} == {
        "_SUCCESS",
        "_rejects",
    }


def test_an_actor_and_then_the_job_are_killed_and_every_row_is_scored_once(
    address: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    source, output = write_input(tmp_path / "in.jsonl", rows("m", LONG)), tmp_path / "out.jsonl"
    line = command(source, output, tiny_bundle, address)
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert until(scoring_actors, 60)
    scoring_actors()[0].kill()
    assert until(lambda: list(output.glob("_unfinished/part-*")), 60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not (output / "_SUCCESS").exists()
    assert until(lambda: not scoring_actors(), 30)

    done = run(line)
    assert done.returncode == 3, done.stderr
    assert "going on; parts that are done: " in done.stderr
    judge = tmp_path / "judge.jsonl"
    rejects = local(source, judge, tiny_bundle)
    assert b"".join(part.read_bytes() for part in parts_of(output, "jsonl", 0)) == judge.read_bytes()
    assert rejects_of(output) == rejects
    assert json.loads((output / "_SUCCESS").read_text())["rows"] == LONG + 1


def test_what_goes_wrong_on_another_machine_is_one_clear_line_here(
    address: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    source, output = write_input(tmp_path / "in.jsonl", rows("m", LONG)), tmp_path / "out.jsonl"
    line = command(source, output, tiny_bundle, address)
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    record = output / "_unfinished" / "job.json"
    assert until(record.exists, 60)
    record.write_text(json.dumps({**json.loads(record.read_text()), "token": "of another job"}))
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert stdout == ""
    said = [one for one in stderr.splitlines() if "rows are done" not in one]
    assert said == [f"firstreply: {output}: another job has begun to write here; give another -o OUTPUT"]


@pytest.mark.parametrize("tier", ["fast", "cascade"])
def test_a_model_is_loaded_from_what_is_sent_alone(tmp_path: Path, tier: str) -> None:
    folder = tmp_path / "model"
    for name in {tier, "fast", "default"}:
        shutil.copytree(DEFAULT_BUNDLE.parent / name, folder / name)
    policy, brands = folder / "policy.toml", folder / "brands.toml"
    policy.write_text(DEFAULT_POLICY.read_text().replace("complaint = 15", "complaint = 50"))
    brands.write_text('[northtel]\nnames = ["Northtel"]\nhandles = ["northtel", "skyfone"]\n')
    job = BulkJob("in.csv", "out", folder / tier, brands, policy, "p80", explain=True)
    as_of = datetime.fromisoformat(AS_OF)
    given = [Row(number, row) for number, row in enumerate(rows("m", 50), start=1)]
    here = Scoring(job, as_of)(given)
    sent = pickle.dumps(Shipped.of(job, load_triage(job)))
    shutil.rmtree(folder)
    assert pickle.loads(sent).load(as_of)(given) == here
    assert here.tally.results
    assert b"+brands." in here.results


def test_jobs_that_cannot_be_done_are_one_clear_line_and_change_nothing(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_input(tmp_path / "in.csv", rows("a", 3))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "body.csv").write_text("id,body\n1,ok\n")
    before = sorted(tmp_path.rglob("*"))
    for source, output, message in [
        (tmp_path / "none.csv", "out", "none.csv: no such file"),
        (tmp_path / "broken.parquet", "out", "not a whole Parquet file"),
        (tmp_path / "body.csv", "out", "no column 'text'"),
        (good, "out.csv", "Ray writes a folder of Parquet or of JSON lines"),
        (good, "in.csv", "Ray writes a folder of Parquet or of JSON lines"),
        (tmp_path, "out", "would be read and written at once"),
    ]:
        line = ["score", str(source), "-o", str(tmp_path / output), "--engine", "ray", "--bundle", str(tiny_bundle)]
        assert main(line) == 1
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    line = ["score", str(good), "-o", str(tmp_path / "out"), "--engine", "ray", "--bundle", str(tmp_path)]
    assert main(line) == 1
    assert "bundle" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_cannot_be_written_is_one_clear_line(address: str, tiny_bundle: Path, tmp_path: Path) -> None:
    good = write_input(tmp_path / "in.csv", rows("a", 3))
    output = tmp_path / "in.txt"
    output.write_text("in the way")
    done = run(command(good, output / "out", tiny_bundle, address))
    assert done.returncode == 1
    assert done.stderr.startswith(f"firstreply: {output / 'out'}: ")
    assert done.stderr.count("\n") == 1


def test_a_cluster_that_does_not_answer_is_one_clear_line(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_input(tmp_path / "in.csv", rows("a", 3))
    line = ["score", str(good), "-o", str(tmp_path / "out"), "--engine", "ray", "--bundle", str(tiny_bundle)]
    assert main([*line, "--address", f"127.0.0.1:{free_port()}"]) == 1
    said = capsys.readouterr().err
    assert "is it running, and reachable from here?" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-", "-o", "out", "--engine", "ray"], "--engine ray reads files and writes a folder"),
        (["in.csv", "-o", "-", "--engine", "ray"], "--engine ray reads files and writes a folder"),
        (["in.csv", "--engine", "ray"], "--engine ray reads files and writes a folder"),
        (["in.csv", "--address", "127.0.0.1:6379"], "--address would do nothing here"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["score", *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("absent", ["ray", "pyarrow"])
def test_without_ray_one_line_says_what_to_install(tmp_path: Path, absent: str) -> None:
    good = write_input(tmp_path / "in.csv", rows("a", 3))
    program = f"import sys; sys.modules[{absent!r}] = None; from firstreply import main; sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-c", program, "score", str(good), "-o", str(tmp_path / "out"), "--engine", "ray"]
    done = run([*line, "--tier", "fast"])
    assert done.returncode == 1
    assert "pip install 'firstreply[ray]'" in done.stderr
    assert done.stderr.count("\n") == 1
