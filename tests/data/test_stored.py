"""Mentions in a temporary file: what is read again is what was put in, and memory does not hold it."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import pytest

from data.schema import Author, LabelledMention
from data.stored import StoredMentions

MENTIONS = [
    LabelledMention(id="7", text="half a pair \ud83d and\nlines", labels=(None, 0, 1, 0, None)),
    LabelledMention(
        id="8@other", text="é" * 300, brand=("A|B", "[C"), channel="x", created_at=datetime(2026, 3, 9, 8, tzinfo=UTC),
        author=Author(followers=3, satisfaction=0.5), brand_key="ab", source="own", stratum="natural",
    ),
]  # fmt: skip


def test_mentions_come_back_as_they_were() -> None:
    stored = StoredMentions()
    for mention in MENTIONS:
        stored.append(mention)
    assert list(stored) == MENTIONS
    assert (stored[-1], stored[0], stored[0:1]) == (MENTIONS[1], MENTIONS[0], MENTIONS[:1])
    stored.append(MENTIONS[0])  # after reading, which moves in the file
    assert list(stored) == [*MENTIONS, MENTIONS[0]]
    with pytest.raises(IndexError):
        stored[3]


def test_memory_holds_places_alone() -> None:
    stored = StoredMentions()
    tracemalloc.start()
    for _ in range(2_000):
        stored.append(MENTIONS[1])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2_000 * 50
