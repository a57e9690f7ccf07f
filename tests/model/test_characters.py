"""Reading characters: entities, NFKC, what cannot be seen, and where each came from."""

from __future__ import annotations

import html
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.characters import Characters, readable

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


def sources(text: str) -> list[tuple[str, str]]:
    """Each character read, with the piece of the source it came from."""
    read = readable(text)
    return [(char, text[a:b]) for char, a, b in zip(read.text, read.starts, read.ends, strict=True)]


def test_plain_text_is_read_as_it_stands() -> None:
    text = "It’s a “plain” text: 100% naïve – isn't it?"
    read = readable(text)
    assert read.text is text
    assert sources(text) == [(char, char) for char in text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a&amp;b", "a&b"),
        ("&amp;amp;amp;lt;", "<"),
        ("&#38;lt; &#x26;gt;", "< >"),
        ("&ampamp;", "&"),
        ("&am&#8203;p;", "&"),
        ("&nosuch; &; &amp &#; AT&T;", "&nosuch; &; &amp &#; AT&T;"),
        ("&amp&semi;", "&"),
        ("a&nbsp;b", "a b"),
        ("&#0;&#55296;", "\ufffd\ufffd"),
        ("&frac12;", "1\u20442"),
        ("\u200bx\u00ady\ufe0f\ud800", "xy"),
        ("a\tb\nc\x00d\u2028e\u3000f", "a b c d e f"),
        ("ＡＢＣ ﬁ ™ …", "ABC fi TM ..."),
        ("cafe\u0301", "café"),
        ("&\u200bamp;", "&"),
    ],
)
def test_reading(text: str, expected: str) -> None:
    assert readable(text).text == expected


def test_every_character_keeps_its_source() -> None:
    assert sources("x&amp;lt;ﬁe\u0301\u200b!") == [
        ("x", "x"),
        ("<", "&amp;lt;"),
        ("f", "ﬁ"),
        ("i", "ﬁ"),
        ("é", "e\u0301"),
        ("!", "!"),
    ]


def test_marks_beyond_what_unicode_calls_stream_safe_are_dropped() -> None:
    read = readable("x" + "\u0323" * 1000 + "y")
    assert read.text == "x\u0323"[:1].replace("x", unicodedata.normalize("NFC", "x\u0323")) + "\u0323" * 29 + "y"
    assert (read.starts[-1], read.ends[-2]) == (1001, 1001)


@settings(deadline=None)
@given(ANY_TEXT)
def test_what_is_read_is_printable_and_within_the_source(text: str) -> None:
    read = readable(text)
    assert read.text.isprintable()
    assert len(read.text) == len(read.starts) == len(read.ends)
    assert all(0 <= start < end <= len(text) for start, end in zip(read.starts, read.ends, strict=True))
    assert list(read.starts) == sorted(read.starts)


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&")))
def test_printable_ascii_without_an_ampersand_stays(text: str) -> None:
    assert readable(text) == Characters(text, range(len(text)), range(1, len(text) + 1))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["&amp;", "&lt;", "&", "amp;", "&#38;", "lt;", "x", ";", "&quot;", "#38;"]), max_size=12)
)
def test_entities_go_as_often_as_the_standard_library_finds_one(pieces: list[str]) -> None:
    # The standard library also takes entities without a semicolon; apart from those it is the oracle, run to its end.
    text = "".join(pieces)
    expected = text
    while (once := html.unescape(expected)) != expected:
        expected = once
    assert html.unescape(readable(text).text) == html.unescape(expected)
