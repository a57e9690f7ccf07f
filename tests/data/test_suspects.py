"""Suspect labels: planted errors are found, and what is written is the same but for them."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import numpy as np
import pytest

from data.files import read_labelled
from data.schema import INTENTS, FileError, LabelledMention
from data.suspects import SuspectsJob, find_suspects, suspects

PLANTED = {3, 17, 42}


def planted() -> tuple[list[LabelledMention], list[list[float]]]:
    """Mentions whose complaint label is what the probabilities say, but for three; praise has too few labels."""
    random = Random(1)
    mentions, probabilities = [], []
    for number in range(120):
        truth = number % 3 == 0
        likely = random.uniform(0.6, 0.97) if truth else random.uniform(0.03, 0.4)
        if number in PLANTED:
            likely = 0.99 - number / 10_000 if truth else 0.01
        mentions.append(
            LabelledMention(
                id=str(number),
                text=f"post {number}",
                source="own" if number % 2 else "",
                labels=(None, None, 1 if truth != (number in PLANTED) else 0, 1 if number < 5 else None, None),
            )
        )
        probabilities.append([0.5, 0.5, likely, 0.01, 0.5])
    return mentions, probabilities


def test_planted_errors_are_the_suspects_and_the_most_glaring_comes_first() -> None:
    mentions, probabilities = planted()
    labels = np.array([mention.labels for mention in mentions], dtype=np.float64)
    found = find_suspects(labels, np.array(probabilities))
    assert {suspect.row for suspect in found} == PLANTED
    assert {suspect.column for suspect in found} == {INTENTS.index("complaint")}
    doubt = [abs(mentions[one.row].labels[one.column] - one.probability) for one in found]  # type: ignore[operator]
    assert doubt == sorted(doubt, reverse=True)


def out_of_fold(path: Path) -> Path:
    mentions, probabilities = planted()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "source", *INTENTS, *(f"p_{intent}" for intent in INTENTS), "fold"])
        for mention, chances in zip(mentions, probabilities, strict=True):
            writer.writerow([mention.id, mention.text, mention.source, *mention.labels, *chances, 1])
    return path


def test_cleaned_file_lacks_the_suspect_labels_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = out_of_fold(tmp_path / "out-of-fold.csv")
    assert suspects(SuspectsJob(file, tmp_path / "clean.csv", show=1)) == 0
    printed = capsys.readouterr().out
    assert "2 of 60" in printed
    assert "1 of 60" in printed
    assert printed.count("complaint: labelled") == 1
    assert "120 mentions, 3 suspect labels emptied" in printed
    for before, after in zip(planted()[0], read_labelled(tmp_path / "clean.csv"), strict=True):
        assert after.labels == ((None, None, None, *before.labels[3:]) if int(before.id) in PLANTED else before.labels)


def test_what_is_no_out_of_fold_file_is_said(tmp_path: Path) -> None:
    file = out_of_fold(tmp_path / "out-of-fold.csv")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1].replace("0.01", "1.5")]))
    with pytest.raises(FileError, match="row 1: a probability is not from 0 to 1"):
        suspects(SuspectsJob(file))
    file.write_text("text,complaint\nhello,1\n")
    with pytest.raises(FileError, match="p_purchase"):
        suspects(SuspectsJob(file))
