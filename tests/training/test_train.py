"""Training end to end on a tiny encoder: what is written, what is refused, and a run that is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from data.files import read_labelled, write_labelled
from data.schema import INTENTS, FileError
from model.bundle import Bundle
from model.errors import BundleError
from model.scorer import Scorer, session_inputs
from training.assemble import figures_read
from training.base import load_base
from training.export import export_fp32
from training.job import TrainingError, TrainJob
from training.network import IntentNetwork, add_masks, target_id
from training.recipe import load_recipe
from training.train import train

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"


@pytest.fixture
def job(tiny_base: Path, tmp_path: Path) -> TrainJob:
    recipe = load_recipe(None, base=str(tiny_base), epochs=1, precision="float32")
    return TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "bundle", recipe=recipe)


def test_onnx_gives_the_logits_of_torch(tiny_base: Path, tmp_path: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    network = IntentNetwork(encoder, target_id(tokenizer), dropout=0.1).eval()
    export_fp32(network, tmp_path / "model.onnx", 64)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for shape in ((1, 1), (1, 17), (3, 40)):
        ids = torch.randint(5, len(tokenizer), shape)
        with torch.no_grad():
            expected = network.logits(ids, torch.ones_like(ids)).numpy()
        (found,) = session.run(None, session_inputs(session, ids.tolist()))
        assert np.abs(found - expected).max() < 1e-4
    mask = torch.ones_like(ids)
    mask[0, 21:] = 0  # in torch a shorter mention is padded
    with torch.no_grad():
        expected = network.logits(ids, mask).numpy()
    (alone,) = session.run(None, session_inputs(session, [ids[0, :21].tolist()]))
    assert np.abs(alone[0] - expected[0]).max() < 1e-4


def test_bundle_says_what_it_is(tiny_bundle: Path, tiny_base: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    assert bundle.base_model == str(tiny_base)
    assert bundle.data[0]["name"] == "sample"
    assert bundle.data[0]["mentions"] == len(read_labelled(SAMPLE / "train.csv"))
    assert manifest["recipe"]["epochs"] == 8
    assert bundle.figures["dev"]["all"]["mentions"] == len(read_labelled(SAMPLE / "heldout.csv"))
    assert not (tiny_bundle.parent / "bundle.run").exists()
    assert manifest["calibration"]["measured"]["by"] == "brand"
    for cut in manifest["cuts"].values():
        assert set(cut["precision"]) == set(cut["interval"]) == set(cut["recall"]) == set(INTENTS)
        assert set(cut["pooled"]) == {"precision", "interval", "recall"}
    card = (tiny_bundle / "MODEL_CARD.md").read_text()
    assert all(f"| {intent} |" in card for intent in INTENTS)


def test_it_learns(tiny_bundle: Path) -> None:
    """Even a tiny random encoder beats asserting everything: average precision above each intent's prevalence."""
    part = Bundle.load(tiny_bundle).figures["dev"]["all"]
    for row in part["intents"].values():
        assert row["average_precision"] > 1.5 * row["support"] / part["mentions"]


def test_same_seed_same_bundle(job: TrainJob, tmp_path: Path) -> None:
    train(job)
    train(replace(job, out=tmp_path / "again"))
    first, second = (Scorer.load(folder) for folder in (job.out, tmp_path / "again"))
    assert first.read("my order never came", None) == second.read("my order never came", None)


