"""``firstreply train``: labelled files → bundle, start to end, and resumable.

Leaves each step to its module: ``examples``, ``fit``, ``export``, ``assemble``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed
from transformers.utils import logging as transformers_logging

from data.files import read_labelled
from data.schema import INTENTS, LabelledMention
from data.sources import SOURCES
from data.splits import split_by_brand
from model.brands import DEFAULT_BRANDS, Brands
from model.bundle import MANIFEST, MODEL
from model.encoding import Encoder
from model.errors import FirstreplyError
from model.normalise import NORMALISER_VERSION
from training.assemble import Check, Parts, assemble
from training.base import load_base
from training.examples import distilled, labels_of, to_dataset, token_ids, with_invented_names
from training.export import QUANTISATION, export_fp32, quantise
from training.fit import FitInputs, fit, last_checkpoint, positive_weights, use_bfloat16
from training.network import IntentNetwork, add_masks, restore_head, save_checkpoint, target_id
from training.pretrain import pretrain
from training.recipe import Recipe
from training.teachers import Teacher, taught

_DEV_SHARE = 0.15
"""Share of the mentions, by whole brands, that is set aside where no dev file is given."""
_FEWEST_EXAMPLES = 20


class TrainingError(FirstreplyError):
    """The labelled mentions given cannot be trained on."""


@dataclass(frozen=True)
class TrainJob:
    """What to train on, how, and where the bundle goes."""

    train: tuple[Path, ...]
    out: Path
    recipe: Recipe
    dev: Path | None = None
    """Labelled mentions of other brands; without it, some brands of ``train`` are set aside."""
    brands: Path | None = None
    teachers: tuple[Path, ...] = ()
    """Bundles or kept encoders to learn from as well: from the mean of their probabilities. They teach mentions without
    labels too."""
    exclude_sources: tuple[str, ...] = ()
    """Mentions whose ``source`` is one of these are left out."""
    name: str = "firstreply"
    version: str = "0.1.0"
    keep_fp32: bool = False
    """Also write the bundle before quantisation, as OUT-fp32."""
    keep_encoder: bool = False
    """Also write the fine-tuned encoder and its head, as OUT-encoder: a base to train on from, and a teacher."""
    check: Check | None = None
    """What to try on the finished bundle; without it, the bundle records no behaviour."""


def train(job: TrainJob) -> int:
    """Train and write the bundle; prints the dev figures on stdout, progress on stderr. Returns the exit status."""
    for out in (job.out, *([job.out.with_name(job.out.name + "-fp32")] if job.keep_fp32 and job.out.name else [])):
        _check_out(out)
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    training, dev = _mentions(job)
    brands_file = job.brands or DEFAULT_BRANDS
    brands = Brands.load(brands_file)
    teachers = [Teacher.load(folder) for folder in job.teachers]
    run = _run_folder(job, brands, [teacher.sha256 for teacher in teachers], training, dev)
    recipe = job.recipe
    set_seed(recipe.seed)
    encoder_network, tokenizer = load_base(recipe.base, recipe.attention_dropout)
    add_masks(encoder_network, tokenizer)
    tokenizer.save_pretrained(run / "tokenizer")
    encoder = Encoder.load(run / "tokenizer" / "tokenizer.json", recipe.max_tokens)
    _say(f"reading {len(training):,} train and {len(dev):,} dev mentions")
    labels = labels_of(training)
    targets = labels
    if teachers:
        targets = distilled(labels, taught(teachers, training, dev, brands, run), recipe.distillation)
    if recipe.pretraining_epochs and last_checkpoint(run) is None:
        _say(f"pre-training for {recipe.pretraining_epochs:g} epochs")
        pretrain(encoder_network, tokenizer, token_ids(training, encoder, brands), recipe, run / "pretraining")
    ids = with_invented_names(training, encoder, brands, recipe.invented_names, recipe.seed)
    examples = to_dataset(ids, targets, [_weight(mention, recipe) for mention in training])
    dev_examples = to_dataset(token_ids(dev, encoder, brands), labels_of(dev), [1.0] * len(dev))
    network = IntentNetwork(
        encoder_network, target_id(tokenizer), recipe.dropout, positive_weights(labels, recipe.positive_weight)
    )
    restore_head(network, recipe.base)
    _say(f"training for {recipe.epochs:g} epochs in {'bfloat16' if use_bfloat16(recipe) else 'float32'}")
    padding = tokenizer.pad_token_id or 0
    fit(network, recipe, FitInputs(examples, dev_examples, padding, run))
    origin = str(getattr(encoder_network.config, "base_model", recipe.base))
    if job.keep_encoder:
        save_checkpoint(network, tokenizer, job.out.with_name(job.out.name + "-encoder"), origin)
    _say("exporting to ONNX, fusing, quantising")
    export_fp32(network, run / "fp32.onnx")
    quantise(run / "fp32.onnx", run / MODEL)
    seen = _keys(training)
    manifest = {
        "name": job.name,
        "version": job.version,
        "base_model": origin,
        "max_tokens": recipe.max_tokens,
        "data": _provenance(training),
        "dev_of_seen_brands": sum(mention.brand_key in seen for mention in dev),
        "teachers": [teacher.described() for teacher in teachers],
        "recipe": recipe.model_dump(),
    }
    tokenizer_file = run / "tokenizer" / "tokenizer.json"
    if job.keep_fp32:
        plain = Parts(run / "fp32.onnx", tokenizer_file, brands_file, manifest | {"quantisation": "none: float32"})
        _finish(job.out.with_name(job.out.name + "-fp32"), plain, dev)
    parts = Parts(run / MODEL, tokenizer_file, brands_file, manifest | {"quantisation": QUANTISATION})
    figures = _finish(job.out, parts, dev, job.check)
    shutil.rmtree(run)
    _say(f"bundle written to {job.out}")
    print(_table(figures))
    return 0


def _mentions(job: TrainJob) -> tuple[list[LabelledMention], list[LabelledMention]]:
    """Mentions to train on and dev mentions of other brands, each with at least one known label."""
    unlabelled_too = bool(job.teachers) or job.recipe.pretraining_epochs > 0
    training = [m for path in job.train for m in (read_labelled(path) if unlabelled_too else _labelled(path))]
    known = {mention.source for mention in training}
    for source in job.exclude_sources:
        if source not in known:
            raise TrainingError(f"--exclude-source {source}: there is none; sources are {', '.join(sorted(known))}")
    training = [mention for mention in training if mention.source not in job.exclude_sources]
    if job.dev is not None:
        dev = [mention for mention in _labelled(job.dev) if mention.source not in job.exclude_sources]
        shared = _keys(training) & _keys(dev)
        if shared:
            _say(
                f"warning: {len(shared)} brands of {job.dev} occur in the training files"
                f" ({', '.join(sorted(shared)[:5])}…); the dev figures are not all about unseen brands"
            )
    else:
        part = split_by_brand(
            [mention.brand_key for mention in training], [1 - _DEV_SHARE, _DEV_SHARE], job.recipe.seed
        )
        dev = [mention for mention, which in zip(training, part, strict=True) if which == 1 and _is_labelled(mention)]
        training = [mention for mention, which in zip(training, part, strict=True) if which == 0]
    for name, mentions in (("train", training), ("dev", dev)):
        if len(mentions) < _FEWEST_EXAMPLES:
            raise TrainingError(
                f"{len(mentions)} labelled {name} mentions are too few (at least {_FEWEST_EXAMPLES}); give more files"
                " with --train, of several brands, or dev mentions with --dev"
            )
    for column, intent in enumerate(INTENTS):
        for name, mentions in (("train", training), ("dev", dev)):
            if not any(mention.labels[column] == 1 for mention in mentions) and not (name == "train" and job.teachers):
                _say(f"warning: no {name} mention is labelled {intent}; the bundle may never assert it")
    return training, dev


def _labelled(path: Path) -> list[LabelledMention]:
    """Mentions of a file, without those of which no label is known (there is nothing to learn from them)."""
    mentions = read_labelled(path)
    labelled = [mention for mention in mentions if _is_labelled(mention)]
    if len(labelled) < len(mentions):
        _say(f"{path}: {len(mentions) - len(labelled):,} of {len(mentions):,} mentions have no label and are left out")
    return labelled


def _keys(mentions: Sequence[LabelledMention]) -> frozenset[str]:
    return frozenset(mention.brand_key for mention in mentions) - {""}


def _is_labelled(mention: LabelledMention) -> bool:
    return any(label is not None for label in mention.labels)


def _check_out(out: Path) -> None:
    """Refuse, before any work, a place where something else than a bundle would be overwritten."""
    if not out.name or out.name == "..":
        raise TrainingError(f"--out {out}: name the folder of the new bundle")
    if out.exists() and not (out / MANIFEST).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise TrainingError(f"--out {out} is there and is no bundle; give another folder")


def _weight(mention: LabelledMention, recipe: Recipe) -> float:
    return recipe.source_weights.get(mention.source, 1.0) * recipe.stratum_weights.get(mention.stratum, 1.0)


def _run_folder(
    job: TrainJob,
    brands: Brands,
    teachers: Sequence[str],
    training: Sequence[LabelledMention],
    dev: Sequence[LabelledMention],
) -> Path:
    """Folder of checkpoints beside OUT: kept from a killed run of the very same job, else begun anew."""
    digest = hashlib.sha256(f"{job.recipe.model_dump_json()} {brands.sha256} {teachers} {NORMALISER_VERSION}".encode())
    for mention in (*training, *dev):
        digest.update(mention.model_dump_json().encode("utf-8", "surrogatepass"))
    job_file = job.out.with_name(job.out.name + ".run") / "job.json"
    run, fingerprint = job_file.parent, {"job": digest.hexdigest()}
    if job_file.is_file() and job_file.read_text() == json.dumps(fingerprint):
        _say(f"resuming from {run}")
        return run
    if run.exists():
        _say(f"{run} is of another job; beginning anew")
        shutil.rmtree(run)
    run.mkdir(parents=True)
    job_file.write_text(json.dumps(fingerprint))
    return run


def _finish(out: Path, parts: Parts, dev: Sequence[LabelledMention], check: Check | None = None) -> dict[str, Any]:
    """Assemble beside ``out`` and move it there whole, replacing an older bundle."""
    building = out.with_name(out.name + ".part")
    shutil.rmtree(building, ignore_errors=True)
    figures = assemble(building, parts, dev, _say, check)
    older = out.with_name(out.name + ".old")
    shutil.rmtree(older, ignore_errors=True)
    if out.exists():
        out.rename(older)
    building.rename(out)
    shutil.rmtree(older, ignore_errors=True)
    return figures


def _provenance(mentions: Sequence[LabelledMention]) -> list[dict[str, Any]]:
    """Per source: how many mentions, and whose they are."""
    rows = []
    for name, count in Counter(mention.source for mention in mentions).most_common():
        source = SOURCES.get(name)
        row: dict[str, Any] = {"name": name or "unnamed", "mentions": count}
        if source is not None:
            row |= {"title": source.title, "licence": source.licence, "home": source.home}
        elif name == "sample":
            row |= {"title": "firstreply's own sample of invented brands", "licence": "Apache-2.0"}
        else:
            row |= {"title": name or "mentions without a source", "licence": "not recorded"}
        rows.append(row)
    return rows


def _table(figures: dict[str, Any]) -> str:
    lines = []
    for part, figure in figures.items():
        lines.append(f"dev, {part}: {figure['mentions']:,} mentions")
        lines.append(f"{'intent':<18}{'precision':>10}{'recall':>8}{'F1':>8}{'AP':>8}{'support':>9}")
        for intent, row in figure["intents"].items():
            values = "".join(
                f"{row[name]:>{width}.3f}"
                for name, width in (("precision", 10), ("recall", 8), ("f1", 8), ("average_precision", 8))
            )
            lines.append(f"{intent:<18}{values}{row['support']:>9}")
        if figure["macro_f1"] is not None:
            lines.append(f"{'macro':<18}{'':>18}{figure['macro_f1']:>8.3f}{figure['macro_average_precision']:>8.3f}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
