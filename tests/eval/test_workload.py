"""Mentions that speed is measured on have the lengths of real ones, and are the same in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.schema import FileError, Mention
from eval.workload import WORD_QUANTILES, real_length, resampled, sample_mentions

_SHORT = [Mention(text=f"@Brand{number} " + "word " * number, brand=(f"Brand{number}", "Other")) for number in range(9)]


@pytest.mark.parametrize("count", [10_000, 640])
def test_word_counts_follow_the_quantiles(count: int) -> None:
    lengths = [len(mention.text.split()) for mention in real_length(_SHORT, count)]
    measured = np.quantile(lengths, list(WORD_QUANTILES))
    assert np.abs(measured - list(WORD_QUANTILES.values())).max() <= 1
    assert np.mean(lengths) == pytest.approx(21.2, abs=0.2)


def test_they_keep_their_brand_have_one_target_and_are_the_same_again() -> None:
    made = real_length(_SHORT, 50)
    assert made == real_length(_SHORT, 50)
    assert [mention.id for mention in made] == [str(number) for number in range(1, 51)]
    assert all(mention.text.startswith(f"@{mention.brand[0]}") and len(mention.brand) == 1 for mention in made)


def test_a_file_is_resampled_evenly_and_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mentions.csv"
    path.write_text("text,brand\n" + "".join(f"mention {row},Acme\n" for row in range(10)), encoding="utf-8")
    texts = [mention.text for mention in resampled(path, 25)]
    assert len(texts) == 25
    assert {texts.count(f"mention {row}") for row in range(10)} == {2, 3}
    path.write_text("text\n", encoding="utf-8")
    with pytest.raises(FileError, match="no mention"):
        resampled(path, 5)


def test_an_empty_sample_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--data"):
        sample_mentions(tmp_path)
