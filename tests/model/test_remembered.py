"""Remembered answers: asked for once, forgotten in time, and not kept for long words."""

from __future__ import annotations

import pytest

from model import remembered
from model.remembered import Remembered


def test_a_word_is_asked_for_once_and_a_long_one_each_time() -> None:
    asked: list[str] = []

    def length(word: str) -> int:
        asked.append(word)
        return len(word)

    lengths = Remembered(length)
    long = "x" * 41
    assert [lengths["late"], lengths["late"], lengths[long], lengths[long]] == [4, 4, 41, 41]
    assert asked == ["late", long, long]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST", 10)
    upper = Remembered(str.upper)
    assert [upper[f"word {number}"] for number in range(35)] == [f"WORD {number}" for number in range(35)]
    assert len(upper) <= 10
