"""An evaluation from labelled files to its report, with a real bundle."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from data.files import read_labelled, write_labelled
from data.schema import INTENTS, FirstreplyError
from eval.evaluate import STOP, EvaluateJob, evaluate
from model.bundle import write_manifest
from model.scorer import Scorer
from tests.conftest import SAMPLE

_COLUMNS = ("id", "text", "brand", "brand_key", "channel", "source", "stratum", *INTENTS)
_BRANDS = ("Acme", "Bolt", "Corto", "Dune", "Esker")
_WORDS = ("buy", "leave", "broken", "love", "help")


def _rows(first: int, count: int, brands: tuple[str, ...]) -> list[dict[str, Any]]:
    """Mentions whose words give their labels; every third label is not known, and brands have sizes of their own."""
    random = np.random.default_rng(first)
    rows = []
    for number in range(first, first + count):
        labels = random.random(len(INTENTS)) < 0.4
        brand = brands[int(len(brands) * random.random() ** 2)]
        words = [word for word, label in zip(_WORDS, labels, strict=True) if label]
        known = {
            intent: int(label) if (number + column) % 3 else ""
            for column, (intent, label) in enumerate(zip(INTENTS, labels, strict=True))
        }
        rows.append(
            {
                "id": f"m{number}",
                "text": f"@{brand} {' '.join(words)} note {number}",
                "brand": brand,
                "brand_key": brand.lower(),
                "channel": "forum" if number % 4 else "twitter",
                "source": "toy",
                "stratum": "natural" if number % 2 else "hard",
                **known,
            }
        )
    return rows


def _nonsense(number: int) -> str:
    """Eight words that no other number has."""
    random = np.random.default_rng(number)
    return " ".join("".join(random.choice(list("abdegiklmnoprstu"), 6)) for _ in range(8))


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _report(job: EvaluateJob) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((job.out / "report.json").read_text(encoding="utf-8"))
    return report


def test_the_report_holds_the_figures_of_what_the_endpoint_would_say(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(0, 90, _BRANDS)
    job = EvaluateJob(tiny_bundle, [_write(tmp_path / "data.csv", rows)], tmp_path / "out", by=["channel"])
    assert evaluate(job) == 0
    report = _report(job)
    few, floors = report["warnings"]
    assert few == "only 5 brands: intervals that resample brands are rough, and rather too narrow"
    assert "behavioural tests miss their floor" in floors  # the bundle has hardly been trained
    assert report["stop"] == []

    scorer = Scorer.load(tiny_bundle)
    thresholds = scorer.bundle.thresholds("balanced")
    f1 = []
    for column, intent in enumerate(INTENTS):
        known = [row for row in rows if row[intent] != ""]
        read = [scorer.read(row["text"], row["brand"]).probabilities[column] >= thresholds[column] for row in known]
        f1.append(f1_score([row[intent] for row in known], read, zero_division=np.nan))
        one = report["overall"]["intents"][intent]
        assert (one["known"], one["support"]) == (len(known), sum(row[intent] for row in known))
        assert report["cuts"]["balanced"]["intents"][intent]["precision"] == one["precision"]
        stated = scorer.bundle.stated["balanced"][intent]
        assert report["cuts"]["balanced"]["intents"][intent]["stated_interval"] == stated
    assert report["overall"]["macro_f1"] == pytest.approx(np.nanmean(f1), abs=1e-9)
    assert report["overall"]["mentions"] == 90
    assert report["natural"]["mentions"] == 45
    assert report["model"] == scorer.name
    assert list(report["cuts"]) == ["balanced", "p70", "p80", "p90", "p95"]
    derived = ["length", "brand named", "language (guessed)"]
    assert list(report["slices"]) == [*derived, "stratum", "source", "brand_key", "channel"]
    natural = report["slices"]["stratum"]["natural"]
    assert {
        name: figure for name, figure in report["natural"].items() if name != "intervals"
    }.items() <= natural.items()
    assert report["others"] == {}
    spread = report["overall"]["intervals"]["macro_f1"]
    assert spread["low"] < spread["value"] == report["overall"]["macro_f1"] < spread["high"]

    parts = report["slices"]["brand_key"]
    assert sum(one["mentions"] for one in parts.values()) == 90
    small = {name for name, one in parts.items() if one["small"]}
    assert small == {name for name, one in parts.items() if one["mentions"] < 20} != set()
    ranked = [one["micro_f1"] for one in parts.values() if not one["small"]]
    assert ranked == sorted(ranked)
    assert {*list(parts)[len(ranked) :]} == small

    printed = capsys.readouterr()
    assert f"macro-F1 {report['overall']['macro_f1']:.3f} (" in printed.out
    assert f"{min(small)} *" in printed.out
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| purchase |" in page


def test_refused_rows_are_named_and_the_others_count(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(0, 12, _BRANDS)
    rows[3]["praise"] = "maybe"
    rows[7]["text"] = " "
    job = EvaluateJob(tiny_bundle, [_write(tmp_path / "data.csv", rows)], tmp_path / "out")
    assert evaluate(job) == 3
    (file,) = _report(job)["data"]
    assert file["mentions"] == 10
    assert [(one["row"], one["title"]) for one in file["refused"]] == [(4, "Invalid label"), (8, "Invalid mention")]
    assert "data.csv: row 4 refused: Invalid label: praise is 'maybe'" in capsys.readouterr().err
    assert "row 8 (Invalid mention" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_baselines_and_another_bundle_stand_beside_and_leaks_stop_a_release(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, data = _rows(0, 120, ("Fennec", "Gamba", "Hertha", "Acme")), _rows(500, 60, _BRANDS)
    for number, row in enumerate([*train, *data]):
        row["text"] += f" {_nonsense(number)}"
    planted = "I have been waiting at the gate for three hours and nobody at Acme will say why"
    train[0]["text"], data[0]["text"] = planted, planted + "!! https://t.co/x1"
    job = EvaluateJob(
        tiny_bundle,
        [_write(tmp_path / "data.csv", data)],
        tmp_path / "out",
        train=[_write(tmp_path / "train.csv", train)],
        compare=tiny_bundle,
    )
    assert evaluate(job) == STOP
    report = _report(job)
    same, *baselines = report["others"]
    assert same == f"{report['model']} ({tiny_bundle})"
    assert baselines == ["majority", "keyword rules", "TF-IDF + logistic regression"]
    assert report["others"][same]["overall"] == report["overall"]
    assert report["others"][same]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert report["compare"]["verdict"] == "no evidence"
    assert report["compare"]["flips"] == []
    rules = report["others"]["keyword rules"]
    ahead = report["overall"]["macro_f1"] - rules["overall"]["macro_f1"]
    assert rules["difference"]["value"] == pytest.approx(ahead)
    # a word gives the label, so what reads words must be right
    assert report["others"]["TF-IDF + logistic regression"]["overall"]["macro_f1"] > 0.95
    assert rules["overall"]["macro_calibration_error"] is None

    assert report["leaks"]["ids"] == ["m500"]
    example = next(one for one in report["leaks"]["examples"] if one["id"] == "m500")
    assert example["train_text"] == planted
    said = capsys.readouterr()
    assert f"warning: {report['stop'][0]}" in said.err
    assert report["stop"][0].startswith("1 of 60 mentions stand in the train files too")
    assert any("brand keys" in warning and "acme" in warning for warning in report["warnings"])
    assert "Stop." in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_worse_bundle_stops_a_release(tiny_bundle: Path, tmp_path: Path) -> None:
    """The same network, its thresholds for purchases and questions out of reach."""
    worse = tmp_path / "worse"
    shutil.copytree(tiny_bundle, worse)
    manifest = json.loads((worse / "bundle.json").read_text(encoding="utf-8"))
    thresholds = manifest["cuts"]["balanced"]["thresholds"]
    thresholds["purchase"] = thresholds["support_question"] = 0.9999
    write_manifest(worse, manifest)
    data = _write(tmp_path / "data.csv", _rows(0, 400, tuple(f"Brand{number}" for number in range(25))))
    job = EvaluateJob(worse, [data], tmp_path / "out", compare=tiny_bundle)
    assert evaluate(job) == STOP
    report = _report(job)
    assert report["compare"]["verdict"] == "worse"
    assert report["stop"][0].startswith("worse than")
    assert report["compare"]["intents"]["support_question"]["difference"]["high"] < 0
    assert len(report["compare"]["flips"]) > 50
    back = EvaluateJob(tiny_bundle, [data], tmp_path / "back", compare=worse)
    assert evaluate(back) == 0
    assert _report(back)["compare"]["verdict"] == "better"


def test_a_planted_label_error_is_found(tiny_bundle: Path, tmp_path: Path) -> None:
    """A complaint that the bundle is surest of, labelled as none."""
    mentions = read_labelled(SAMPLE / "train.csv")
    scorer, complaint = Scorer.load(tiny_bundle), INTENTS.index("complaint")
    chances = [scorer.read(mention.text, mention.target).probabilities[complaint] for mention in mentions]
    surest = max(
        (row for row, mention in enumerate(mentions) if mention.labels[complaint] == 1), key=lambda row: chances[row]
    )
    labels = tuple(0 if column == complaint else label for column, label in enumerate(mentions[surest].labels))
    mentions[surest] = mentions[surest].model_copy(update={"labels": labels})
    write_labelled(tmp_path / "data.csv", mentions)
    assert evaluate(EvaluateJob(tiny_bundle, [tmp_path / "data.csv"], tmp_path / "out")) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    first = next(one for one in report["mistakes"] if one["intent"] == "complaint")
    assert (first["id"], first["kind"], first["label_suspect"]) == (mentions[surest].id, "wrongly asserted", True)
    assert first["words"]
    assert "<td>to check</td>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_any_column_can_be_sliced_by(tiny_bundle: Path, tmp_path: Path) -> None:
    rows = [{**row, "sector": "travel" if number % 3 else "food"} for number, row in enumerate(_rows(0, 60, _BRANDS))]
    path = tmp_path / "data.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, (*_COLUMNS, "sector", "agent"))
        writer.writeheader()
        writer.writerows({**row, "agent": f"agent {number % 2}"} for number, row in enumerate(rows))
    job = EvaluateJob(tiny_bundle, [path], tmp_path / "out", by=["agent"])
    assert evaluate(job) == 0
    slices = _report(job)["slices"]
    assert {name: one["mentions"] for name, one in slices["agent"].items()} == {"agent 0": 30, "agent 1": 30}
    assert slices["sector"]["food"]["mentions"] == 20


def test_several_files_and_formats_are_one_data_set(tiny_bundle: Path, tmp_path: Path) -> None:
    lines = tmp_path / "data.jsonl"
    lines.write_text(
        '{"text": "@Acme help", "complaint": 1}\n{"text": "thanks, nobody", "praise": 1}\n', encoding="utf-8"
    )
    data = [_write(tmp_path / "data.csv", [{**row, "channel": ""} for row in _rows(0, 8, _BRANDS)]), lines]
    job = EvaluateJob(tiny_bundle, data, tmp_path / "out", by=["channel"])
    assert evaluate(job) == 0
    report = _report(job)
    assert report["warnings"][0] == "--by channel: the column is empty throughout, or not there"
    assert report["overall"]["mentions"] == 10
    assert report["slices"]["brand_key"][""]["mentions"] == 1
    assert report["slices"]["source"]["toy"]["mentions"] == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cut": "p99"}, "p99"),
        ({"data": [Path("absent.csv")]}, "absent.csv"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tiny_bundle: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    data = [_write(tmp_path / "data.csv", _rows(0, 3, _BRANDS))]
    with pytest.raises(FirstreplyError, match=message) as caught:
        evaluate(EvaluateJob(**{"bundle": tiny_bundle, "data": data, "out": tmp_path / "out", **changes}))
    assert "\n" not in str(caught.value)


def test_a_file_without_any_label_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    rows = [{**row, **dict.fromkeys(INTENTS, "")} for row in _rows(0, 3, _BRANDS)]
    with pytest.raises(FirstreplyError, match="no row has a label"):
        evaluate(EvaluateJob(tiny_bundle, [_write(tmp_path / "data.csv", rows)], tmp_path / "out"))


def test_what_narrows_intervals_or_guesses_brands_is_said(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(0, 30, _BRANDS)
    rows += [{**row, "id": f"again {row['id']}"} for row in rows[:4]]
    rows += [{**row, "brand": "", "brand_key": "", "text": f"{row['text']} so"} for row in rows[:3]]
    job = EvaluateJob(tiny_bundle, [_write(tmp_path / "data.csv", rows)], tmp_path / "out", by=["nosuch"])
    assert evaluate(job) == 0
    warnings = _report(job)["warnings"]
    assert any("4 mentions repeat the text and the brand" in warning for warning in warnings)
    assert any("3 of 37 mentions have neither brand nor brand_key" in warning for warning in warnings)
    assert any("behavioural tests miss their floor" in warning for warning in warnings)
    said = capsys.readouterr().err
    assert said.index("nosuch: empty throughout, or no column") < said.index("wrote")


def test_nothing_labelled_is_said_with_what_was_asserted(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, **dict.fromkeys(INTENTS, 0)} for row in _rows(0, 60, _BRANDS)]
    assert evaluate(EvaluateJob(tiny_bundle, [_write(tmp_path / "data.csv", rows)], tmp_path / "out")) == 0
    assert re.search(r"Of 30 mentions it asserts \d+ intents where 0 are labelled", capsys.readouterr().out)
