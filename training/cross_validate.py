"""``firstreply train --cross-validate K``: K bundles, each measured on the brands that it never saw.

A fold's bundle is made as any other: part of its own brands is set aside to stop on, calibrate and cut. Its figures
are those of the bundle as it would be served, through that calibration, on the brands that were left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from data.files import LABELLED_TYPES, open_writer
from data.schema import INTENTS, LabelledMention, labelled_to_row
from data.splits import brand_folds
from model.bundle import MANIFEST
from model.scorer import Reading, Scorer
from training.assemble import figures_read
from training.job import TrainingError, TrainJob
from training.mentions import check_enough, set_aside, training_mentions, without
from training.processes import is_main, main_first, say
from training.train import fingerprint, make_bundle

_METRICS = ("precision", "recall", "f1", "both_classes_f1", "average_precision")
_COLUMNS = {**LABELLED_TYPES, **dict.fromkeys((f"p_{intent}" for intent in INTENTS), float), "fold": int}

Group = Literal["brand_key", "source", "id"]
_GROUPS: dict[Group, str] = {"brand_key": "brands", "source": "sources", "id": "mentions"}


@dataclass(frozen=True)
class CrossValidation:
    """How the mentions are divided."""

    folds: int
    """At least 2, and at most as many as there are groups."""
    group: Group = "brand_key"
    """What is never divided: a brand, a whole source, or only a mention (the folds of papers on one corpus)."""
    file_format: Literal["csv", "parquet"] = "csv"
    """Of the out-of-fold predictions."""


def cross_validate(job: TrainJob, plan: CrossValidation) -> int:
    """Fit and measure every fold; ``job.out`` gets the bundles ``fold-N``, the predictions and the figures.

    What is found finished there is kept, so a run that was stopped goes on with the fold that it was at. Prints the
    figures, mean and standard deviation over folds. Returns the exit status.

    Raises:
        TrainingError: too few mentions or groups, options that would let left-out brands be seen, or ``job.out``
            holds something else.
    """
    if not job.recipe.epochs:
        raise TrainingError("--cross-validate trains a bundle for each fold: give a recipe with epochs above 0")
    if job.dev or job.teachers or job.averaged:
        option = "dev" if job.dev else "teacher" if job.teachers else "average-with"
        raise TrainingError(
            f"--cross-validate takes no --{option}: every fold sets brands aside by itself,"
            " and other models may have seen the brands that are left out"
        )
    student = job.recipe.student
    if student is not None and (student.begin or student.spliced):
        raise TrainingError(
            "--cross-validate: the base and a student trained before may have seen the brands that are left out;"
            " leave [student] begin and spliced out of the recipe"
        )
    mentions = training_mentions(job)
    folds = _folds(mentions, plan, job.recipe.seed)
    with main_first():
        _claim(job, plan, mentions)
    rows: list[dict[str, Any]] = []
    figures: list[dict[str, Any]] = []
    for fold in range(plan.folds):
        left_out = [mention for mention, its in zip(mentions, folds, strict=True) if its == fold]
        bundle = job.out / f"fold-{fold + 1}"
        say(f"fold {fold + 1} of {plan.folds}: {len(left_out):,} mentions left out")
        with main_first():  # all processes look before one of them writes
            done = (bundle / MANIFEST).is_file()
        if not done:
            others = [mention for mention, its in zip(mentions, folds, strict=True) if its != fold]
            training, dev = set_aside(without(others, left_out), job.recipe.seed, plan.group)
            check_enough(training, dev, job)
            make_bundle(replace(job, out=bundle, name=f"{job.name}-fold-{fold + 1}"), training, dev)
        if is_main():
            scorer = Scorer.load(bundle)
            readings = list(scorer.read_all((mention.text, mention.target) for mention in left_out))
            rows += [_row(*pair, fold + 1) for pair in zip(left_out, readings, strict=True)]
            figures.append(figures_read(left_out, readings, scorer.bundle.thresholds("balanced")))
    if is_main():
        _write(job, plan, rows, figures)
    return 0


def summarise(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation (0 of one fold) over the folds in which an intent has a known positive.

    Args:
        figures: of each fold, as ``figures_of`` gives them.

    Returns:
        Per intent its ``support`` in all folds and, per metric, ``mean`` and ``sd``; the same of the macro averages.
    """
    intents = {}
    for intent in INTENTS:
        found = [figure["intents"][intent] for figure in figures if intent in figure["intents"]]
        if found:
            metrics = {metric: _spread([row[metric] for row in found]) for metric in _METRICS}
            intents[intent] = {"support": sum(row["support"] for row in found), "folds": len(found), **metrics}
    macro = {
        name: _spread([figure[name] for figure in figures if figure[name] is not None])
        for name in ("macro_f1", "macro_average_precision")
    }
    return {"mentions": sum(figure["mentions"] for figure in figures), **macro, "intents": intents}


