"""The cleaned text that our labels go by, so that they can be published without it and find it again.

Leaves out what the model reads: brands are not masked here (``model``).
"""

from __future__ import annotations

import hashlib
import html
import unicodedata

HASH_DIGITS = 16
"""Hex digits of a text hash: 64 bits, so that chance matches do not happen among millions of posts."""


def clean_text(text: str) -> str:
    """The text as people see it: HTML entities resolved, Unicode NFC, one space between words, none at the ends.

    Copies of a post that went through different exports agree after this; cleaning twice changes nothing.
    """
    while (plain := html.unescape(text)) != text:  # "&amp;amp;" was escaped twice
        text = plain
    return " ".join(unicodedata.normalize("NFC", text).split())


def text_hash(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of the cleaned text."""
    return hashlib.sha256(clean_text(text).encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
