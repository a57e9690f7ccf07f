"""Near-duplicates are found, other target brands are not duplicates, and the first one stays."""

from __future__ import annotations

import pytest

from data.duplicates import NEAR, comparable_text, drop_near_duplicates, drop_occurring
from data.schema import LabelledMention

LONG = "my order has not arrived for nine days and nobody at the shop answers any of my mails"


def mention(text: str, key: str = "shop") -> LabelledMention:
    return LabelledMention(text=text, brand_key=key)


@pytest.mark.parametrize(
    "copy",
    [
        f"RT @someone: {LONG.upper()}",
        f"@Shop {LONG} https://t.co/abc",
        LONG.replace("nine", "nine  "),
        LONG.replace("and nobody", "&amp; nobody").replace("&amp;", "and"),
        LONG + " 2",
        LONG.replace("mails", "letters"),
    ],
)
def test_copies_are_dropped_and_the_first_stays(copy: str) -> None:
    first, second = mention(LONG), mention(copy)
    kept, dropped = drop_near_duplicates([first, mention("quite another thing"), second])
    assert kept == [first, mention("quite another thing")]
    assert (dropped[0].mention, dropped[0].kept) == (second, first)
    assert NEAR <= dropped[0].similarity <= 1


def test_another_target_brand_is_no_duplicate_but_a_leak() -> None:
    first, other = mention(LONG, "shop"), mention(LONG, "rival")
    assert drop_near_duplicates([first, other]) == ([first, other], [])
    kept, dropped = drop_occurring([other, mention("quite another thing")], [first])
    assert kept == [mention("quite another thing")]
    assert dropped[0].kept == first


def test_similarity_is_the_exact_jaccard_similarity_of_word_triples() -> None:
    first, second = mention("a b c d e f g h i j k l"), mention("a b c d e f g h i j k m")
    (dropped,) = drop_near_duplicates([first, second])[1]
    assert dropped.similarity == 9 / 11
    changed_inside = mention("a b c d e m g h i j k l")
    assert drop_near_duplicates([first, changed_inside])[1] == []


def test_texts_of_links_and_handles_stand_for_themselves() -> None:
    assert comparable_text("@shop https://a.example") == "@shop https://a.example"
    two = [mention("@shop https://a.example"), mention("@shop https://b.example")]
    assert drop_near_duplicates(two) == (two, [])
