"""A sweep on the tiny encoder: its first trial, going on after a stop, cutting trials off, and the recipe it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from training.fit import fit
from training.job import TrainingError, TrainJob
from training.mentions import train_and_dev
from training.recipe import load_recipe
from training.sweep import sweep
from training.train import prepare

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture
def job(tiny_base: Path, tmp_path: Path) -> TrainJob:
    recipe = load_recipe(None, base=str(tiny_base), epochs=1, learning_rate=5e-3, precision="float32")
    return TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "sweep", recipe=recipe)


def _trials(job: TrainJob) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(job.out / "study.journal")))
    return optuna.load_study(study_name="sweep", storage=storage).trials


def test_sweep_goes_on_and_writes_the_best_recipe(job: TrainJob, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(job, 1)
    first = _trials(job)
    assert [trial.params["learning_rate"] for trial in first] == [5e-3]
    sweep(job, 3)
    trials = _trials(job)
    assert [trial.params for trial in trials[:1]] == [trial.params for trial in first]
    assert len({json.dumps(trial.params) for trial in trials}) == 3
    best = max(trials, key=lambda trial: trial.value or 0.0)
    recipe = load_recipe(job.out / "best.toml")
    assert {name: getattr(recipe, name) for name in best.params} == best.params
    assert recipe.base == job.recipe.base
    assert "firstreply train --recipe" in capsys.readouterr().err
    with pytest.raises(TrainingError, match="another recipe"):
        sweep(replace(job, recipe=job.recipe.model_copy(update={"max_tokens": 32})), 3)


def test_a_trial_ends_at_the_epoch_that_is_no_good(job: TrainJob, tmp_path: Path) -> None:
    seen: list[int] = []

    def on_epoch(epoch: int, figure: float) -> None:
        seen.append(epoch)
        assert 0 < figure < 1
        raise optuna.TrialPruned

    longer = replace(job, recipe=job.recipe.model_copy(update={"epochs": 3}))
    prepared = prepare(longer, *train_and_dev(longer), tmp_path)
    with pytest.raises(optuna.TrialPruned):
        fit(prepared.network, longer.recipe, replace(prepared.inputs, on_epoch=on_epoch))
    assert seen == [1]


def test_a_folder_of_something_else_is_left_alone(job: TrainJob) -> None:
    job.out.mkdir()
    (job.out / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match="holds no sweep"):
        sweep(job, 1)
