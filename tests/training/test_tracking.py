"""What a tracker is sent, and what is said when it is not installed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from training.cross_validate import CrossValidation, cross_validate
from training.job import TrainJob
from training.recipe import load_recipe
from training.tracking import TRACKERS, TrackerError, check_tracker
from training.train import train

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


def test_tensorboard_gets_loss_and_dev_figures(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "logs"))
    recipe = load_recipe("quick", base=str(tiny_base), epochs=1, precision="float32")
    train(TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "bundle", recipe=recipe, report_to="tensorboard"))
    (events,) = (tmp_path / "logs").glob("events.out.tfevents.*")
    written = events.read_bytes()
    for name in (b"train/loss", b"train/learning_rate", b"eval/macro_ap", b"eval/churn_risk_ap"):
        assert name in written


def test_each_fold_has_its_own_logs_beside_its_bundle(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    recipe = load_recipe("quick", base=str(tiny_base), epochs=1, precision="float32")
    job = TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "cv", recipe=recipe, report_to="tensorboard")
    cross_validate(job, CrossValidation(2))
    for fold in (1, 2):
        (events,) = (job.out / f"fold-{fold}-logs").iterdir()
        assert b"eval/macro_ap" in events.read_bytes()
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ


def test_tracker_that_is_not_installed() -> None:
    absent = [name for name, packages in TRACKERS.items() if not any(find_spec(package) for package in packages)]
    if not absent:
        pytest.skip("every tracker is installed")
    with pytest.raises(TrackerError, match=f"pip install {TRACKERS[absent[0]][0]}$"):
        check_tracker(absent[0])