def _folds(mentions: Sequence[LabelledMention], plan: CrossValidation, seed: int) -> list[int]:
    groups: list[str] = [getattr(mention, plan.group) for mention in mentions]
    try:
        return brand_folds(groups, plan.folds, seed)
    except ValueError:
        raise TrainingError(
            f"--cross-validate {plan.folds}: give 2 folds or more, and at most as many as there are values of"
            f" {plan.group}, which are {len(set(groups))}"
        ) from None


def _claim(job: TrainJob, plan: CrossValidation, mentions: Sequence[LabelledMention]) -> None:
    """Make the folder, or find it as the same cross-validation left it."""
    this = json.dumps({"job": fingerprint(job, mentions), "folds": plan.folds, "group": plan.group})
    job_file = job.out / "job.json"
    if job_file.is_file() and job_file.read_text() == this:
        return
    if job.out.exists() and (not job.out.is_dir() or any(job.out.iterdir())):
        raise TrainingError(f"--out {job.out} is there and is not of this cross-validation; give another folder")
    job.out.mkdir(parents=True, exist_ok=True)
    job_file.write_text(this)


def _row(mention: LabelledMention, reading: Reading, fold: int) -> dict[str, Any]:
    chances = {f"p_{intent}": value for intent, value in zip(INTENTS, reading.probabilities, strict=True)}
    return {**labelled_to_row(mention), **chances, "fold": fold}


def _write(
    job: TrainJob, plan: CrossValidation, rows: Sequence[dict[str, Any]], figures: Sequence[dict[str, Any]]
) -> None:
    predictions = job.out / f"out-of-fold.{plan.file_format}"
    with open_writer(predictions, _COLUMNS) as writer:
        for row in rows:
            writer.write(row)
    names = [name for name in ("all", "natural") if any(name in parts for parts in figures)]
    summary = {name: summarise([parts[name] for parts in figures if name in parts]) for name in names}
    report = {
        "folds": plan.folds,
        "group": plan.group,
        "cut": "balanced",
        "recipe": job.recipe.model_dump(),
        "summary": summary,
        "per_fold": figures,
    }
    (job.out / "cross-validation.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say(f"out-of-fold predictions written to {predictions}")
    print("\n\n".join(_table(name, part, plan) for name, part in summary.items()))


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 4), "sd": round(sd, 4)}


def _table(name: str, part: dict[str, Any], plan: CrossValidation) -> str:
    def cells(spreads: Sequence[dict[str, float] | None]) -> str:
        shown = ["" if spread is None else "{mean:.3f} ± {sd:.3f}".format(**spread) for spread in spreads]
        return "".join(f"{cell:>16}" for cell in shown)

    measured = f"left-out {_GROUPS[plan.group]}, {name}: {part['mentions']:,} mentions"
    lines = [f"{measured}, mean ± standard deviation of {plan.folds} folds"]
    lines.append(f"{'intent':<18}{'precision':>16}{'recall':>16}{'F1':>16}{'both classes':>16}{'AP':>16}{'support':>9}")
    for intent, row in part["intents"].items():
        lines.append(f"{intent:<18}{cells([row[metric] for metric in _METRICS])}{row['support']:>9}")
    lines.append(f"{'macro':<18}{cells([None, None, part['macro_f1'], None, part['macro_average_precision']])}")
    return "\n".join(lines)
