"""Cascades: the bands lose no more than they may, and what escalates is answered wholly by the full bundle."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.files import read_labelled, write_labelled
from data.schema import INTENTS, FileError, Mention
from firstreply import main
from model.bundle import BRANDS, CUTS, MANIFEST, Bundle, write_manifest
from model.cascade import Cascade, load_reader
from model.errors import BundleError
from model.policy import Policy
from model.scorer import Scorer
from model.triage import Triage
from serving.contract import ModelInfo
from tests.conftest import SAMPLE
from training.cascade import CascadeJob, make_cascade
from training.job import TrainingError

HELD_OUT = SAMPLE / "heldout.csv"


@pytest.fixture(scope="module")
def folder(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade of two bundles that read the same but for their calibration: the fast one leans towards complaints."""
    folder = tmp_path_factory.mktemp("cascade")
    shutil.copytree(tiny_bundle, folder / "fast")
    shutil.copytree(tiny_bundle, folder / "full")
    manifest = json.loads((folder / "fast" / MANIFEST).read_text())
    manifest["name"] = "small"
    manifest["calibration"]["offset"]["complaint"] += 1.0
    write_manifest(folder / "fast", manifest)
    job = CascadeJob(folder / "fast", folder / "full", (HELD_OUT,), folder / "both", loss=0.005)
    assert make_cascade(job) == 0
    return folder


@pytest.mark.parametrize("cut", CUTS)
def test_what_is_in_a_band_is_answered_wholly_by_the_full_bundle(folder: Path, cut: str) -> None:
    cascade = load_reader(folder / "both", cut=cut)
    assert isinstance(cascade, Cascade)
    fast, full = Scorer.load(folder / "fast"), Scorer.load(folder / "full")
    pairs = [(mention.text, mention.target) for mention in read_labelled(HELD_OUT)]
    tiers = []
    for pair, reading in zip(pairs, cascade.read_all(pairs), strict=True):
        first = fast.read(*pair)
        inside = any(low <= p <= high for p, (low, high) in zip(first.probabilities, cascade.bands, strict=True))
        assert reading.tier == ("full" if inside else "fast")
        assert replace(reading, tier=None) == (full.read(*pair) if inside else first)
        assert reading.asserts(cut) == tuple(
            p >= t for p, t in zip(reading.probabilities, reading.bundle.thresholds(cut), strict=True)
        )
        tiers.append(reading.tier)
    stated = json.loads((folder / "both" / MANIFEST).read_text())["figures"]["cuts"][cut]["escalated"]
    assert stated == pytest.approx(tiers.count("full") / len(pairs), abs=1e-4)
    if cut == "balanced":
        assert 0 < stated < 1


def test_no_more_is_lost_than_may_be_and_more_escalates_for_less(folder: Path, tmp_path: Path) -> None:
    figures = json.loads((folder / "both" / MANIFEST).read_text())["figures"]
    for one in figures["cuts"].values():
        assert one["macro_f1"] >= one["full_macro_f1"] - 0.005 - 1e-4
        escalated = [row["escalated"] for row in one["curve"]]
        assert escalated == sorted(escalated)
        assert escalated[0] == 0 < escalated[-1]
    generous = CascadeJob(folder / "fast", folder / "full", (HELD_OUT,), tmp_path / "both", loss=0.5)
    make_cascade(generous)
    balanced = json.loads((tmp_path / "both" / MANIFEST).read_text())["figures"]["cuts"]["balanced"]
    assert balanced["escalated"] == balanced["margin"] == 0


