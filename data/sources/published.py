"""Public corpora read exactly as published: one reader per corpus, with the labels that it really has and no others.

Leaves out our own labels (``data.labels``) and the normalised corpora (``data.sources.corpora``).
"""

from __future__ import annotations

import csv
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from data.files import file_errors
from data.schema import FileError, LabelledMention, MentionError, labelled_from_row
from data.sources.financial_handles import FINANCIAL_HANDLES
from data.sources.registry import Source
from data.sources.times import as_iso, time_of_post

_HANDLE = re.compile(r"@(\w+)")


def read_published(path: Path, source: Source, *, unlabelled: bool = False) -> Iterator[LabelledMention]:
    """The mentions of the file that a corpus's publisher offers; rows without a text are left out.

    Args:
        path: the file, under any name.
        source: whose file it is, one of ``READERS``.
        unlabelled: also yield mentions that the corpus says nothing about; all of ``twcs`` are.

    Raises:
        FileError: no such file, or it is not laid out as the published one; reading X-FINCORP needs openpyxl.
    """
    try:
        with file_errors(path):
            for mention in READERS[source.name](path):
                if unlabelled or any(label is not None for label in mention.labels):
                    yield mention
    except MentionError as reason:
        raise FileError(f"{path}: {reason}; is it the file of {source.title}?") from None


