"""A recorded run, made again: the same bits, or what is not the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.schema import FileError
from eval.behaviour import check_bundle
from model.brands import DEFAULT_BRANDS
from training.job import TrainJob
from training.recipe import load_recipe
from training.record import code_hash, differences, facts, read_record
from training.reproduce import reproduce
from training.train import train

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"


def test_a_bundle_is_made_again_bit_by_bit(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(SAMPLE / "train.csv", tmp_path / "train.csv")
    recipe = load_recipe("quick", base=str(tiny_base), learning_rate=5e-3, precision="float32")
    train(TrainJob(train=(tmp_path / "train.csv",), out=tmp_path / "first", recipe=recipe), check_bundle)
    record = tmp_path / "first-run.json"
    again = subprocess.run(
        [sys.executable, "firstreply.py", "train", "--reproduce", str(record), "--out", str(tmp_path / "again")],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr + again.stdout
    assert "identical: every file" in again.stdout
    assert (tmp_path / "first" / "model.onnx").read_bytes() == (tmp_path / "again" / "model.onnx").read_bytes()
    capsys.readouterr()
    with (tmp_path / "train.csv").open("a") as file:
        file.write("new,thanks for the very quick fix,Wagbury" + "," * 7 + "wagbury,sample,natural,0,0,0,1,0\n")
    assert reproduce(record, tmp_path / "other") == 1
    shown = capsys.readouterr().out
    assert "not identical: model.onnx" in shown
    assert f"{tmp_path / 'train.csv'}: " in shown
    assert "torch" not in shown


@pytest.mark.parametrize("changed", ["data/a.py", "eval/behaviour.toml", "model/a.py", "training/recipes/quick.toml"])
def test_code_and_tables_of_every_package_count(tmp_path: Path, changed: str) -> None:
    (tmp_path / changed).parent.mkdir(parents=True)
    (tmp_path / changed).write_text("1")
    before = code_hash(tmp_path)
    (tmp_path / changed).write_text("2")
    assert code_hash(tmp_path) != before


def test_the_brands_file_that_comes_along_is_a_fact(tiny_base: Path, tmp_path: Path) -> None:
    job = TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path, recipe=load_recipe(None, base=str(tiny_base)))
    assert facts(job)[str(DEFAULT_BRANDS.resolve())] == hashlib.sha256(DEFAULT_BRANDS.read_bytes()).hexdigest()


def test_differences_name_both_values() -> None:
    assert differences({"torch": "2.13.0", "threads": "2"}, {"torch": "2.14.0", "threads": "2", "device": "cpu"}) == [
        "device: not recorded → cpu",
        "torch: 2.13.0 → 2.14.0",
    ]


@pytest.mark.parametrize(
    ("text", "message"), [("{}", "job: Field required"), ("no", "Invalid JSON"), (None, "no such")]
)
def test_what_is_no_record(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(FileError, match=message):
        read_record(tmp_path / "run.json")
