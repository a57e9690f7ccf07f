"""Brands seen in training beside brands that were not."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from data.schema import INTENTS, FileError
from eval.held_out import held_out

CUT = dict.fromkeys(INTENTS, 0.5)


def _out_of_fold(path: Path, right: float, brands: int) -> Path:
    """Predictions of which a share is right, of 40 mentions of each brand."""
    random = np.random.default_rng(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "brand_key", *INTENTS, *(f"p_{intent}" for intent in INTENTS), "fold"])
        for row in range(40 * brands):
            truth = random.integers(0, 2, len(INTENTS))
            read = np.where(random.random(len(INTENTS)) < right, truth, 1 - truth)
            writer.writerow([row, f"post {row}", f"b{row % brands}", *truth, *(0.1 + 0.8 * read), row % 5])
    return path


def test_precision_falls_from_brands_seen_to_brands_unseen(tmp_path: Path) -> None:
    seen, unseen = _out_of_fold(tmp_path / "id.csv", 0.9, 12), _out_of_fold(tmp_path / "brand.csv", 0.7, 12)
    found = held_out(unseen, seen, CUT)
    assert found["files"] == [str(unseen), str(seen)]
    for part, right in (("seen", 0.9), ("unseen", 0.7)):
        assert (found[part]["mentions"], found[part]["brands"]) == (480, 12)
        for intent in INTENTS:
            spread = found[part]["intents"][intent]["precision_interval"]
            assert spread["low"] < spread["value"] == found[part]["intents"][intent]["precision"] < spread["high"]
            assert abs(spread["value"] - right) < 0.07
    gap = found["difference"]
    assert gap["low"] < gap["value"] < gap["high"] < 0
    assert held_out(unseen, None, CUT)["seen"] is None


def test_other_mentions_are_refused(tmp_path: Path) -> None:
    seen, unseen = _out_of_fold(tmp_path / "id.csv", 0.9, 12), _out_of_fold(tmp_path / "brand.csv", 0.7, 11)
    with pytest.raises(FileError, match="not the same mentions"):
        held_out(unseen, seen, CUT)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,text\n1,hello\n", encoding="utf-8")
    with pytest.raises(FileError, match="p_purchase"):
        held_out(path, None, CUT)
