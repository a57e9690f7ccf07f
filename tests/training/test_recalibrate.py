"""``firstreply calibrate``: on a stream of another prevalence the new bundle is nearer to the truth."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.files import read_labelled, write_labelled
from data.schema import INTENTS, LabelledMention
from eval.behaviour import check_bundle
from model.bundle import Bundle, file_hash, write_manifest
from model.reliability import calibration_error
from model.scorer import Scorer
from training.recalibrate import CalibrateJob, CalibrationError, calibrate

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"
PRAISE = INTENTS.index("praise")


@pytest.fixture(scope="module")
def stream() -> list[LabelledMention]:
    """Mentions of a brand that is praised thrice as often as the sample's are, and never about to lose a customer."""
    mentions = [*read_labelled(SAMPLE / "train.csv"), *read_labelled(SAMPLE / "heldout.csv")]
    mentions = [mention for mention in mentions if mention.labels[1] == 0]
    praised = [mention for mention in mentions if mention.labels[PRAISE] == 1]
    shifted = [mention.model_copy(update={"id": f"{turn}-{mention.id}"}) for turn in range(2) for mention in praised]
    mixed = [*mentions, *shifted]
    random.Random(2).shuffle(mixed)
    return [mention.model_copy(update={"brand_key": "one"}) for mention in mixed]


def error(bundle: Path, mentions: list[LabelledMention]) -> float:
    """Mean calibration error over the intents that the stream has."""
    readings = list(Scorer.load(bundle).read_all((mention.text, mention.target) for mention in mentions))
    errors = []
    for column in (0, 2, 3, 4):
        truth = np.array([mention.labels[column] == 1 for mention in mentions])
        errors.append(
            calibration_error(truth, np.array([reading.probabilities[column] for reading in readings])) or 0.0
        )
    return float(np.mean(errors))


def test_calibration_error_falls_on_mentions_held_out(
    tiny_bundle: Path, stream: list[LabelledMention], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = len(stream) // 2
    write_labelled(tmp_path / "own.csv", stream[:half])
    out = tmp_path / "own"
    assert calibrate(CalibrateJob(tiny_bundle, (tmp_path / "own.csv",), out)) == 0
    assert error(out, stream[half:]) < 0.8 * error(tiny_bundle, stream[half:])

    old, new = Bundle.load(tiny_bundle), Bundle.load(out)
    manifest = json.loads((out / "bundle.json").read_text())
    own = manifest["calibrated_on"]
    assert new.version.startswith(f"{old.version}+calibrated.")
    assert own["files"] == [{"name": "own.csv", "sha256": file_hash(tmp_path / "own.csv")}]
    assert (own["mentions"], own["kept"], own["bundle"]["sha256"]) == (half, ["churn_risk"], old.sha256)
    for name in ("model.onnx", "tokenizer.json", "brands.toml"):
        assert file_hash(out / name) == file_hash(tiny_bundle / name)
    assert (new.calibration.scale[1], new.calibration.offset[1]) == (
        old.calibration.scale[1],
        old.calibration.offset[1],
    )
    for cut in new.cuts:
        assert new.cuts[cut][1] == old.cuts[cut][1]
    assert new.cuts["p80"] != old.cuts["p80"]
    assert "Calibrated with `firstreply calibrate` on" in (out / "MODEL_CARD.md").read_text()
    printed = capsys.readouterr().out
    assert "0 positives; too few: keeps what it had" in printed
    assert all(intent in printed for intent in INTENTS)

    again = tmp_path / "again"
    assert calibrate(CalibrateJob(out, (tmp_path / "own.csv",), again)) == 0
    assert Bundle.load(again).version == new.version
    both = tmp_path / "both"
    assert calibrate(CalibrateJob(out, (tmp_path / "own.csv", SAMPLE / "heldout.csv"), both)) == 0
    assert Bundle.load(both).version != new.version, "every file makes the version"


def test_behaviour_is_that_of_the_new_thresholds(tiny_bundle: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(tiny_bundle, old)
    stale = {"kind": "direction", "floor": 0.5, "cases": 9, "passed": 9, "rate": 1.0, "reached": True}
    manifest = json.loads((old / "bundle.json").read_text())
    manifest["behaviour"] = {"releasable": True, "tests": {"stale": stale}}
    write_manifest(old, manifest)

    data = (SAMPLE / "heldout.csv",)
    calibrate(CalibrateJob(old, data, tmp_path / "unchecked"))
    assert "behaviour" not in json.loads((tmp_path / "unchecked" / "bundle.json").read_text())
    assert "## Behaviour" not in (tmp_path / "unchecked" / "MODEL_CARD.md").read_text()

    calibrate(CalibrateJob(old, data, tmp_path / "new"), check_bundle)
    found = json.loads((tmp_path / "new" / "bundle.json").read_text())["behaviour"]
    assert found == check_bundle(tmp_path / "new")
    card = (tmp_path / "new" / "MODEL_CARD.md").read_text()
    assert "stale" not in card
    assert all(f"{test['kind']}: {name} |" in card for name, test in found["tests"].items())


def test_what_cannot_be_calibrated_on(tiny_bundle: Path, stream: list[LabelledMention], tmp_path: Path) -> None:
    def refused(mentions: list[LabelledMention]) -> str:
        write_labelled(tmp_path / "own.csv", mentions)
        with pytest.raises(CalibrationError) as caught:
            calibrate(CalibrateJob(tiny_bundle, (tmp_path / "own.csv",), tmp_path / "new"))
        assert not (tmp_path / "new").exists()
        return str(caught.value)

    assert refused(stream[:30]) == f"{tmp_path / 'own.csv'}: 30 labelled mentions are too few (at least 50)"
    none = [mention.model_copy(update={"labels": (0,) * len(INTENTS)}) for mention in stream[:80]]
    assert refused(none) == "no intent has 10 positives and as many negatives; label more mentions"
    unknown = [mention.model_copy(update={"labels": (None,) * len(INTENTS)}) for mention in stream[:80]]
    assert refused(unknown) == f"{tmp_path / 'own.csv'}: 0 labelled mentions are too few (at least 50)"


def test_nothing_is_overwritten(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="is there; give another folder"):
        calibrate(CalibrateJob(tiny_bundle, (SAMPLE / "heldout.csv",), tmp_path))


def test_it_runs_where_only_serving_is_installed(tiny_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'datasets', 'sklearn', 'pyarrow'): sys.modules[name] = None\n"
        "from firstreply import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = ["calibrate", "--bundle", str(tiny_bundle), "--data", str(SAMPLE / "heldout.csv")]
    command = [sys.executable, "-c", code, *command, "--out", str(tmp_path / "new")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "left-out brands" in done.stdout