def test_card_states_the_figures_of_other_bundles(
    job: TrainJob, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = replace(job, dev=SAMPLE / "heldout.csv", permissive=True, out=tmp_path / "permissive")
    train(twin)
    train(replace(twin, permissive=False, compared=(twin.out, tiny_bundle)))
    manifest = json.loads((twin.out / "bundle.json").read_text())
    card = (twin.out / "MODEL_CARD.md").read_text()
    permissive, other = manifest["beside"]
    assert permissive["permissive"]
    assert not other["permissive"]
    assert other["dev"]["all"]["macro_f1"] == Bundle.load(tiny_bundle).figures["dev"]["all"]["macro_f1"]
    assert f"trained with `--licence permissive` | {permissive['dev']['all']['macro_f1']:.3f} |" in card
    # a bundle that was made on other dev mentions is measured on these
    train(replace(job, dev=SAMPLE / "train.csv", train=(SAMPLE / "heldout.csv",), compared=(tiny_bundle,)))
    (there,) = json.loads((job.out / "bundle.json").read_text())["beside"]
    mentions = read_labelled(SAMPLE / "train.csv")
    scorer = Scorer.load(tiny_bundle)
    readings = list(scorer.read_all((mention.text, mention.target) for mention in mentions))
    figures = figures_read(mentions, readings, scorer.bundle.thresholds("balanced"))
    assert there["dev"]["all"]["macro_f1"] == figures["all"]["macro_f1"]
    with pytest.raises(BundleError, match="absent"):
        train(replace(job, compared=(tmp_path / "absent",)))


def test_without_a_dev_file_whole_brands_are_set_aside(job: TrainJob, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(job) == 0
    output = capsys.readouterr()
    assert "dev, all:" in output.out
    assert "epoch 1: dev macro average precision" in output.err
    trained = sum(row["mentions"] for row in Bundle.load(job.out).data)
    dev = Bundle.load(job.out).figures["dev"]["all"]["mentions"]
    (near,) = re.findall(r"(\d+) mentions are left out of training: their texts nearly occur", output.err)
    assert trained + dev + int(near) == len(read_labelled(SAMPLE / "train.csv"))


def test_brands_on_both_sides_are_said(job: TrainJob, capsys: pytest.CaptureFixture[str]) -> None:
    train(replace(job, dev=SAMPLE / "train.csv"))
    assert "brands of" in capsys.readouterr().err


def test_too_little_to_learn_from(job: TrainJob, tmp_path: Path) -> None:
    write_labelled(tmp_path / "few.csv", read_labelled(SAMPLE / "train.csv")[:7])
    with pytest.raises(TrainingError, match="too few"):
        train(replace(job, train=(tmp_path / "few.csv",), dev=SAMPLE / "heldout.csv"))


def test_a_folder_that_is_no_bundle_is_not_overwritten(job: TrainJob, tmp_path: Path) -> None:
    precious = tmp_path / "mine"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match="mine is there and is no bundle"):
        train(replace(job, out=precious))
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_an_older_bundle_is_replaced(job: TrainJob) -> None:
    train(job)
    train(replace(job, version="0.2.0"))
    assert Bundle.load(job.out).version == "0.2.0"
    assert sorted(path.name for path in job.out.parent.iterdir()) == ["bundle", "bundle-run.json"]


def test_an_intent_that_no_label_is_known_of_is_never_asserted(job: TrainJob, tmp_path: Path) -> None:
    hidden = [
        mention.model_copy(update={"labels": (None, None, mention.labels[2], None, None)})
        for mention in read_labelled(SAMPLE / "train.csv")
    ]
    write_labelled(tmp_path / "complaints.csv", hidden)
    train(replace(job, train=(tmp_path / "complaints.csv",)))
    reading = Scorer.load(job.out).read("leaving you for good", None)
    assert max(reading.probabilities[:2] + reading.probabilities[3:]) < 0.01


def test_permissive_leaves_out_what_is_not_for_commercial_use(
    job: TrainJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = ["airline", "xfin", "mine", ""]
    mentions = [
        mention.model_copy(update={"source": sources[number % 4]})
        for number, mention in enumerate(read_labelled(SAMPLE / "train.csv"))
    ]
    write_labelled(tmp_path / "mixed.csv", mentions)
    permissive = replace(job, train=(tmp_path / "mixed.csv",), permissive=True)
    train(permissive)
    assert {row["name"] for row in Bundle.load(job.out).data} == {"xfin", "mine", "unnamed"}
    assert "108 of 429 mentions are left out (airline 108)" in capsys.readouterr().err
    assert "--licence permissive" in (job.out / "MODEL_CARD.md").read_text()
    restricted = replace(permissive, permissive=False, out=tmp_path / "restricted")
    train(restricted)
    with pytest.raises(TrainingError, match="teacher .*restricted was trained on airline"):
        train(replace(permissive, teachers=(restricted.out,)))


def test_unknown_source(job: TrainJob) -> None:
    with pytest.raises(TrainingError, match="--exclude-source twcs.*sources are sample"):
        train(replace(job, exclude_sources=("twcs",)))


def test_missing_file(job: TrainJob, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="absent.csv"):
        train(replace(job, train=(tmp_path / "absent.csv",)))


def test_killed_run_goes_on_where_it_was(job: TrainJob, tiny_base: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'base = "{tiny_base}"\nepochs = 12\npatience = 12\nprecision = "float32"\n')
    command = [sys.executable, "firstreply.py", "train", "--train", str(SAMPLE / "train.csv")]
    command += ["--recipe", str(recipe), "--out", str(tmp_path / "bundle")]
    run = tmp_path / "bundle.run"
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not list(run.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "bundle").exists()
    (run / "checkpoint-9999").mkdir()  # as a kill in the middle of writing leaves it
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"resuming from {run}" in again.stderr
    assert "epoch 1: " not in again.stderr
    assert "epoch 12: " in again.stderr
    assert Bundle.load(tmp_path / "bundle").figures["dev"]


def test_a_student_learns_from_a_teacher_where_no_label_is_known(
    tiny_bundle: Path, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every label of the training file is hidden: what the student knows it has from the teacher."""
    hidden = [
        mention.model_copy(update={"labels": (None,) * len(INTENTS)}) for mention in read_labelled(SAMPLE / "train.csv")
    ]
    write_labelled(tmp_path / "hidden.csv", hidden)
    recipe = load_recipe(None, base=str(tiny_base), epochs=16, learning_rate=5e-3, precision="float32")
    student = TrainJob(
        train=(tmp_path / "hidden.csv",),
        dev=SAMPLE / "heldout.csv",
        brands=SAMPLE / "brands.toml",
        out=tmp_path / "student",
        recipe=recipe,
        teachers=(tiny_bundle,),
        keep_encoder=True,
    )
    assert train(student) == 0
    assert "asking the teacher" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "student" / "bundle.json").read_text())
    assert manifest["teachers"][0]["sha256"] == Bundle.load(tiny_bundle).sha256
    assert "taught by bundles" in (tmp_path / "student" / "MODEL_CARD.md").read_text()
    for row in manifest["figures"]["dev"]["all"]["intents"].values():
        assert row["average_precision"] > 1.5 * row["support"] / manifest["figures"]["dev"]["all"]["mentions"]
    further = replace(
        student,
        train=(SAMPLE / "train.csv",),
        teachers=(),
        out=tmp_path / "further",
        recipe=recipe.model_copy(update={"base": str(tmp_path / "student-encoder"), "epochs": 1}),
    )
    assert train(further) == 0
    assert Bundle.load(tmp_path / "further").base_model == str(tiny_base)
