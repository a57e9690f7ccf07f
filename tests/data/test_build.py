"""Building a training and a dev file, and describing them, on small invented corpora."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from data.build import BuildJob, build
from data.describe import DescribeJob, describe, describe_mentions, shared
from data.files import read_labelled, write_labelled
from data.labels import export_labels
from data.schema import FileError, LabelledMention

TEXTS = {
    "1": "the baggage belt at gate four ate my guitar",
    "2": "such a kind crew on the night flight to oslo",
    "3": "why is the app down again this morning",
    "4": "three hours in a queue and then no seat at all",
}
HEADER = (
    "tweet_id,airline_sentiment,airline_sentiment_confidence,negativereason,negativereason_confidence,airline,"
    "airline_sentiment_gold,name,negativereason_gold,retweet_count,text,tweet_coord,tweet_created,tweet_location,"
    "user_timezone\n"
)


def airline(native: str, text: str, brand: str, sentiment: str) -> str:
    return f"{native},{sentiment},1,Bad Flight,1,{brand},,x,,0,{text},,2015-02-24 11:35:52 -0800,,\n"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [
        airline("1", TEXTS["1"], "United", "negative"),
        airline("2", TEXTS["2"], "United", "positive"),
        airline("3", TEXTS["3"], "Delta", "neutral"),
        airline("4", TEXTS["4"], "Delta", "negative"),
        airline("5", "RT @x: " + TEXTS["1"], "United", "negative"),
    ]
    (folder / "Tweets.csv").write_text(HEADER + "".join(rows))
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    for name, native, brand in (("train", "1", "United"), ("dev", "3", "Delta")):
        ours = LabelledMention(
            id=f"airline:{native}",
            text=TEXTS[native],
            brand=(brand,),
            brand_key=brand.lower(),
            source="airline",
            stratum="natural",
            labels=(0, 0, 1, 0, 1),
        )
        write_labelled(tmp_path / f"{name}.parquet", [ours])
        export_labels([tmp_path / f"{name}.parquet"], folder)
    return folder


def test_our_split(tmp_path: Path, raw: Path, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = LabelledMention(id="own", text="we want the new kettle", brand=("Kettles",), brand_key="kettles")
    leak = LabelledMention(id="leak", text=TEXTS["3"].upper(), brand=("Kettles",), brand_key="kettles")
    write_labelled(tmp_path / "own.jsonl", [own, leak])
    job = BuildJob(
        tmp_path / "out.csv", tmp_path / "dev.csv", raw=raw, labels=labels, labelled=(tmp_path / "own.jsonl",)
    )
    assert build(job) == 0
    train = {mention.id: mention for mention in read_labelled(job.out)}
    dev = read_labelled(tmp_path / "dev.csv")
    # 5 repeats 1, 4 is about a brand of dev, the text of "leak" stands in dev
    assert set(train) == {"airline:1", "airline:2", "own"}
    assert train["airline:1"].labels == (0, 0, 1, 0, 1)
    assert train["airline:2"].labels == (None, None, 0, 1, None)
    assert [mention.id for mention in dev] == ["airline:3"]
    printed = capsys.readouterr()
    assert f"{job.out}: 3 mentions of 2 brands" in printed.out
    assert f"preotiuc: skipped, there is no {raw / 'complaints-data.csv'}" in printed.err


def test_permissive_takes_no_corpus_that_is_not_for_commercial_use(
    tmp_path: Path, raw: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("we want the new kettle", "that branch never answers its phone", "seats were far too tight for us")
    mentions = [
        LabelledMention(id=source, text=text, brand_key=source, source=source, labels=(1, None, None, None, None))
        for source, text in zip(("mine", "xfin", "airline"), texts, strict=True)
    ]
    write_labelled(tmp_path / "own.jsonl", mentions)
    out = tmp_path / "train.jsonl"
    build(BuildJob(out=out, raw=raw, labelled=(tmp_path / "own.jsonl",), labels=labels, permissive=True))
    assert [mention.source for mention in read_labelled(out)] == ["mine", "xfin"]
    said = capsys.readouterr().err
    assert "airline: left out, its licence is 'CC BY-NC-SA 4.0'" in said
    assert "labelled files: 1 mentions are left out" in said


def test_every_other_brand_that_is_named_is_a_target_too(tmp_path: Path, raw: Path, labels: Path) -> None:
    own = LabelledMention(
        id="own", text="leaving Kettles for Teas, Oslo", brand=("Kettles",), brand_key="kettles", labels=(0, 1, 0, 0, 0)
    )
    write_labelled(tmp_path / "own.jsonl", [own])
    brands = {"Kettles": "kettles", "Teas": "teas", "oslo": "oslo", "airline": "delta"}
    job = BuildJob(
        tmp_path / "out.csv",
        raw=raw,
        labels=labels,
        labelled=(tmp_path / "own.jsonl",),
        named=lambda text: {key: name for name, key in brands.items() if name in text},
    )
    build(job)
    found = {mention.id: mention for mention in read_labelled(job.out) if mention.stratum == "other_target"}
    # the third flight's brand is one of dev
    assert set(found) == {"own@teas", "airline:2@oslo"}
    assert found["own@teas"].target == "Teas"
    assert found["own@teas"].brand_key == "teas"
    assert not found["own@teas"].is_labelled


def test_a_corpus_is_taken_as_far_as_it_agrees_and_up_to_a_number(
    tmp_path: Path, raw: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    build(BuildJob(out, raw=raw, labels=labels, least_agreement=0.5))
    # one common mention is too little to judge by
    assert "complaint – (1.00 alike) of 1, praise – (1.00 alike) of 1\n" in capsys.readouterr().out
    assert [mention.id for mention in read_labelled(out)] == ["airline:1", "airline:2"]
    whole = BuildJob(out, tmp_path / "dev.csv", raw=raw, labels=labels, dev_fraction=0.5, seed=2)
    for job, count in ((whole, 4), (replace(whole, at_most=1), 3)):
        build(job)
        assert len(read_labelled(out)) + len(read_labelled(tmp_path / "dev.csv")) == count


COMPLAINTS = [i % 3 == 0 for i in range(30)]
"""Thirty labels, ten of them asserted."""


@pytest.mark.parametrize(
    ("theirs", "ours", "taken"),
    [
        (COMPLAINTS, [not label for label in COMPLAINTS], False),
        (COMPLAINTS[:29], [not label for label in COMPLAINTS[:29]], True),  # too few to judge by
        (COMPLAINTS, [label or i == 1 for i, label in enumerate(COMPLAINTS)], True),
        ([False] * 30, [i < 3 for i in range(30)], True),
        ([False] * 30, [i < 4 for i in range(30)], False),
    ],
)
def test_labels_of_a_corpus_are_judged_by_thirty_of_ours(
    tmp_path: Path, theirs: list[bool], ours: list[bool], taken: bool
) -> None:
    """A negative airline post is a complaint to its corpus, a positive one is not; one more that we did not label."""
    random = Random(1)
    texts = [" ".join("".join(random.choices("aeilmnorst", k=6)) for _ in range(9)) for _ in range(31)]
    (tmp_path / "raw").mkdir()
    rows = [
        airline(str(i), text, "United", "negative" if theirs[i : i + 1] == [True] else "positive")
        for i, text in enumerate(texts)
    ]
    (tmp_path / "raw" / "Tweets.csv").write_text(HEADER + "".join(rows))
    common = [
        LabelledMention(
            id=f"airline:{i}",
            text=text,
            brand=("United",),
            brand_key="united",
            source="airline",
            labels=(0, 0, 1 if label else 0, None, 0),
        )
        for i, (text, label) in enumerate(zip(texts, ours, strict=False))
    ]
    for name, part in (("train", common), ("dev", [])):
        write_labelled(tmp_path / f"{name}.parquet", part)
    export_labels([tmp_path / "train.parquet", tmp_path / "dev.parquet"], tmp_path)
    out = tmp_path / "out.jsonl"
    build(BuildJob(out, raw=tmp_path / "raw", labels=tmp_path, least_agreement=0.5))
    found = {mention.id: mention.labels for mention in read_labelled(out)}
    assert found["airline:30"] == (None, None, 0 if taken else None, 1, None)


def test_an_unlabelled_twin_in_dev_pushes_no_labelled_mention_out(tmp_path: Path, labels: Path) -> None:
    random = Random(1)
    own = []
    for number in range(20):
        words = " ".join("".join(random.choices("abcdefghij", k=6)) for _ in range(12))
        row = {"id": str(number), "text": f"{words} Bee{number}", "brand": f"Ay{number}", "brand_key": f"ay{number}"}
        own.append(LabelledMention.model_validate({**row, "labels": (0, 1, 0, 0, 0)}))
    write_labelled(tmp_path / "own.jsonl", own)
    job = BuildJob(
        tmp_path / "out.csv",
        tmp_path / "dev.csv",
        labels=labels,
        labelled=(tmp_path / "own.jsonl",),
        dev_fraction=0.5,
        named=lambda text: {text.split()[-1].lower(): text.split()[-1]},
    )
    build(job)
    train, dev = read_labelled(job.out), read_labelled(tmp_path / "dev.csv")
    assert all(mention.is_labelled for mention in dev)
    assert sum(mention.is_labelled for mention in train) + len(dev) == 20


def test_split_by_fraction_shares_no_brand(tmp_path: Path, raw: Path, labels: Path) -> None:
    job = BuildJob(tmp_path / "out.csv", tmp_path / "dev.csv", raw=raw, labels=labels, dev_fraction=0.5)
    assert build(job) == 0
    train, dev = read_labelled(job.out), read_labelled(tmp_path / "dev.csv")
    assert {mention.brand_key for mention in train} ^ {mention.brand_key for mention in dev} == {"united", "delta"}
    assert len(train) + len(dev) == 4


def test_brand_keys_come_from_our_labels_or_the_given_function(tmp_path: Path, labels: Path) -> None:
    own = [LabelledMention(id=name, text=f"a word about {name}", brand=(name,), brand_key=name) for name in "ab"]
    own[1] = own[1].model_copy(update={"brand_key": "its own"})
    write_labelled(tmp_path / "own.jsonl", own)
    job = BuildJob(tmp_path / "out.csv", labels=labels, labelled=(tmp_path / "own.jsonl",), key=lambda name: name + "!")
    build(job)
    assert [mention.brand_key for mention in read_labelled(job.out)] == ["a!", "its own"]


def test_nothing_to_build_from(tmp_path: Path, labels: Path) -> None:
    with pytest.raises(FileError, match="nothing to train on"):
        build(BuildJob(tmp_path / "out.csv", raw=tmp_path, labels=labels))
    with pytest.raises(FileError, match="between 0 and 1"):
        build(BuildJob(tmp_path / "out.csv", labels=labels, dev_fraction=1.5))


def test_describe_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mentions = [
        LabelledMention(id="1", text="x" * 10, brand_key="a", source="s", channel="chat", labels=(1, 0, None, 0, 0)),
        LabelledMention(id="1", text="X" * 10, brand_key="a", source="s", labels=(1, None, None, 0, 0)),
        LabelledMention(id="2", text="y" * 30, brand_key="b", labels=(0, None, None, 0, 0)),
        LabelledMention(id="3", text="z" * 20),
    ]
    found = describe_mentions(mentions)
    assert found["rows"] == 4
    assert (found["brands"], found["without_brand"]) == (2, 1)
    assert (found["repeated_ids"], found["repeated_texts"]) == (1, 1)
    assert found["labels"]["purchase"] == {"1": 2, "0": 1, "unknown": 1}
    assert found["labels"]["complaint"] == {"1": 0, "0": 0, "unknown": 4}
    assert (found["characters"]["min"], found["characters"]["max"]) == (10, 30)
    assert found["source"] == {"": 2, "s": 2}
    assert shared(mentions[:2], mentions[1:])["brands"] == ["a"]

    files = (tmp_path / "a.csv", tmp_path / "b.jsonl")
    write_labelled(files[0], mentions[:2])
    write_labelled(files[1], mentions[1:])
    assert describe(DescribeJob(files, json=True)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["files"][str(files[0])]["rows"] == 2
    assert report["shared"][0]["rows_of_these_brands"] == [2, 1]
    assert describe(DescribeJob(files)) == 0
    text = capsys.readouterr().out
    assert "2 mentions of 1 brands" in text
    assert "share 1 brands (a), 2 and 1 mentions" in text


def test_describe_an_empty_file(tmp_path: Path) -> None:
    write_labelled(tmp_path / "a.csv", [])
    assert describe(DescribeJob((tmp_path / "a.csv",))) == 0
