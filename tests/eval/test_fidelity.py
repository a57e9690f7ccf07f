"""Two bundles compared on the same mentions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data.schema import INTENTS, labelled_from_row
from eval.fidelity import FidelityJob, compare, fidelity
from model.bundle import write_manifest
from model.errors import BundleError
from model.scorer import Scorer

_TEXTS = ("I will leave @Acme", "@Acme love it", "help me please @Acme", "buy", "@Acme it broke again and again", "ok")
_MENTIONS = [
    labelled_from_row(
        {"text": text, **{intent: (row >> column) & 1 for column, intent in enumerate(INTENTS)}}, str(row)
    )
    for row, text in enumerate(_TEXTS, start=9)
]


def _data(folder: Path) -> Path:
    path = folder / "data.jsonl"
    rows = [{"text": mention.text, **dict(zip(INTENTS, mention.labels, strict=True))} for mention in _MENTIONS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _changed(bundle: Path, folder: Path, **changes: object) -> Path:
    """A copy of the bundle with entries of its manifest changed, its hashes right."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    write_manifest(folder, {**manifest, **changes})
    return folder


def test_a_bundle_does_not_differ_from_itself(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fidelity(FidelityJob(tiny_bundle, tiny_bundle, [_data(tmp_path)])) == 0
    measured = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (measured["mentions"], measured["cells"]) == (6, 30)
    for name in ("labels_differ", "share_differ", "macro_f1_difference", "max_probability_difference"):
        assert measured[name] == 0
    assert measured["neighbour_difference"] == 0


def test_differences_are_counted_at_each_bundles_own_thresholds(tiny_bundle: Path, tmp_path: Path) -> None:
    ours = Scorer.load(tiny_bundle)
    manifest = json.loads((tiny_bundle / "bundle.json").read_text(encoding="utf-8"))
    scale, offset = manifest["calibration"]["scale"], manifest["calibration"]["offset"]
    everything = {**manifest["cuts"], "balanced": {"thresholds": dict.fromkeys(INTENTS, 0.0)}}
    shifted = {"scale": scale, "offset": {**offset, "praise": offset["praise"] + 1}}
    theirs = Scorer.load(_changed(tiny_bundle, tmp_path / "other", cuts=everything, calibration=shifted))
    measured = compare(ours, theirs, _MENTIONS)

    read = np.array([ours.read(mention.text, None).probabilities for mention in _MENTIONS])
    asserted = read >= np.array(ours.bundle.thresholds("balanced"))
    assert measured.labels_differ == (~asserted).sum()
    assert list(measured.differ_by_intent.values()) == (~asserted).sum(axis=0).tolist()
    assert measured.share_differ == measured.labels_differ / 30
    praise = read[:, INTENTS.index("praise")]
    moved = np.abs(1 / (1 + np.exp(-(np.log(praise / (1 - praise)) + 1))) - praise)
    assert measured.max_probability_difference == pytest.approx(moved.max())
    assert measured.macro_f1 is not None
    assert measured.reference_macro_f1 is not None
    assert measured.macro_f1_difference == measured.macro_f1 - measured.reference_macro_f1


def test_bundles_that_read_another_text_are_not_compared(tiny_bundle: Path, tmp_path: Path) -> None:
    other = _changed(tiny_bundle, tmp_path / "other", max_tokens=Scorer.load(tiny_bundle).bundle.max_tokens - 1)
    with pytest.raises(BundleError, match="does not read text as"):
        fidelity(FidelityJob(tiny_bundle, other, [_data(tmp_path)]))
