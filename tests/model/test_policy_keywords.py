"""Keyword rules: whole words in any text, against a search by regular expression, and in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.policy import Policy
from model.policy_keywords import KeywordRule, Keywords

RULES = Keywords(
    (
        KeywordRule("order", ("order now", "buy")),
        KeywordRule("law", ("small claims", "see you in court", "lawyer")),
        KeywordRule("leave", ("now leaving", "can't stay")),
        KeywordRule("alarm", ("🔥", "café")),
    )
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("BUY", {"order": ["buy"]}),
        ("buying", {}),
        ("#buy!!", {"order": ["buy"]}),
        ("@buy https://shop.example/buy", {}),
        ("order\n  NOW", {"order": ["order now"]}),
        ("lost my order. Now what", {}),
        ("order-now", {"order": ["order now"]}),
        ("order now leaving", {"order": ["order now"], "leave": ["now leaving"]}),
        ("my lawyer's here", {"law": ["lawyer"]}),
        ("see you in small claims court", {"law": ["small claims"]}),
        ("buy, buy, order now", {"order": ["buy", "order now"]}),
        ("I can\u2019t stay", {"leave": ["can't stay"]}),
        ("my phone 🔥🔥", {"alarm": ["🔥"]}),
        ("CAFÉ", {"alarm": ["café"]}),
        ("cafe", {}),
        ("", {}),
    ],
)
def test_words_found(text: str, found: dict[str, list[str]]) -> None:
    assert RULES.found(text) == found


def test_an_accent_of_its_own_belongs_to_its_word() -> None:
    assert Keywords((KeywordRule("cafe", ("cafe",)),)).found("cafe\u0301") == {}


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "ab", "a b", "b a b", ".", " ", "-", "é", "A"]), max_size=30))
def test_the_same_words_as_a_search_for_each(pieces: list[str]) -> None:
    text = " ".join(pieces)
    words = ("a", "ab", "a b", "b a b", "a b a")
    patterns = {word: r"(?<!\w)" + word.replace(" ", r"[\s-]+") + r"(?!\w)" for word in words}
    by_search = {word for word, pattern in patterns.items() if re.search(pattern, text, re.IGNORECASE)}
    assert set(Keywords((KeywordRule("rule", words),)).found(text).get("rule", ())) == by_search


@pytest.mark.parametrize("piece", ["a", "see you in ", "'", "@", "http", "\u0301", "order ", "!"])
def test_the_longest_text_takes_no_time_to_speak_of(piece: str) -> None:
    text = piece * (100_000 // len(piece.encode()))
    keywords = Policy.load(None).keywords
    start = time.process_time()
    keywords.found(text)
    assert time.process_time() - start < 2  # some 50 ms; anything quadratic takes minutes
