"""An evaluation from labelled files to its report, with a real bundle."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from data.schema import INTENTS, FirstreplyError
from eval.evaluate import EvaluateJob, evaluate
from model.scorer import Scorer

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


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _report(job: EvaluateJob) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(job.out) / "report.json").read_text(encoding="utf-8"))
    return report


def test_the_report_holds_the_figures_of_what_the_endpoint_would_say(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(0, 90, _BRANDS)
    job = EvaluateJob(tiny_bundle, [_write(tmp_path / "data.csv", rows)], tmp_path / "out", by=["channel"])
    assert evaluate(job) == 0
    report = _report(job)
    assert report["warnings"] == []

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
    assert list(report["slices"]) == ["stratum", "source", "brand_key", "channel"]
    assert report["slices"]["stratum"]["natural"] == {**report["natural"], "small": False}
    assert report["others"] == {}

    sizes = [one["mentions"] for one in report["slices"]["brand_key"].values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 90
    small = {name for name, one in report["slices"]["brand_key"].items() if one["small"]}
    assert small == {name for name, one in report["slices"]["brand_key"].items() if one["mentions"] < 20} != set()

    printed = capsys.readouterr()
    assert f"macro-F1 {report['overall']['macro_f1']:.3f} on 90 mentions" in printed.out
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


def test_baselines_and_another_bundle_stand_beside_and_what_is_in_train_is_said(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, data = _rows(0, 120, ("Fennec", "Gamba", "Hertha", "Acme")), _rows(500, 60, _BRANDS)
    data[0] = {**train[0], "id": "again"}  # the same mention
    job = EvaluateJob(
        tiny_bundle,
        [_write(tmp_path / "data.csv", data)],
        tmp_path / "out",
        train=[_write(tmp_path / "train.csv", train)],
        compare=tiny_bundle,
    )
    assert evaluate(job) == 0
    report = _report(job)
    same, *baselines = report["others"]
    assert same == f"{report['model']} ({tiny_bundle})"
    assert baselines == ["majority", "keyword rules", "TF-IDF + logistic regression"]
    assert report["others"][same]["overall"] == report["overall"]
    assert report["others"][same]["difference"]["macro_f1"] == report["others"][same]["difference"]["high"] == 0
    rules = report["others"]["keyword rules"]
    ahead = report["overall"]["macro_f1"] - rules["overall"]["macro_f1"]
    assert rules["difference"]["macro_f1"] == pytest.approx(ahead)
    # a word gives the label, so what reads words must be right
    assert report["others"]["TF-IDF + logistic regression"]["overall"]["macro_f1"] > 0.95
    assert report["others"]["keyword rules"]["overall"]["macro_calibration_error"] is None

    overlap = {name: one["mentions"] for name, one in report["slices"]["overlap"].items()}
    in_train = {"acme", train[0]["brand_key"]}
    shared = sum(row["brand_key"] in in_train for row in data)
    assert overlap == {"text in train": 1, "brand in train": shared - 1, "new": 60 - shared}
    brands, texts = report["warnings"]
    assert f"({shared} of 60 mentions) also occur in the train files" in brands
    assert texts.startswith("1 of 60 mentions")
    assert f"warning: {texts}" in capsys.readouterr().err


def test_several_files_and_formats_are_one_data_set(tiny_bundle: Path, tmp_path: Path) -> None:
    lines = tmp_path / "data.jsonl"
    lines.write_text(
        '{"text": "@Acme help", "complaint": 1}\n{"text": "thanks, nobody", "praise": 1}\n', encoding="utf-8"
    )
    data = [_write(tmp_path / "data.csv", [{**row, "channel": ""} for row in _rows(0, 8, _BRANDS)]), lines]
    job = EvaluateJob(tiny_bundle, data, tmp_path / "out", by=["channel"])
    assert evaluate(job) == 0
    report = _report(job)
    assert report["warnings"] == ["--by channel: the column is empty throughout"]
    assert report["overall"]["mentions"] == 10
    assert report["slices"]["brand_key"][""]["mentions"] == 1
    assert report["slices"]["source"]["toy"]["mentions"] == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": ["colour"]}, "--by colour: no such column; use stratum"),
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