def test_results_say_who_answered(folder: Path) -> None:
    reader = load_reader(folder / "both")
    triage = Triage(reader, Policy.load(None))
    assert triage.name == "firstreply-cascade@0.1.0"
    results = [
        triage.answer(Mention(text=mention.text, brand=mention.brand), as_of=datetime(2026, 3, 1, tzinfo=UTC))[0]
        for mention in read_labelled(HELD_OUT)[:60]
    ]
    assert {result["tier"] for result in results} == {"fast", "full"}
    info = ModelInfo.model_validate({**triage.model_info(), "limits": {"mentions": 1_000, "body_bytes": 8_000_000}})
    assert info.tiers == {tier: Bundle.load(folder / tier).sha256 for tier in ("fast", "full")}
    assert info.fast_thresholds is not None
    assert tuple(info.fast_thresholds["balanced"].values()) == Bundle.load(folder / "fast").thresholds("balanced")
    text = read_labelled(HELD_OUT)[0].text
    assert set(reader.explain(text, None, ["complaint"])) == {"complaint"}


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_files_are_scored_and_measured_by_a_cascade(folder: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"scored.{suffix}"
    assert main(["score", str(HELD_OUT), "-o", str(out), "--bundle", str(folder / "both")]) == 0
    reader = load_reader(folder / "both")
    expected = [reader.read(mention.text, mention.target).tier for mention in read_labelled(HELD_OUT)]
    with out.open(encoding="utf-8", newline="") as file:
        rows = map(json.loads, file) if suffix == "jsonl" else csv.DictReader(file)
        assert [row["tier"] for row in rows] == expected
    if suffix == "csv":
        report = ["--bundle", str(folder / "both"), "--data", str(HELD_OUT), "--out", str(tmp_path / "report")]
        assert main(["evaluate", *report]) == 0
        assert list(json.loads((tmp_path / "report" / "report.json").read_text())["cuts"]) == ["balanced"]


def test_where_no_margin_is_enough_all_escalate(folder: Path, tmp_path: Path) -> None:
    """The fast bundle reads nothing right: its probabilities are far from every threshold and upside down."""
    shutil.copytree(folder, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "fast" / MANIFEST).read_text())
    manifest["calibration"]["scale"] = {name: -20 * one for name, one in manifest["calibration"]["scale"].items()}
    write_manifest(tmp_path / "copy" / "fast", manifest)
    job = CascadeJob(tmp_path / "copy" / "fast", folder / "full", (HELD_OUT,), tmp_path / "both", loss=0.0)
    assert make_cascade(job) == 0
    balanced = json.loads((tmp_path / "both" / MANIFEST).read_text())["figures"]["cuts"]["balanced"]
    assert (balanced["margin"], balanced["escalated"]) == (None, 1.0)
    assert balanced["macro_f1"] == balanced["full_macro_f1"]
    mention = read_labelled(HELD_OUT)[0]
    assert load_reader(tmp_path / "both").read(mention.text, mention.target).tier == "full"


def test_both_read_with_the_brands_file_of_the_full_bundle(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "fast" / BRANDS).write_text('[other]\nnames = ["Other"]\n')
    manifest = json.loads((tmp_path / "copy" / "fast" / MANIFEST).read_text())
    write_manifest(tmp_path / "copy" / "fast", manifest)
    job = CascadeJob(tmp_path / "copy" / "fast", tmp_path / "copy" / "full", (HELD_OUT,), tmp_path / "both", loss=0.5)
    make_cascade(job)
    stated = json.loads((tmp_path / "both" / MANIFEST).read_text())["figures"]["cuts"]["balanced"]["macro_f1"]
    plain = json.loads((folder / "both" / MANIFEST).read_text())["figures"]["cuts"]["balanced"]["curve"][0]["macro_f1"]
    assert stated == plain  # of the fast bundle alone, as it was with the full one's brands


def test_what_cannot_be_a_cascade(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a cascade of two bundles; give one of these"):
        Bundle.load(folder / "both")
    with pytest.raises(BundleError, match="is itself a cascade"):
        make_cascade(CascadeJob(folder / "both", folder / "full", (HELD_OUT,), tmp_path / "out"))
    with pytest.raises(TrainingError, match="something else than a cascade"):
        make_cascade(CascadeJob(folder / "fast", folder / "full", (HELD_OUT,), folder / "full"))
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="something else than a cascade"):
        make_cascade(CascadeJob(folder / "fast", folder / "full", (HELD_OUT,), tmp_path / "file"))
    with pytest.raises(FileError):
        make_cascade(CascadeJob(folder / "fast", folder / "full", (HELD_OUT,), tmp_path / "file" / "out"))
    none = [mention.model_copy(update={"labels": (0, 0, 0, 0, None)}) for mention in read_labelled(HELD_OUT)[:5]]
    write_labelled(tmp_path / "none.csv", none)
    with pytest.raises(TrainingError, match="nothing to lose"):
        make_cascade(CascadeJob(folder / "fast", folder / "full", (tmp_path / "none.csv",), tmp_path / "out"))
    with pytest.raises(TrainingError, match="--loss 2"):
        make_cascade(CascadeJob(folder / "fast", folder / "full", (HELD_OUT,), tmp_path / "out", loss=2))
    with pytest.raises(BundleError, match="no cut 'best'"):
        load_reader(folder / "both", cut="best")


def test_a_cascade_whose_bundle_has_changed_or_is_gone_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "fast" / MANIFEST).read_text())
    manifest["calibration"]["offset"][INTENTS[0]] += 0.1
    write_manifest(tmp_path / "copy" / "fast", manifest)
    with pytest.raises(BundleError, match="its fast bundle .* is not the one that the cascade was made of"):
        load_reader(tmp_path / "copy" / "both")
    shutil.rmtree(tmp_path / "copy" / "full")
    shutil.copytree(folder / "fast", tmp_path / "copy" / "fast", dirs_exist_ok=True)
    with pytest.raises(BundleError, match="is this a bundle"):
        load_reader(tmp_path / "copy" / "both")
    manifest = tmp_path / "copy" / "both" / MANIFEST
    manifest.write_text(manifest.read_text().replace("0.1.0", "0.2.0"))
    with pytest.raises(BundleError, match="damaged"):
        load_reader(tmp_path / "copy" / "both")
