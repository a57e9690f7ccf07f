"""Which mentions a job trains on, and which it keeps apart by whole brands.

Leaves encoding them to ``training.examples``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.duplicates import drop_occurring
from data.files import read_labelled
from data.schema import INTENTS, LabelledMention
from data.sources import SOURCES, allows_commercial_use
from data.splits import split_by_brand
from training.job import TrainingError, TrainJob
from training.processes import say

_DEV_SHARE = 0.15
"""Share of the labelled mentions, by whole brands, that is set aside where no dev file is given."""
_FEWEST_EXAMPLES = 20

Mentions = list[LabelledMention]

_OURS = {"sample": "sample", "written": "written mentions"}


def train_and_dev(job: TrainJob) -> tuple[Mentions, Mentions]:
    """Mentions to train on and labelled dev mentions of other brands.

    Raises:
        TrainingError: too few of either, or a source to leave out that there is not.
        FileError: a file cannot be read.
    """
    training = training_mentions(job)
    if job.dev is None:
        training, dev = set_aside(training, job.recipe.seed)
    else:
        dev = _allowed([mention for mention in _labelled(job.dev) if mention.source not in job.exclude_sources], job)
        shared = brand_keys(training) & brand_keys(dev)
        if shared:
            say(
                f"warning: {len(shared)} brands of {job.dev} occur in the training files"
                f" ({', '.join(sorted(shared)[:5])}…); the dev figures are not all about unseen brands"
            )
    check_enough(training, dev, job)
    return training, dev


def training_mentions(job: TrainJob) -> Mentions:
    """Every mention of the job's training files that it takes; those without labels too where they serve."""
    unlabelled_too = bool(job.teachers) or job.recipe.pretraining_epochs > 0
    mentions = [m for path in job.train for m in (read_labelled(path) if unlabelled_too else _labelled(path))]
    known = {mention.source for mention in mentions}
    for source in job.exclude_sources:
        if source not in known:
            raise TrainingError(f"--exclude-source {source}: there is none; sources are {', '.join(sorted(known))}")
    return _allowed([mention for mention in mentions if mention.source not in job.exclude_sources], job)


def set_aside(mentions: Sequence[LabelledMention], seed: int, group: str = "brand_key") -> tuple[Mentions, Mentions]:
    """Mentions to train on, and the labelled ones of some brands (or other groups) as dev.

    No text stands, even nearly, on both sides. What is not labelled of the brands of dev is on neither.
    """
    keys: list[str] = [getattr(mention, group) for mention in mentions if mention.is_labelled]
    part = split_by_brand(keys, [1 - _DEV_SHARE, _DEV_SHARE], seed)
    apart = {key for key, which in zip(keys, part, strict=True) if which == 1}
    dev = [mention for mention in mentions if mention.is_labelled and getattr(mention, group) in apart]
    training = [mention for mention in mentions if getattr(mention, group) not in apart]
    if leaving := len(mentions) - len(training) - len(dev):
        say(f"{leaving:,} mentions without a label are left out: what they are about is set aside as dev")
    return without(training, dev), dev


def without(mentions: Mentions, others: Mentions) -> Mentions:
    """The mentions whose text does not nearly occur in ``others``: rows of one post about several brands share it."""
    kept, dropped = drop_occurring(mentions, others)
    if dropped:
        say(f"{len(dropped):,} mentions are left out of training: their texts nearly occur in what is kept apart")
    return kept


def check_enough(training: Mentions, dev: Mentions, job: TrainJob) -> None:
    """Refuse what is too little to learn from or to measure on, and warn of intents without a positive."""
    for name, mentions in (("train", training), ("dev", dev)):
        usable = len(mentions) if job.teachers else sum(mention.is_labelled for mention in mentions)
        if usable < _FEWEST_EXAMPLES:
            raise TrainingError(
                f"{usable} labelled {name} mentions are too few (at least {_FEWEST_EXAMPLES}); give more files"
                " with --train, of several brands, or dev mentions with --dev"
            )
    for column, intent in enumerate(INTENTS):
        for name, mentions in (("train", training), ("dev", dev)):
            if not any(mention.labels[column] == 1 for mention in mentions) and not (name == "train" and job.teachers):
                say(f"warning: no {name} mention is labelled {intent}; the bundle may never assert it")


def brand_keys(mentions: Sequence[LabelledMention]) -> frozenset[str]:
    """The brand keys that occur."""
    return frozenset(mention.brand_key for mention in mentions) - {""}


def provenance(mentions: Sequence[LabelledMention]) -> list[dict[str, Any]]:
    """Per source: how many mentions, and whose they are."""
    rows = []
    for name, count in Counter(mention.source for mention in mentions).most_common():
        source = SOURCES.get(name)
        row: dict[str, Any] = {"name": name or "unnamed", "mentions": count}
        if source is not None:
            row |= {"title": source.title, "licence": source.licence, "home": source.home}
        elif name in _OURS:
            row |= {"title": f"firstreply's own {_OURS[name]} about invented brands", "licence": "Apache-2.0"}
        else:
            row |= {"title": name or "mentions without a source", "licence": "not recorded"}
        rows.append(row)
    return rows


def _labelled(path: Path) -> Mentions:
    """Mentions of a file, without those of which no label is known (there is nothing to learn from them)."""
    mentions = read_labelled(path)
    labelled = [mention for mention in mentions if mention.is_labelled]
    if not any(mention.brand or mention.brand_key for mention in mentions):
        say(f"{path}: no mention has a brand, and dev is made of whole brands; add a column brand")
    if len(labelled) < len(mentions):
        say(f"{path}: {len(mentions) - len(labelled):,} of {len(mentions):,} mentions have no label and are left out")
    return labelled


def _allowed(mentions: Mentions, job: TrainJob) -> Mentions:
    """The mentions that the job's licence option takes."""
    if not job.permissive:
        return mentions
    dropped = Counter(mention.source for mention in mentions if not allows_commercial_use(mention.source))
    if dropped:
        sources = ", ".join(f"{name} {count:,}" for name, count in dropped.most_common())
        say(f"--licence permissive: {dropped.total():,} of {len(mentions):,} mentions are left out ({sources})")
    return [mention for mention in mentions if allows_commercial_use(mention.source)]
