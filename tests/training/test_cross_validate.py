"""Cross-validation on the tiny encoder: who is left out of what, what is written, and a run that was stopped."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from data.duplicates import drop_occurring
from data.files import BadRow, read_labelled, read_rows
from data.schema import INTENTS, LabelledMention
from firstreply import main
from model.bundle import Bundle
from model.scorer import Scorer
from training.cross_validate import summarise
from training.mentions import set_aside, without

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture(scope="module")
def command(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("folds")
    (folder / "recipe.toml").write_text('extends = "quick"\nlearning_rate = 5e-3\nprecision = "float32"\n')
    files = ["--train", str(SAMPLE / "train.csv"), "--brands", str(SAMPLE / "brands.toml")]
    recipe = ["--recipe", str(folder / "recipe.toml"), "--base", str(tiny_base)]
    return ["train", *files, *recipe, "--cross-validate", "2", "--out", str(folder / "cv")]


@pytest.fixture(scope="module")
def cv(command: list[str]) -> Path:
    assert main(command) == 0
    return Path(command[-1])


def _rows(cv: Path) -> list[dict[str, str]]:
    rows = list(read_rows(cv / "out-of-fold.csv"))
    return [row.values for row in rows if not isinstance(row, BadRow)]


def test_every_mention_is_left_out_once_with_its_whole_brand(cv: Path) -> None:
    rows = _rows(cv)
    mentions = read_labelled(SAMPLE / "train.csv")
    assert Counter(row["id"] for row in rows) == Counter(mention.id for mention in mentions)
    folds = defaultdict(set)
    for row in rows:
        folds[row["brand_key"]].add(row["fold"])
    assert all(len(its) == 1 for its in folds.values())
    assert {fold for its in folds.values() for fold in its} == {"1", "2"}


def test_predictions_are_those_of_the_bundle_that_did_not_see_the_brand(cv: Path) -> None:
    for fold in ("1", "2"):
        row = next(row for row in _rows(cv) if row["fold"] == fold)
        reading = Scorer.load(cv / f"fold-{fold}").read(row["text"], row["brand"])
        assert [float(row[f"p_{intent}"]) for intent in INTENTS] == list(reading.probabilities)
        manifest = json.loads((cv / f"fold-{fold}" / "bundle.json").read_text())
        left_out = sum(other["fold"] == fold for other in _rows(cv))
        read = manifest["data"][0]["mentions"] + manifest["figures"]["dev"]["all"]["mentions"]
        assert read <= 429 - left_out


def test_figures_are_means_over_folds(cv: Path) -> None:
    report = json.loads((cv / "cross-validation.json").read_text())
    rows = _rows(cv)
    for column, intent in enumerate(INTENTS):
        values: dict[str, list[float]] = {"average_precision": [], "both_classes_f1": []}
        for fold in ("1", "2"):
            its = [row for row in rows if row["fold"] == fold and row[intent]]
            truth, scores = [int(row[intent]) for row in its], [float(row[f"p_{intent}"]) for row in its]
            cut = Bundle.load(cv / f"fold-{fold}").thresholds("balanced")[column]
            values["average_precision"].append(average_precision_score(truth, scores))
            values["both_classes_f1"].append(f1_score(truth, [score >= cut for score in scores], average="macro"))
        for metric, its_values in values.items():
            found = report["summary"]["all"]["intents"][intent][metric]
            assert found["mean"] == pytest.approx(np.mean(its_values), abs=2e-4)
            assert found["sd"] == pytest.approx(np.std(its_values, ddof=1), abs=2e-4)


def test_folds_of_mentions_divide_brands_but_no_mention(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command[:-1], str(tmp_path / "cv"), "--group", "id"]) == 0
    rows = _rows(tmp_path / "cv")
    assert Counter(row["id"] for row in rows) == Counter(mention.id for mention in read_labelled(SAMPLE / "train.csv"))
    folds = defaultdict(set)
    for row in rows:
        folds[row["brand_key"]].add(row["fold"])
    assert any(len(its) == 2 for its in folds.values())
    assert "left-out mentions, all: 429 mentions" in capsys.readouterr().out


def test_stopped_run_keeps_its_finished_folds(cv: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = (cv / "out-of-fold.csv").read_bytes()
    made = (cv / "fold-1" / "bundle.json").stat().st_mtime_ns
    shutil.rmtree(cv / "fold-2")
    (cv / "out-of-fold.csv").unlink()
    assert main(command) == 0
    assert (cv / "fold-1" / "bundle.json").stat().st_mtime_ns == made
    assert (cv / "out-of-fold.csv").read_bytes() == before
    assert "left-out brands, all: 429 mentions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--seed", "1"], "not of this cross-validation"),
        (["--cross-validate", "99"], "at most as many as there are values of brand_key"),
        (["--group", "source"], "source, which are 1"),
        (["--dev", "x.csv"], "takes no --dev"),
    ],
)
def test_refusals(
    cv: Path, command: list[str], changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *changes]) == 1
    assert message in capsys.readouterr().err


def test_a_text_about_two_brands_is_on_one_side_only() -> None:
    text = "leaving Northtel for Skyfone after the third outage of this week"
    mentions = [
        LabelledMention(id=f"{number}", text=f"{number} words about brand {number}", brand_key=f"brand{number}")
        for number in range(40)
    ]
    both = [LabelledMention(id=f"p@{key}", text=text, brand_key=key, labels=(1,) * 5) for key in ("brand1", "brand2")]
    assert [mention.id for mention in without([*mentions, both[0]], [both[1]])] == [mention.id for mention in mentions]
    for seed in range(5):
        training, dev = set_aside([*both, *mentions], seed)
        assert not drop_occurring(training, dev)[1]


def test_dev_is_a_share_of_the_labelled_and_says_what_else_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    """Brands of which most mentions, or all, have no label do not fill dev."""
    mentions = [
        LabelledMention(
            id=f"{brand}-{number}",
            text=f"words {number} times {brand} about nothing else",
            brand_key=f"brand{brand}",
            labels=(1, 0, 0, 0, 0) if number < 10 and brand < 20 else (None,) * 5,
        )
        for brand in range(24)
        for number in range(10 + 20 * (brand % 4))
    ]
    training, dev = set_aside(mentions, 0)
    assert len(dev) == 30
    assert all(mention.is_labelled for mention in dev)
    apart = {mention.brand_key for mention in dev}
    assert not apart & {mention.brand_key for mention in training}
    assert {f"brand{brand}" for brand in range(20, 24)}.isdisjoint(apart)
    gone = sum(mention.brand_key in apart for mention in mentions) - 30
    assert gone > 0
    assert f"{gone} mentions without a label are left out" in capsys.readouterr().err


def test_summary_skips_folds_without_a_positive() -> None:
    def figure(f1: float | None) -> dict[str, object]:
        metrics = ("precision", "recall", "f1", "both_classes_f1", "average_precision")
        row = {**dict.fromkeys(metrics, f1), "support": 3}
        return {
            "mentions": 10,
            "macro_f1": f1,
            "macro_average_precision": f1,
            "intents": {} if f1 is None else {"praise": row},
        }

    summary = summarise([figure(0.5), figure(None), figure(0.7)])
    assert summary["mentions"] == 30
    assert list(summary["intents"]) == ["praise"]
    assert summary["intents"]["praise"]["f1"] == {"mean": 0.6, "sd": 0.1414}
    assert summary["intents"]["praise"]["support"] == 6
    assert summary["intents"]["praise"]["folds"] == 2


def test_teachers_are_refused(tiny_bundle: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--teacher", str(tiny_bundle)]) == 1
    assert "takes no --teacher" in capsys.readouterr().err
