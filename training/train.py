"""``firstreply train``: labelled files → bundle, start to end, and resumable.

Leaves each step to its module: ``mentions``, ``examples``, ``fit``, ``export``, ``assemble``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast, set_seed
from transformers.utils import logging as transformers_logging

from data.schema import LabelledMention
from model.brands import DEFAULT_BRANDS, Brands
from model.bundle import MODEL, Bundle, file_hash
from model.encoding import Encoder
from model.normalise import NORMALISER_VERSION
from model.scorer import Scorer
from training.assemble import Parts, assemble, figures_read
from training.base import check_base, load_base
from training.card import Check
from training.examples import distilled, to_dataset, token_ids, varied_ids
from training.export import QUANTISATION, export_fp32, quantise
from training.fit import FitInputs, fit, last_checkpoint, make_deterministic, positive_weights, use_bfloat16
from training.job import TrainingError, TrainJob, check_out
from training.kept import (
    RECORD,
    Kept,
    average,
    begun_files,
    keep,
    kept_record,
    merged,
    restore_head,
    restricted,
    weight_files,
)
from training.mentions import Mentions, brand_keys, provenance, train_and_dev
from training.network import IntentNetwork, add_masks, target_id
from training.pretrain import pretrain
from training.processes import is_main, main_first, process_count, say
from training.recipe import Recipe
from training.record import write_record
from training.sample import labels_of
from training.student import Imitation, SmallTokens, kept_student, small_encoder, small_tokenizer
from training.teachers import Teacher, taught
from training.tracking import check_tracker

_SEEN_ON = 300
"""Training mentions on which quantisation sees activations."""


def train(job: TrainJob, check: Check | None = None) -> int:
    """Train and write the bundle; prints the dev figures on stdout, progress on stderr. Returns the exit status.

    ``check`` is tried on the finished bundle; without it, the bundle records no behaviour.
    """
    check_out(job)
    figures = make_bundle(job, *train_and_dev(job), check)
    if is_main():
        write_record(job)
        print(_table(figures))
    return 0


@dataclass(frozen=True)
class Prepared:
    """What is ready to be fitted."""

    network: IntentNetwork
    inputs: FitInputs
    tokenizer: PreTrainedTokenizerFast


@dataclass(frozen=True)
class _Start:
    """What training begins with."""

    base: IntentNetwork
    encoder: PreTrainedModel
    """The one to train: the base's, or a student's."""
    tokenizer: PreTrainedTokenizerFast
    small: SmallTokens | None
    """Of a student."""
    kept_head: Path | None
    """The kept encoder whose head goes with it."""


def _start(recipe: Recipe, training: Mentions, brands: Brands) -> _Start:
    _begun(recipe)
    encoder, tokenizer = load_base(recipe.base, recipe.attention_dropout)
    check_base(recipe.base, encoder, recipe.max_tokens)
    add_masks(encoder, tokenizer)
    base, kept_head = IntentNetwork(encoder, target_id(tokenizer), recipe.dropout), None
    if kept_record(Path(recipe.base)) is not None:
        kept_head = Path(recipe.base)
        restore_head(base, kept_head)
    if recipe.student is None:
        return _Start(base, encoder, tokenizer, None, kept_head)
    if recipe.student.begin:
        kept_head = Path(recipe.student.begin)
        encoder, small = kept_student(recipe.student.begin, tokenizer, recipe.student.dropout)
        check_base(recipe.student.begin, encoder, recipe.max_tokens)
        return _Start(base, encoder, small.tokenizer, small, kept_head)
    read = Encoder.of(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), recipe.max_tokens)
    small = small_tokenizer(tokenizer, token_ids(training, read, brands), recipe.student.rarest)
    encoder = small_encoder(encoder, small.base_ids, recipe.student, recipe.max_tokens)
    return _Start(base, encoder, small.tokenizer, small, None)


def prepare(job: TrainJob, training: Mentions, dev: Mentions, run: Path) -> Prepared:
    """The network as it begins and the mentions as tensors; ``run`` keeps the tokenizer and what teachers said."""
    recipe = job.recipe
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    check_tracker(job.report_to)
    make_deterministic()
    set_seed(recipe.seed)
    brands = Brands.load(job.brands or DEFAULT_BRANDS)
    start = _start(recipe, training, brands)
    encoder_network, tokenizer = start.encoder, start.tokenizer
    with main_first():
        if is_main():
            tokenizer.save_pretrained(run / "tokenizer")
        guesses = taught(job.teachers, training, dev, brands, run) if job.teachers else None
    encoder = Encoder.load(run / "tokenizer" / "tokenizer.json", recipe.max_tokens)
    say(f"reading {len(training):,} train and {len(dev):,} dev mentions")
    if recipe.pretraining_epochs and last_checkpoint(run) is None:
        pretrain(encoder_network, tokenizer, token_ids(training, encoder, brands), recipe, run / "pretraining")
    if guesses is None:
        training = [mention for mention in training if mention.is_labelled]
    labels = labels_of(training)
    ids = varied_ids(training, encoder, brands, recipe)
    targets = labels if guesses is None else distilled(labels, guesses, recipe.distillation)
    inputs = FitInputs(
        train=to_dataset(ids, targets, [_weight(mention, recipe) for mention in training]),
        dev=to_dataset(token_ids(dev, encoder, brands), labels_of(dev), [1.0] * len(dev)),
        padding_id=tokenizer.pad_token_id or 0,
        run=run,
        report_to=job.report_to,
        run_name=job.name,
        logs=job.beside("logs"),
    )
    weights = positive_weights(labels, recipe.positive_weight)
    set_seed(recipe.seed)  # the head begins the same where pre-training or what teachers said was found finished
    imitation = None
    if recipe.student is not None and start.small is not None and (recipe.student.states or recipe.student.spliced):
        imitation = Imitation(start.base, start.small, recipe.student, encoder_network.config.hidden_size, ids)
        if recipe.student.spliced:
            imitation.calibrate(dev, inputs.dev["input_ids"])
    network = IntentNetwork(encoder_network, target_id(tokenizer), recipe.dropout, weights, imitation)
    if start.kept_head is not None:
        restore_head(network, start.kept_head)
    return Prepared(network, inputs, tokenizer)


def make_bundle(job: TrainJob, training: Mentions, dev: Mentions, check: Check | None = None) -> dict[str, Any]:
    """Train on some mentions, calibrate on others, write the bundle, and return its dev figures.

    In several processes, the main one writes and the others return nothing as soon as the network is fitted.

    Raises:
        TrainingError: it is asked to be permissive and a teacher is not, to average what is not alike, or to train
            nothing and there is no kept encoder or more is asked for.
    """
    brands_file = job.brands or DEFAULT_BRANDS
    teachers = [Teacher.load(folder) for folder in job.teachers]
    base = kept_record(Path(job.recipe.base))
    origin = base.base_model if base else job.recipe.base
    averaged = [_kept(folder, origin) for folder in job.averaged]
    begun = _begun(job.recipe)
    if not job.recipe.epochs:
        _check_as_it_is(job, base)
    _check_licences(job, base, begun, teachers, averaged)
    for folder in job.compared:
        Bundle.load(folder)  # what cannot be read is said before hours of training
    with main_first():
        run = _run_folder(job, training, dev)
    prepared = prepare(job, training, dev, run)
    recipe, network = job.recipe, prepared.network
    if recipe.epochs:
        say(f"training for {recipe.epochs:g} epochs in {'bfloat16' if use_bfloat16(recipe) else 'float32'}")
        if process_count() > 1:
            say(f"in {process_count()} processes, {recipe.batch_size // process_count()} mentions a step each")
        fit(network, recipe, prepared.inputs)
    if not is_main():
        return {}
    if job.averaged:
        average(network, job.averaged)
    before = [*averaged, *([base] if base else []), *([begun] if begun else [])]
    corpora = merged(
        provenance(training) if recipe.epochs else (),
        *(made.data for made in before),
        *(teacher.made.data for teacher in teachers),
    )
    taught_by = {
        row["sha256"]: row
        for row in (*(row for made in before for row in made.teachers), *(one.described() for one in teachers))
    }
    if job.keep_encoder:
        record = Kept(
            base_model=origin,
            max_tokens=recipe.max_tokens,
            data=tuple(corpora),
            teachers=tuple(taught_by.values()),
        )
        keep(network, prepared.tokenizer, job.beside("encoder"), record)
    say("exporting to ONNX, fusing, quantising")
    export_fp32(network, run / "fp32.onnx", recipe.max_tokens)
    examples = prepared.inputs.train["input_ids"]
    quantise(run / "fp32.onnx", run / MODEL, examples[:: -(-len(examples) // _SEEN_ON)])
    seen = brand_keys(training)
    manifest = {
        "name": job.name,
        "version": job.version,
        "base_model": origin,
        "max_tokens": recipe.max_tokens,
        "data": corpora,
        "permissive": job.permissive,
        "dev_of_seen_brands": sum(mention.brand_key in seen for mention in dev),
        "averaged": [file_hash(path) for folder in job.averaged for path in weight_files(folder)],
        "teachers": list(taught_by.values()),
        "beside": [_beside(folder, dev) for folder in job.compared],
        "recipe": _told(recipe, network, origin),
    }
    tokenizer_file = run / "tokenizer" / "tokenizer.json"
    if job.keep_fp32:
        plain = Parts(run / "fp32.onnx", tokenizer_file, brands_file, manifest | {"quantisation": "none: float32"})
        _finish(job.beside("fp32"), plain, dev, check)
    parts = Parts(run / MODEL, tokenizer_file, brands_file, manifest | {"quantisation": QUANTISATION})
    figures = _finish(job.out, parts, dev, check)
    shutil.rmtree(run)
    say(f"bundle written to {job.out}")
    return figures


def fingerprint(job: TrainJob, mentions: Sequence[LabelledMention]) -> str:
    """Hash of what decides the weights: recipe, mentions in their order, brands file, teachers, normaliser."""
    brands = Brands.load(job.brands or DEFAULT_BRANDS)
    teachers = [Teacher.load(folder).sha256 for folder in job.teachers]
    begun = [file_hash(path) for path in begun_files(job.recipe)]
    read = f"{brands.sha256} {teachers} {NORMALISER_VERSION} {_hash(mentions)}"
    settings = f"{job.recipe.model_dump_json()} {read} {begun}"
    return hashlib.sha256(settings.encode()).hexdigest()


def _hash(mentions: Sequence[LabelledMention]) -> str:
    digest = hashlib.sha256()
    for mention in mentions:
        digest.update(mention.model_dump_json().encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _weight(mention: LabelledMention, recipe: Recipe) -> float:
    return recipe.source_weights.get(mention.source, 1.0) * recipe.stratum_weights.get(mention.stratum, 1.0)


def _run_folder(job: TrainJob, training: Mentions, dev: Mentions) -> Path:
    """Folder of checkpoints beside OUT: kept from a killed run of the very same job, else begun anew."""
    job_file = job.out.with_name(job.out.name + ".run") / "job.json"
    run, this = job_file.parent, json.dumps({"job": fingerprint(job, [*training, *dev])})
    if job_file.is_file() and job_file.read_text() == this:
        if any(run.glob("checkpoint-*")):
            say(f"resuming from {run}")
        return run
    if run.exists():
        say(f"{run} is of another job; beginning anew")
        shutil.rmtree(run)
    run.mkdir(parents=True)
    job_file.write_text(this)
    return run


def _finish(out: Path, parts: Parts, dev: Sequence[LabelledMention], check: Check | None) -> dict[str, Any]:
    """Assemble beside ``out`` and move it there whole, replacing an older bundle."""
    building = out.with_name(out.name + ".part")
    shutil.rmtree(building, ignore_errors=True)
    figures = assemble(building, parts, dev, say, check)
    older = out.with_name(out.name + ".old")
    shutil.rmtree(older, ignore_errors=True)
    if out.exists():
        out.rename(older)
    building.rename(out)
    shutil.rmtree(older, ignore_errors=True)
    return figures


def _kept(folder: Path, origin: str) -> Kept:
    record = kept_record(folder)
    if record is None or not all(path.is_file() for path in weight_files(folder)):
        raise TrainingError(f"--average-with {folder}: {RECORD} or weights missing; give what --keep-encoder kept")
    if record.base_model != origin:
        raise TrainingError(f"--average-with {folder}: made of {record.base_model}, and the others of {origin}")
    return record


def _told(recipe: Recipe, network: IntentNetwork, origin: str) -> dict[str, Any]:
    """The recipe as the manifest tells it: where kept encoders lie says nothing elsewhere."""
    told = recipe.model_dump() | {"base": origin}
    if recipe.student is not None and recipe.student.begin:
        config = network.encoder.config
        shape = {"layers": config.num_hidden_layers, "width": config.hidden_size, "heads": config.num_attention_heads}
        told["student"] |= {**shape, "feed_forward": config.intermediate_size, "begin": "a student trained before"}
    return told


def _begun(recipe: Recipe) -> Kept | None:
    """What is known of the student that is trained on, if one is.

    Raises:
        TrainingError: it is none, or nobody says what spliced mentions mean.
    """
    student, base = recipe.student, kept_record(Path(recipe.base))
    if student is None:
        return None
    if student.spliced and base is None:
        raise TrainingError(
            "[student] spliced: the base says what spliced mentions mean; give the encoder of a full model that"
            " --keep-encoder kept, with its head, as --base and --teacher"
        )
    begun = kept_record(Path(student.begin)) if student.begin else None
    if student.begin and begun is None:
        raise TrainingError(f"[student] begin {student.begin}: no {RECORD} there; give what --keep-encoder kept")
    return begun


def _check_as_it_is(job: TrainJob, base: Kept | None) -> None:
    """What epochs = 0 cannot do."""
    recipe = job.recipe
    if base is None:
        raise TrainingError("epochs = 0 trains nothing: give a --base that --keep-encoder kept, which has a head")
    if job.teachers or recipe.pretraining_epochs or recipe.student is not None:
        raise TrainingError("epochs = 0 trains nothing: leave --teacher, pretraining_epochs and [student] out")
    if recipe.max_tokens != base.max_tokens:
        raise TrainingError(
            f"epochs = 0: the base was trained to read {base.max_tokens} tokens; set max_tokens to that"
        )


def _check_licences(
    job: TrainJob, base: Kept | None, begun: Kept | None, teachers: Sequence[Teacher], averaged: Sequence[Kept]
) -> None:
    made: list[tuple[str, Sequence[Mapping[str, Any]]]] = [
        (f"kept encoder {folder}", kept.data) for folder, kept in zip(job.averaged, averaged, strict=True)
    ]
    made += [(f"teacher {teacher.folder}", teacher.made.data) for teacher in teachers]
    made += [(f"base {job.recipe.base}", base.data)] if base else []
    made += [(f"student {job.recipe.student.begin}", begun.data)] if begun and job.recipe.student else []
    for name, data in made:
        if job.permissive and (names := restricted(data)):
            raise TrainingError(
                f"--licence permissive: the {name} was trained on {names};"
                " give one that was trained with --licence permissive, or none"
            )


def _beside(folder: Path, dev: Mentions) -> dict[str, Any]:
    """What the card says of another bundle: its figures on these dev mentions, whatever it was calibrated on."""
    scorer = Scorer.load(folder)
    bundle = scorer.bundle
    readings = list(scorer.read_all((mention.text, mention.target) for mention in dev))
    figures = figures_read(dev, readings, bundle.thresholds("balanced"))
    return {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "permissive": bundle.permissive,
        "dev": {part: {"macro_f1": figure["macro_f1"]} for part, figure in figures.items()},
    }


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
