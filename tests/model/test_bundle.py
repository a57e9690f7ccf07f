"""Bundles: what is written is read back, and anything else is refused with one line that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.schema import INTENTS
from model.brands import DEFAULT_BRANDS
from model.bundle import (
    BRANDS,
    CARD,
    CUTS,
    FORMAT,
    MANIFEST,
    MODEL,
    NO_INTERVAL,
    TOKENIZER,
    Bundle,
    Calibration,
    probability,
    write_manifest,
)
from model.errors import BundleError
from model.normalise import NORMALISER_VERSION

FILES = (MODEL, TOKENIZER, BRANDS, CARD)
DESCRIPTION: dict[str, Any] = {
    "name": "small",
    "version": "1.2.3",
    "max_tokens": 64,
    "base_model": "a base",
    "calibration": {
        "scale": dict(zip(INTENTS, (1.0, 1.5, 2.0, 0.5, 1), strict=True)),
        "offset": dict(zip(INTENTS, (0.0, -0.25, 0.5, 1.0, -1), strict=True)),
    },
    "cuts": {
        cut: {"thresholds": dict(zip(INTENTS, (0.5, 0.25, None if cut == "p95" else 0.75, 0, 1), strict=True))}
        for cut in CUTS
    },
    "data": [{"name": "sample", "mentions": 3, "licence": "Apache-2.0"}],
    "figures": {"dev": {"macro_f1": 0.5}, "note": "naïve – “quotes”"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose model and tokenizer are only bytes: loading checks them and does not open them."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / MODEL).write_bytes(bytes(range(256)))
    (folder / TOKENIZER).write_text('{"model": {}}')
    shutil.copy(DEFAULT_BRANDS, folder / BRANDS)
    (folder / CARD).write_text("# Card\n")
    write_manifest(folder, DESCRIPTION)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def edit(folder: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> None:
    """Change the manifest as its author could (``seal``: with the hash that belongs to it)."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    if seal:
        manifest.pop("sha256")
        canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        manifest["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_what_is_written_is_read_back(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert (bundle.folder, bundle.name, bundle.version, bundle.base_model) == (folder, "small", "1.2.3", "a base")
    assert (bundle.max_tokens, bundle.normaliser_version) == (64, NORMALISER_VERSION)
    assert bundle.calibration == Calibration((1.0, 1.5, 2.0, 0.5, 1.0), (0.0, -0.25, 0.5, 1.0, -1.0))
    assert list(bundle.data) == DESCRIPTION["data"]
    assert bundle.figures == DESCRIPTION["figures"]
    assert bundle.brands().key("AAPL") == "apple"


def test_a_threshold_of_null_is_out_of_reach(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert tuple(bundle.cuts) == CUTS
    assert bundle.thresholds("balanced") == (0.5, 0.25, 0.75, 0.0, 1.0)
    assert bundle.thresholds("p95") == (0.5, 0.25, math.inf, 0.0, 1.0)


def test_intervals_of_thresholds_are_read_where_a_bundle_has_them(folder: Path) -> None:
    assert set(Bundle.load(folder).intervals["p80"]) == {NO_INTERVAL}, "older bundles have none"
    ends = {"purchase": [0.25, 0.75], "churn_risk": None, "complaint": [0.5, 1], "praise": None}
    edit(folder, lambda manifest: manifest["cuts"]["p80"].update(threshold_interval=ends))
    expected = ((0.25, 0.75), NO_INTERVAL, (0.5, 1.0), NO_INTERVAL, NO_INTERVAL)
    assert Bundle.load(folder).intervals["p80"] == expected
    assert not any(low <= value <= high for low, high in [NO_INTERVAL] for value in (0.0, 0.5, 1.0, math.inf))


def test_an_unknown_cut_is_refused_with_those_that_there_are(folder: Path) -> None:
    with pytest.raises(BundleError, match="there is no cut 'p85'.*balanced, p70, p80, p90, p95"):
        Bundle.load(folder).thresholds("p85")


def test_the_manifests_hash_is_of_its_canonical_json(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert Bundle.load(folder).sha256 == manifest.pop("sha256")
    edit(folder, lambda manifest: None)  # written again by hand, in another layout: still the same bundle
    assert manifest["format"] == FORMAT
    assert manifest["intents"] == list(INTENTS)
    assert manifest["files"] == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    Bundle.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("position", [0, -1])
def test_one_changed_byte_is_found(folder: Path, name: str, position: int) -> None:
    content = bytearray((folder / name).read_bytes())
    content[position] ^= 1
    (folder / name).write_bytes(content)
    assert f"{name} is damaged" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name}: No such file or directory" in refusal(folder)


def test_any_changed_byte_of_the_manifest_is_found(folder: Path) -> None:
    content = (folder / MANIFEST).read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (folder / MANIFEST).write_bytes(damaged)
        if content[position : position + 1].isspace() and damaged[position : position + 1].isspace():
            continue
        assert f"{MANIFEST} is damaged" in refusal(folder)


def test_an_edited_manifest_is_found(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["cuts"]["p90"]["thresholds"].update(praise=0.1), seal=False)
    assert f"{MANIFEST} is damaged (its hash is not the recorded one)" in refusal(folder)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    assert "is this a bundle?" in refusal(tmp_path / "nowhere")
    assert "is this a bundle?" in refusal(tmp_path)
    (tmp_path / "file").write_text("")
    assert "is this a bundle?" in refusal(tmp_path / "file")


@pytest.mark.parametrize("content", ["", "[", "[]", "null", "\ufeff{}", "[" * 100_000, '{"sha256": ""}'])
def test_a_manifest_that_is_no_manifest_is_refused(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content, encoding="utf-8")
    assert f"{MANIFEST} is damaged" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda manifest: manifest.update(format=3), "format 3; this firstreply reads 1 and 2"),
        (lambda manifest: manifest.pop("format"), "format None; this firstreply reads 1 and 2"),
        (lambda manifest: manifest.update(normaliser=99), "trained with normaliser 99, this firstreply has"),
        (lambda manifest: manifest.update(intents=list(reversed(INTENTS))), "has the intents"),
        (lambda manifest: manifest["files"].pop(MODEL), f"records no hash for {MODEL}"),
        (lambda manifest: manifest.update(files=list(FILES)), "records no hash for MODEL_CARD.md, brands.toml"),
        (lambda manifest: manifest.pop("files"), "records no hash for"),
        (lambda manifest: manifest.pop("name"), "lacks or garbles 'name'"),
        (lambda manifest: manifest["cuts"].pop("p80"), "lacks or garbles 'p80'"),
        (lambda manifest: manifest["cuts"]["p80"]["thresholds"].pop("praise"), "lacks or garbles 'praise'"),
        (lambda manifest: manifest["calibration"]["scale"].update(praise=None), "lacks or garbles"),
        (lambda manifest: manifest["calibration"]["scale"].update(praise=math.nan), "lacks or garbles"),
        (lambda manifest: manifest["cuts"]["p80"]["thresholds"].update(praise="high"), "lacks or garbles"),
        (lambda manifest: manifest["cuts"].update(p80={"thresholds": [0.5] * 5}), "lacks or garbles"),
        (
            lambda manifest: manifest["cuts"]["p80"].update(threshold_interval={"praise": [0.6, 0.4]}),
            "lacks or garbles",
        ),
        (lambda manifest: manifest["cuts"]["p80"].update(threshold_interval={"praise": [0.6]}), "lacks or garbles"),
        (lambda manifest: manifest.update(max_tokens="many"), "lacks or garbles"),
    ],
)
def test_another_version_and_what_its_author_left_out_are_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    edit(folder, change)
    assert problem in refusal(folder)


def test_calibration_is_platt_scaling() -> None:
    calibration = Calibration((2.0,), (-1.0,))
    assert calibration.log_odds((1.5,)) == (2.0,)
    assert probability(2.0) == pytest.approx(0.8807970779778823, abs=1e-15)
    assert probability(-2.0) == pytest.approx(1 - 0.8807970779778823, abs=1e-15)
    assert [probability(value) for value in (0.0, 1e4, -1e4)] == [0.5, 1.0, 0.0]
