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
from training.recipe import Recipe, load_recipe
from training.sweep import suggested, sweep
from training.train import fingerprint, prepare

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture
def job(tiny_base: Path, tmp_path: Path) -> TrainJob:
    recipe = load_recipe(None, base=str(tiny_base), epochs=1, learning_rate=5e-3, precision="float32")
    return TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "sweep", recipe=recipe)


def _storage(job: TrainJob) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(job.out / "study.journal")))


def _trials(job: TrainJob) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="sweep", storage=_storage(job)).trials


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


def test_one_pretraining_serves_all_trials_and_each_can_be_made_again(
    job: TrainJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = job.recipe.model_copy(update={"pretraining_epochs": 1.0, "pretraining_rate": 5e-3})
    job = replace(job, recipe=recipe, report_to="tensorboard")
    sweep(job, 2)
    began = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pre-training for")]
    assert [", from " in line for line in began] == [False, True]
    assert sorted(path.name for path in job.out.iterdir()) == [
        "best.toml",
        "study.journal",
        "trial-0-logs",
        "trial-1-logs",
    ]
    assert all(len(list((job.out / f"trial-{number}-logs").iterdir())) == 1 for number in (0, 1))
    for trial in _trials(job):
        alone = replace(job, recipe=Recipe.model_validate(recipe.model_dump() | trial.params), report_to=None)
        run = tmp_path / f"alone-{trial.number}"
        prepared = prepare(alone, *train_and_dev(alone), run)
        assert fit(prepared.network, alone.recipe, prepared.inputs) == trial.value


def test_a_sweep_killed_in_its_first_trial_begins_with_it_again(job: TrainJob) -> None:
    job.out.mkdir()
    study = optuna.create_study(study_name="sweep", storage=_storage(job), direction="maximize")
    training, dev = train_and_dev(job)
    study.set_user_attr("job", fingerprint(job, [*training, *dev]))
    study.enqueue_trial({"learning_rate": 5e-3})
    assert suggested(study.ask(), job.recipe).learning_rate == 5e-3
    (job.out / "trial-0").mkdir()
    sweep(job, 1)
    killed, first = _trials(job)
    assert killed.state == optuna.trial.TrialState.FAIL
    assert first.state == optuna.trial.TrialState.COMPLETE
    assert {name: getattr(job.recipe, name) for name in first.params} == first.params
    assert not (job.out / "trial-0").exists()


@pytest.mark.parametrize("pretraining_epochs", [0, 1])
def test_suggestions_at_the_limits_are_recipes_and_hold_the_recipe_itself(pretraining_epochs: float) -> None:
    recipe = Recipe(
        epochs=100,
        batch_size=1,
        learning_rate=0.9,
        head_rate=0.2,
        layer_decay=0.1,
        weight_decay=5,
        dropout=0.99,
        pretraining_epochs=pretraining_epochs,
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        found = suggested(trial, recipe)
        assert Recipe.model_validate(found.model_dump()) == found
        assert {name: getattr(found, name) for name in trial.params} == trial.params
        for name, distribution in trial.distributions.items():
            assert distribution._contains(distribution.to_internal_repr(getattr(recipe, name))), name
    tuned_with_pretraining_too = {"batch_size", "weight_decay"} & trial.params.keys()
    assert bool(tuned_with_pretraining_too) == (pretraining_epochs == 0)


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
