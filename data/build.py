"""``firstreply data build``: public corpora and labelled files, with our labels, to one training and one dev file.

Leaves out downloading: the corpora's terms are between their publishers and who downloads them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random

from data.agreement import Agreement
from data.duplicates import drop_near_duplicates, drop_occurring
from data.files import read_labelled, write_labelled
from data.labels import LABELS, Join, TextlessLabel, join_labels, read_labels
from data.schema import INTENTS, OTHER_TARGET, FileError, LabelledMention, brand_key
from data.sources import SOURCES, Source, allows_commercial_use, read_corpora, read_published
from data.splits import split_by_brand

_FEWEST_COMMON = 30
"""Mentions of a corpus that we label too, below which its labels are not judged by ours."""
_LEAST_ALIKE = 0.9


@dataclass(frozen=True)
class BuildJob:
    """What to build from what."""

    out: Path
    """The training file to write."""
    dev: Path | None = None
    """The dev file to write, if any; its brands stay out of the training file either way."""
    raw: Path | None = None
    """Folder of corpora as published; a corpus that is not there is looked for in ``corpora``."""
    corpora: Path | None = None
    """Folder of normalised corpora."""
    labelled: tuple[Path, ...] = ()
    """Files of labelled mentions to add."""
    sources: tuple[str, ...] = ()
    """Names of the corpora to take; empty: all of them."""
    unlabelled: bool = False
    """Also take mentions that no label is known of, for a training run with teachers."""
    named: Callable[[str], Mapping[str, str]] | None = None
    """Brand key → how it is written, of the brands that a text names: each mention is taken once more, without labels,
    for every other brand that it names. None: only for its own."""
    at_most: int | None = None
    """Of each corpus, mentions that we did not label to take, drawn by ``seed``; None: all."""
    least_agreement: float | None = None
    """Cohen's kappa with our labels below which a corpus's labels of an intent are taken for unknown. Where one side
    never varies there is no kappa: then 90% of the labels must be alike. Below 30 common mentions nothing is judged and
    the labels are kept. None: all are kept."""
    permissive: bool = False
    """Leave out mentions of corpora whose licence does not allow commercial use."""
    labels: Path = LABELS
    """Folder of our labels, ``train.csv`` and ``dev.csv``."""
    dev_fraction: float | None = None
    """Share of the mentions whose brands go to dev, between 0 and 1. None: dev is our dev labels and nothing else,
    the split that the published figures use, and other mentions of its brands are left out."""
    seed: int = 1
    """Of the split by ``dev_fraction`` and of ``at_most``."""
    key: Callable[[str], str] = brand_key
    """Brand key of a name that our labels do not know."""


def build(job: BuildJob) -> int:
    """Write the files of a ``BuildJob`` and print what went into them; exit status 0.

    Our labels win over a corpus's, intent by intent; of near-duplicates about one brand the one that we labelled
    stays; what nearly occurs in dev leaves the training file.

    Raises:
        FileError: a file cannot be read or written, or there is nothing to build from.
        FirstreplyError: datasketch is not installed.
    """
    if job.dev_fraction is not None and not 0 < job.dev_fraction < 1:
        raise FileError(f"{job.out}: the dev fraction is between 0 and 1, not {job.dev_fraction}")
    unknown = set(job.sources) - set(SOURCES)
    if unknown:
        raise FileError(f"there is no corpus {', '.join(sorted(unknown))}; known are {', '.join(SOURCES)}")
    for folder in (job.raw, job.corpora):
        if folder is not None and not folder.is_dir():
            raise FileError(f"{folder}: no such folder of corpora")
    train_labels = list(read_labels(job.labels / "train.csv"))
    dev_labels = list(read_labels(job.labels / "dev.csv"))
    keys = {label.mention.target: label.mention.brand_key for label in chain(train_labels, dev_labels)}

    ours_train: list[LabelledMention] = []
    ours_dev: list[LabelledMention] = []
    others = _others(job)
    print(f"{'source':12}{'joined':>8}{'missing':>9}{'other text':>12}{'corpus only':>13}  kappa with our labels")
    for source in _sources(job):
        mentions = _mentions(job, source)
        if mentions is None:
            continue
        in_train = [label for label in train_labels if label.mention.source == source.name]
        in_dev = [label for label in dev_labels if label.mention.source == source.name]
        noted: list[LabelledMention] = []
        join = join_labels([*in_train, *in_dev], _noting(mentions, noted, job.unlabelled))
        ours_train += [mention for index, mention in join.mentions.items() if index < len(in_train)]
        ours_dev += [mention for index, mention in join.mentions.items() if index >= len(in_train)]
        rest = _corpus_only(job, [mention for mention in noted if mention.id not in join.posts], join)
        others += rest
        counts = (len(join.mentions), len(join.missing), len(join.mismatched), len(rest))
        print("{:12}{:8}{:9}{:12}{:13}  {}".format(source.name, *counts, _agreement_line(job, join)))
    others = [_with_key(mention, keys, job.key) for mention in others]
    if job.named is not None:
        further = _for_other_targets([*ours_train, *others], job.named)
        print(f"for other brands that they name: {len(further)}")
        others += further

    train, dev, dropped = _divided(job, [*ours_train, *others], ours_dev, dev_labels)
    train, leaked = drop_occurring(train, dev)
    print(f"left out, near-duplicates: {dropped}, and {len(leaked)} whose text nearly occurs in dev")
    if not train:
        raise FileError(f"{job.out}: nothing to train on; give a folder of corpora or files of labelled mentions")
    write_labelled(job.out, train)
    if job.dev is not None:
        write_labelled(job.dev, dev)
    for path, part in ((job.out, train), (job.dev or "dev (not written)", dev)):
        brands = {mention.brand_key for mention in part} - {""}
        print(f"{path}: {len(part)} mentions of {len(brands)} brands")
    return 0


def _divided(
    job: BuildJob, ours: list[LabelledMention], ours_dev: list[LabelledMention], dev_labels: list[TextlessLabel]
) -> tuple[list[LabelledMention], list[LabelledMention], int]:
    """Training mentions, dev mentions of other brands, and how many near-duplicates were dropped."""
    if job.dev_fraction is None:
        brands = {label.mention.brand_key for label in dev_labels if label.mention.stratum != OTHER_TARGET} - {""}
        dev, dev_dropped = drop_near_duplicates(ours_dev)
        usable = [mention for mention in ours if mention.brand_key not in brands]
        print(f"left out, about brands of dev: {len(ours) - len(usable)}")
        train, dropped = drop_near_duplicates(usable)
        return train, dev, len(dev_dropped) + len(dropped)
    kept, dropped = drop_near_duplicates([*ours_dev, *ours])
    train, of_dev = _split(kept, job.dev_fraction, job.seed)
    dev = [mention for mention in of_dev if mention.is_labelled]  # an unlabelled one would only push others out
    if len(dev) < len(of_dev):
        print(f"left out, unlabelled and about brands of dev: {len(of_dev) - len(dev)}")
    return train, dev, len(dropped)


def _corpus_only(job: BuildJob, mentions: list[LabelledMention], join: Join) -> list[LabelledMention]:
    """What to take of the mentions that we did not label, without labels that agree too little with ours."""
    distrusted = [_distrusted(job, join.agreements.get(intent)) for intent in INTENTS]
    if any(distrusted):
        mentions = [
            mention.model_copy(
                update={"labels": tuple(None if d else x for x, d in zip(mention.labels, distrusted, strict=True))}
            )
            for mention in mentions
        ]
    taken = [mention for mention in mentions if job.unlabelled or mention.is_labelled]
    if job.at_most is None or len(taken) <= job.at_most:
        return taken
    return Random(job.seed).sample(taken, job.at_most)


def _distrusted(job: BuildJob, agreement: Agreement | None) -> bool:
    if job.least_agreement is None or agreement is None or agreement.mentions < _FEWEST_COMMON:
        return False
    if agreement.kappa is None:
        return agreement.share < _LEAST_ALIKE
    return agreement.kappa < job.least_agreement


def _agreement_line(job: BuildJob, join: Join) -> str:
    return ", ".join(
        f"{intent} {_agreed(agreement)} of {agreement.mentions}"
        + (" (not taken)" if _distrusted(job, agreement) else "")
        for intent, agreement in join.agreements.items()
    )


def _agreed(agreement: Agreement) -> str:
    return f"– ({agreement.share:.2f} alike)" if agreement.kappa is None else f"{agreement.kappa:.2f}"


def _for_other_targets(
    mentions: Sequence[LabelledMention], named: Callable[[str], Mapping[str, str]]
) -> list[LabelledMention]:
    """The same posts, unlabelled, for every other brand that they name and that no row is about yet."""
    there = {(mention.text, mention.brand_key) for mention in mentions}
    further = []
    for mention in mentions:
        for key, name in named(mention.text).items():
            if (mention.text, key) in there:
                continue
            there.add((mention.text, key))
            fresh = {"id": f"{mention.post}@{key}", "brand": (name,), "brand_key": key, "stratum": OTHER_TARGET}
            further.append(mention.model_copy(update={**fresh, "labels": (None,) * len(INTENTS)}))
    return further


def _sources(job: BuildJob) -> list[Source]:
    """The corpora to take; those that the licence option leaves out are said on stderr."""
    chosen = [source for source in SOURCES.values() if not job.sources or source.name in job.sources]
    refused = [source for source in chosen if job.permissive and not source.commercial_use]
    for source in refused:
        print(f"{source.name}: left out, its licence is {source.licence!r}", file=sys.stderr)
    return [source for source in chosen if source not in refused]


def _others(job: BuildJob) -> list[LabelledMention]:
    """The mentions of the labelled files that the licence option takes."""
    mentions = [mention for path in job.labelled for mention in read_labelled(path)]
    kept = [mention for mention in mentions if not job.permissive or allows_commercial_use(mention.source)]
    if len(kept) < len(mentions):
        print(f"labelled files: {len(mentions) - len(kept)} mentions are left out by their licence", file=sys.stderr)
    return kept


def _mentions(job: BuildJob, source: Source) -> Iterator[LabelledMention] | None:
    """The corpus from where it is; None, and a line that says so, where it is not."""
    looked: list[Path] = []
    if job.raw is not None and source.published is not None:
        looked.append(job.raw / source.published)
        if looked[-1].exists():
            return read_published(looked[-1], source, unlabelled=True)
    if job.corpora is not None:
        looked.append(job.corpora / f"{source.corpus}.parquet")
        if looked[-1].exists():
            return read_corpora(job.corpora, source, unlabelled=True)
    if looked:
        print(f"{source.name}: skipped, there is no {' and no '.join(map(str, looked))}", file=sys.stderr)
    elif job.raw is not None:
        print(f"{source.name}: skipped, read from normalised corpora only", file=sys.stderr)
    return None


def _noting(
    mentions: Iterable[LabelledMention], noted: list[LabelledMention], unlabelled: bool
) -> Iterator[LabelledMention]:
    """The mentions as they come; those that their corpus labels (or all) are noted, the others need no memory."""
    for mention in mentions:
        if unlabelled or mention.is_labelled:
            noted.append(mention)
        yield mention


def _with_key(mention: LabelledMention, known: dict[str | None, str], key: Callable[[str], str]) -> LabelledMention:
    """The mention under the brand key that our labels have for its brand, unless it came with a key of its own."""
    target = mention.target
    if target is None or mention.brand_key != brand_key(target):
        return mention
    return mention.model_copy(update={"brand_key": known.get(target) or key(target)})


def _split(
    mentions: list[LabelledMention], dev_fraction: float, seed: int
) -> tuple[list[LabelledMention], list[LabelledMention]]:
    parts = split_by_brand([mention.brand_key for mention in mentions], [1 - dev_fraction, dev_fraction], seed)
    split: tuple[list[LabelledMention], list[LabelledMention]] = ([], [])
    for mention, part in zip(mentions, parts, strict=True):
        split[part].append(mention)
    return split
