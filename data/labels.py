"""Our labels without the texts: written by source, id and text hash, and joined with a download of the texts.

Leaves out how the downloads are read (``data.sources``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.agreement import Agreement, agreements
from data.files import BadRow, open_writer, read_rows
from data.schema import INTENTS, OTHER_TARGET, FileError, LabelledMention, MentionError, labelled_from_row
from data.sources.registry import SOURCES
from data.text import text_hash

LABELS = Path(__file__).parent / "labels"
"""Our labels: ``train.csv``, and ``dev.csv`` on brands that do not occur in it."""
COLUMNS = ("source", "id", "text_sha256", "brand", "brand_key", "stratum", *INTENTS)


@dataclass(frozen=True)
class TextlessLabel:
    """Our five labels of one mention, which is known by source, id and text hash."""

    text_sha256: str
    """As by ``data.text.text_hash``."""
    mention: LabelledMention
    """The mention with its hash in place of its text."""


@dataclass(frozen=True)
class Join:
    """What became of our labels when they met the texts."""

    mentions: dict[int, LabelledMention]
    """Joined mentions by the position of their label; their ids are the download's."""
    posts: frozenset[str]
    """Ids, in the download, of the mentions that were joined."""
    by_id: int
    by_hash: int
    """Joined by the hash alone: the id is a row number and rows have shifted."""
    mismatched: tuple[str, ...]
    """Ids whose text in the download is another one, so that the label does not hold; left out."""
    missing: tuple[str, ...]
    """Ids of labels whose post is not in the download."""
    agreements: dict[str, Agreement]
    """How far the corpus's labels agree with ours, by intent."""


def export_labels(files: Sequence[Path], folder: Path) -> int:
    """Write the labels of each file of labelled mentions to ``FOLDER/NAME.csv``, without texts.

    Returns:
        The number of labels written.

    Raises:
        FileError: a file cannot be read or written.
    """
    written = 0
    for path in files:
        with open_writer(folder / f"{path.stem}.csv", COLUMNS) as writer:
            for row in read_rows(path, required=("text", *(name for name in COLUMNS if name != "text_sha256"))):
                if isinstance(row, BadRow):
                    raise FileError(f"{path}: row {row.number}: {row.reason}")
                cells = {name: row.values.get(name) for name in COLUMNS}
                cells["id"] = str(row.values["id"]).removeprefix(f"{cells['source']}:")
                cells["text_sha256"] = text_hash(row.values["text"])
                if cells["brand"] is None:
                    cells["brand_key"] = None
                writer.write(cells)
                written += 1
    return written


def read_labels(path: Path) -> Iterator[TextlessLabel]:
    """Our labels from one file that ``export_labels`` wrote.

    Raises:
        FileError: the file is missing or a row of it is no label.
    """
    for row in read_rows(path, required=COLUMNS):
        if isinstance(row, BadRow):
            raise FileError(f"{path}: row {row.number}: {row.reason}")
        cells = row.values
        whole = {**cells, "id": f"{cells['source']}:{cells['id']}", "text": cells["text_sha256"]}
        try:
            yield TextlessLabel(cells["text_sha256"], labelled_from_row(whole, ""))
        except MentionError as reason:
            raise FileError(f"{path}: row {row.number}: {reason}") from None


def join_labels(labels: Sequence[TextlessLabel], mentions: Iterable[LabelledMention]) -> Join:
    """Our labels with the texts of a download; the text's hash is checked at every join.

    A label joins the mention that has its id and its hash. Where no mention has its id, and where ids are row
    numbers and the one with its id is another text, it joins the first of the same source that has its hash.
    Ours win, intent by intent; what we do not say is taken from the corpus.

    Args:
        labels: our labels.
        mentions: the download, read once; only what joins is kept.
    """
    wanted: dict[str, list[int]] = defaultdict(list)
    hashes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        wanted[label.mention.post].append(index)
        hashes[label.mention.source, label.text_sha256].append(index)
    by_id: dict[int, LabelledMention] = {}
    by_hash: dict[int, LabelledMention] = {}
    mismatched: set[int] = set()
    for mention in mentions:
        digest = text_hash(mention.text)
        for index in wanted.get(mention.id, ()):
            if labels[index].text_sha256 == digest:
                by_id.setdefault(index, mention)
            elif _native_ids(mention.source):
                mismatched.add(index)
        for index in hashes.get((mention.source, digest), ()):
            by_hash.setdefault(index, mention)
    mismatched -= by_id.keys()
    found = {**{index: by_hash[index] for index in by_hash if index not in mismatched}, **by_id}
    return Join(
        mentions={index: _joined(labels[index], found[index]) for index in sorted(found)},
        posts=frozenset(mention.id for mention in found.values()),
        by_id=len(by_id),
        by_hash=len(found) - len(by_id),
        mismatched=tuple(labels[index].mention.id for index in sorted(mismatched)),
        missing=tuple(
            label.mention.id for index, label in enumerate(labels) if index not in found and index not in mismatched
        ),
        agreements=agreements(
            (intent, theirs, ours)
            for index, mention in found.items()
            if labels[index].mention.stratum != OTHER_TARGET
            for intent, theirs, ours in zip(INTENTS, mention.labels, labels[index].mention.labels, strict=True)
            if theirs is not None and ours is not None
        ),
    )


def _native_ids(source: str) -> bool:
    return source not in SOURCES or SOURCES[source].native_ids


def _joined(label: TextlessLabel, mention: LabelledMention) -> LabelledMention:
    ours = label.mention
    about_same = ours.stratum != OTHER_TARGET  # the corpus's labels are about its own target brand
    labels = [
        theirs if known is None and about_same else known
        for known, theirs in zip(ours.labels, mention.labels, strict=True)
    ]
    return ours.model_copy(
        update={
            "id": mention.id + ours.id.removeprefix(label.mention.post),
            "text": mention.text,
            "channel": mention.channel,
            "created_at": mention.created_at,
            "author": mention.author,
            "labels": tuple(labels),
        }
    )
