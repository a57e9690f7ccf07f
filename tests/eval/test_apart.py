"""What bundles are tried with stays apart from what they are trained with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data.files import read_labelled
from eval.behaviour import load_tests

ROOT = Path(__file__).parents[2]
WRITTEN = (*(ROOT / "data" / "written").glob("*.csv"), ROOT / "data" / "sample" / "train.csv")


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.stem)
def test_no_written_mention_shares_most_words_with_a_behavioural_case(file: Path) -> None:
    cases = {words(text) for test in load_tests() for case in test.cases for text, _ in case.posts if len(text) > 15}
    for text in {mention.text for mention in read_labelled(file)}:
        its = words(text)
        assert max(len(its & case) / len(its | case) for case in cases) < 0.6, text
