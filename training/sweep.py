"""``firstreply train --sweep TRIALS``: looks for a better recipe with Optuna, and writes the best one as TOML.

A trial is fitted like any bundle and judged by its macro average precision on dev brands; nothing is exported. Every
trial looks at the same dev mentions, so measure the winner on others (``firstreply evaluate``). Pre-training, where the
recipe asks for it, is the same for all trials and runs once.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import Trial, TrialState

from training.fit import fit
from training.job import TrainingError, TrainJob
from training.mentions import train_and_dev
from training.processes import process_count, say
from training.recipe import Recipe, recipe_toml
from training.train import fingerprint, prepare

_JOURNAL, BEST = "study.journal", "best.toml"
_TUNED = (
    "learning_rate",
    "epochs",
    "batch_size",
    "head_rate",
    "layer_decay",
    "weight_decay",
    "dropout",
    "positive_weight",
)
_UNPRUNED_TRIALS = 4
"""Trials that run to their end before the worse half of later ones is cut off."""


def sweep(job: TrainJob, trials: int) -> int:
    """Try recipes around the job's until ``trials`` have ended; ``job.out`` gets the study and ``best.toml``.

    A study that is found there goes on. Prints the best recipe and how to train with it. Returns the exit status.

    Raises:
        TrainingError: too few mentions, several processes, or ``job.out`` holds something else.
    """
    if process_count() > 1:
        raise TrainingError("--sweep runs in one process: start it without a launcher")
    if not job.recipe.epochs:
        raise TrainingError("--sweep looks for settings of a training: give a recipe with epochs above 0")
    training, dev = train_and_dev(job)
    study = _study(job, fingerprint(job, [*training, *dev]))
    done = _ended(study)
    shared = job.out / "shared"  # tokenizer, what teachers said, pre-training: the same for every trial
    say(f"{done} of {trials} trials are done" if done else f"{trials} trials, the first with the recipe as it is")

    def objective(trial: Trial) -> float:
        tried = replace(job, recipe=suggested(trial, job.recipe))
        say(f"trial {trial.number}: {json.dumps(trial.params)}")
        run = job.out / f"trial-{trial.number}"
        prepared = prepare(tried, training, dev, shared)
        inputs = replace(prepared.inputs, run=run, run_name=f"{job.name}-{run.name}", logs=job.out / f"{run.name}-logs")

        def on_epoch(epoch: int, figure: float) -> None:
            trial.report(figure, epoch)
            if trial.should_prune():
                say(f"trial {trial.number}: no better than earlier ones at this epoch, cut off")
                raise optuna.TrialPruned

        try:
            return fit(prepared.network, tried.recipe, replace(inputs, on_epoch=on_epoch))
        finally:
            shutil.rmtree(run, ignore_errors=True)

    if done < trials:
        shared.mkdir(exist_ok=True)
        study.optimize(objective, n_trials=trials - done)
    shutil.rmtree(shared, ignore_errors=True)
    best = study.best_trial
    about = f"the best of {_ended(study)} trials, dev macro average precision {study.best_value:.4f}"
    file = job.out / BEST
    recipe = Recipe.model_validate(job.recipe.model_dump() | best.params)
    file.write_text(recipe_toml(recipe, about), encoding="utf-8")
    print(file.read_text(encoding="utf-8"), end="")
    say(f"written to {file}; train with it: firstreply train --recipe {file} --train …")
    return 0


def suggested(trial: Trial, recipe: Recipe) -> Recipe:
    """The trial's recipe: rates from a fifth to five times the recipe's, epochs from half to twice, and the like.

    With pre-training, its ``batch_size`` and ``weight_decay`` stay: they are those of pre-training too.
    """
    rate, epochs, batch = recipe.learning_rate, recipe.epochs, recipe.batch_size
    changes: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", rate / 5, max(rate, min(rate * 5, 0.5)), log=True),
        "epochs": trial.suggest_int("epochs", max(1, round(epochs / 2)), min(100, max(1, round(epochs * 2)))),
        "head_rate": trial.suggest_float(
            "head_rate", min(1.0, recipe.head_rate), max(30.0, recipe.head_rate), log=True
        ),
        "layer_decay": trial.suggest_float("layer_decay", min(0.7, recipe.layer_decay), 1.0),
        "dropout": trial.suggest_float("dropout", 0.0, max(0.3, recipe.dropout)),
        "positive_weight": trial.suggest_float("positive_weight", 0.0, 1.0),
    }
    if not recipe.pretraining_epochs:
        sizes = sorted({max(1, batch // 2), batch, batch * 2})
        changes["batch_size"] = trial.suggest_categorical("batch_size", sizes)
        changes["weight_decay"] = trial.suggest_float("weight_decay", 0.0, max(0.1, recipe.weight_decay))
    return Recipe.model_validate(recipe.model_dump() | changes)


def _study(job: TrainJob, digest: str) -> optuna.Study:
    """The study in ``job.out``, made or found."""
    journal = job.out / _JOURNAL
    if not job.out.name or (job.out.exists() and not journal.is_file() and any(job.out.iterdir())):
        raise TrainingError(f"--out {job.out} is there and holds no sweep; give another folder")
    job.out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal)))
    study = optuna.create_study(
        study_name="sweep", storage=JournalStorage(backend), direction="maximize", load_if_exists=True
    )
    if study.user_attrs.setdefault("job", digest) != digest:
        raise TrainingError(f"--out {job.out} holds a sweep of another recipe or other mentions; give another folder")
    study.set_user_attr("job", digest)
    for killed in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(killed.number, state=TrialState.FAIL)
        shutil.rmtree(job.out / f"trial-{killed.number}", ignore_errors=True)
    # A sampler that begins anew with the same seed would propose again what it proposed before the stop.
    study.sampler = optuna.samplers.TPESampler(seed=(job.recipe.seed + len(study.trials)) % 2**32)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS)
    if not study.get_trials(states=(TrialState.WAITING, TrialState.COMPLETE, TrialState.PRUNED)):
        own = job.recipe.model_dump(include=set(_TUNED)) | {"epochs": max(1, round(job.recipe.epochs))}
        study.enqueue_trial(own)
    return study


def _ended(study: optuna.Study) -> int:
    return len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))