def _cells(path: Path, columns: Sequence[str], *, header: bool = True, delimiter: str = ",") -> Iterator[list[str]]:
    """The cells of the named columns of each row. Published files have stray quotes and stray bytes; both pass."""
    with open(path, encoding=_encoding(path), errors="replace", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        names = next(reader, []) if header else list(columns)
        if missing := [name for name in columns if name not in names]:
            raise FileError(f"{path}: no column {missing[0]!r} among {', '.join(map(repr, names))}; is it this corpus?")
        positions = [names.index(name) for name in columns]
        for cells in reader:
            if len(cells) >= len(names):
                yield [cells[position] for position in positions]
            elif not header and cells:
                raise FileError(f"{path}: line {reader.line_num} has not the columns {', '.join(columns)}")


def _encoding(path: Path) -> str:
    """UTF-8 where the file holds to it, else Latin-1, which keeps every byte (SXSW mixes several encodings)."""
    with open(path, encoding="utf-8", newline="") as stream:
        try:
            while stream.read(1 << 20):
                pass
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8-sig"


def _mention(source: str, native: str, text: str, **cells: Any) -> Iterator[LabelledMention]:
    """One mention, or none where the text is empty."""
    if text.strip():
        row = {"channel": "twitter", **cells, "text": text, "source": source}
        yield labelled_from_row(row, f"{source}:{native}")


def _read_airline(path: Path) -> Iterator[LabelledMention]:
    columns = ("tweet_id", "airline_sentiment", "negativereason", "airline", "text", "tweet_created")
    seen: Counter[str] = Counter()
    for native, sentiment, reason, airline, text, created in _cells(path, columns):
        suffix = f"-{seen[native]}" if seen[native] else ""  # the file repeats ids
        seen[native] += 1
        labels = {"positive": (0, 1), "negative": (None if reason == "Can't Tell" else 1, 0)}
        complaint, praise = labels.get(sentiment, (None, None))
        yield from _mention(
            "airline",
            native + suffix,
            _without_leaked_labels(text),
            brand=airline,
            created_at=as_iso(created),
            complaint=complaint,
            praise=praise,
        )


def _without_leaked_labels(text: str) -> str:
    """The publisher replaced parts of words by names of its labels: "Late Flightr" was "later"."""
    for leaked, word in (
        ("Cancelled Flight", "cancel"),
        ("Late Flight", "late"),
        ("Flight Booking Problems", "booking"),
    ):
        text = text.replace(leaked, word)
    return text


def _read_preotiuc(path: Path) -> Iterator[LabelledMention]:
    rows = list(_cells(path, ("id", "text", "label", "domain"), header=False))
    about_brands = [row for row in rows if not row[3].startswith("random")]
    mentioned = Counter(handle for row in about_brands for handle in _handles(row[1]))
    for native, text, label, domain in rows:
        # The corpus was collected by brand but does not name it: it is the handle that most of the posts share.
        named = [] if domain.startswith("random") else [name for name in _handles(text) if mentioned[name] > 1]
        brand = max(named, key=lambda name: mentioned[name], default=None)
        created = time_of_post(int(native)) if native.isdecimal() else None
        yield from _mention("preotiuc", native, text, brand=brand, created_at=created, complaint=label)


def _handles(text: str) -> list[str]:
    return [handle.lower() for handle in _HANDLE.findall(text)]


def _read_sxsw(path: Path) -> Iterator[LabelledMention]:
    emotion = "is_there_an_emotion_directed_at_a_brand_or_product"
    labels = {
        "Positive emotion": (0, 1),
        "Negative emotion": (None, 0),
        "No emotion toward brand or product": (None, 0),
    }
    rows = _cells(path, ("tweet_text", "emotion_in_tweet_is_directed_at", emotion))
    for number, (text, brand, felt) in enumerate(rows):
        complaint, praise = labels.get(felt, (None, None))
        yield from _mention("sxsw", f"sxsw-{number}", text, brand=brand, complaint=complaint, praise=praise)


def _read_xfin(path: Path) -> Iterator[LabelledMention]:
    try:
        openpyxl: Any = importlib.import_module("openpyxl")
    except ImportError:
        raise FileError(f"{path}: reading X-FINCORP needs openpyxl; install firstreply[train]") from None
    try:
        workbook = openpyxl.load_workbook(path, read_only=True)
    except (KeyError, ValueError, BadZipFile):
        raise FileError(f"{path}: not an Excel workbook; download X-FINCORP.xlsx again") from None
    try:
        rows = workbook.worksheets[0].iter_rows(values_only=True)
        names = list(next(rows, ()))
        if missing := [name for name in ("Complaint/ Opinion", "Complaint Label") if name not in names]:
            raise FileError(f"{path}: no column {missing[0]!r} among {', '.join(map(repr, names))}; is it this corpus?")
        text_at, label_at = names.index("Complaint/ Opinion"), names.index("Complaint Label")
        for number, cells in enumerate(rows):
            text, label = str(cells[text_at] or ""), cells[label_at]
            brand = next((handle for handle in _handles(text) if handle in FINANCIAL_HANDLES), None)
            yield from _mention("xfin", f"fincorp-{number}", text, brand=brand, complaint=label)
    finally:
        workbook.close()


def _read_swisscom(path: Path) -> Iterator[LabelledMention]:
    rows = _cells(path, ("text", "language", "brand", "churn"), header=False, delimiter="\t")
    for number, (text, _, brand, churn) in enumerate(rows):
        about = None if brand == "no_brand" else brand.lower()
        yield from _mention("swisscom", f"{path.stem}-{number}", text, channel="chat", brand=about, churn_risk=churn)


def _read_twcs(path: Path) -> Iterator[LabelledMention]:
    columns = ("tweet_id", "author_id", "inbound", "created_at", "text", "response_tweet_id", "in_response_to_tweet_id")
    companies = {tweet: author for tweet, author, inbound, *_ in _cells(path, columns) if inbound == "False"}
    handles = {author.lower(): author for author in companies.values()}
    for tweet, _, inbound, created, text, responses, earlier in _cells(path, columns):
        if inbound != "True":
            continue
        # Who is addressed: the company that answers, else one that the text names, else the one that it answers.
        answers = [companies[response] for response in responses.split(",") if response in companies]
        named = [handles[handle] for handle in _handles(text) if handle in handles]
        before = [companies[post] for post in (earlier.split(".")[0],) if post in companies]
        brand = next(iter(answers + named + before), None)
        yield from _mention("twcs", f"twcs-{tweet}", text, brand=brand, created_at=as_iso(created))


READERS: dict[str, Callable[[Path], Iterator[LabelledMention]]] = {
    "airline": _read_airline,
    "preotiuc": _read_preotiuc,
    "sxsw": _read_sxsw,
    "xfin": _read_xfin,
    "swisscom": _read_swisscom,
    "twcs": _read_twcs,
}
"""The corpora that are read as published, by source name."""
