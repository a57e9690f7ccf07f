"""A post's characters as they are read: entities unescaped, Unicode NFKC, no control or format characters.

Leaves words to ``model.normalise``.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_LONGEST_CLUSTER = 31
"""A character and its combining marks, more of which are dropped: the stream-safe limit of Unicode's UAX #15."""

_LONGEST_ENTITY = 34
_ENTITY_AT_END = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});\Z")
_TO_DROP = re.compile(rf"[\ufe00-\ufe0f]|[^\w\s]{{{_LONGEST_CLUSTER}}}")
"""What ``_composed`` may drop of printable characters; marks are among ``[^\\w\\s]``."""
_PRINTABLE = re.compile(r"[ -~]+")


@dataclass(frozen=True, slots=True)
class Characters:
    """Characters to read. The one at ``index`` comes from ``starts[index]:ends[index]`` of the source text."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def readable(text: str) -> Characters:
    """The characters of ``text``; spaces for control characters, no entity left, however deep it was escaped.

    Time and memory grow in proportion to the text, whatever is in it.
    """
    if text.isprintable() and (text.isascii() or _is_composed(text)):
        characters = Characters(text, range(len(text)), range(1, len(text) + 1))
    else:
        characters = _composed(text)
    return _unescaped(characters) if "&" in characters.text else characters


def _is_composed(text: str) -> bool:
    """Whether ``_composed`` would leave printable characters as they are."""
    return unicodedata.is_normalized("NFKC", text) and _TO_DROP.search(text) is None


def _composed(text: str) -> Characters:
    """NFKC of every character with its combining marks."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    while position < len(text):
        run = _PRINTABLE.match(text, position)
        end = run.end() if run else position + 1
        marked = end < len(text) and unicodedata.combining(text[end]) != 0
        if run and marked:
            end -= 1  # the last character belongs with its marks
        if run and end > position:
            pieces.append(text[position:end])
            starts.extend(range(position, end))
            ends.extend(range(position + 1, end + 1))
            position = end
            if not marked:
                continue
        end = position + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        piece = _legible(text[position]) if end == position + 1 else _read(text[position:end][:_LONGEST_CLUSTER])
        pieces.append(piece)
        starts.extend([position] * len(piece))
        ends.extend([end] * len(piece))
        position = end
    return Characters("".join(pieces), starts, ends)


def _unescaped(source: Characters) -> Characters:
    """HTML entities replaced, also those that come of replacing one ("&amp;lt;").

    Each semicolon is looked at once, with what stands before it by then: no ending of an entity goes unseen.
    """
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    while position < len(source.text):
        end = source.text.find(";", position) + 1 or len(source.text)
        chars.extend(source.text[position:end])
        starts.extend(source.starts[position:end])
        ends.extend(source.ends[position:end])
        position = end
        while entity := _ENTITY_AT_END.search("".join(chars[-_LONGEST_ENTITY:])):
            meaning = html.unescape(entity[0])
            if meaning == entity[0]:
                break
            first = len(chars) - len(entity[0])
            start, piece = starts[first], _read(meaning)
            chars[first:] = piece
            starts[first:] = [start] * len(piece)
            ends[first:] = [ends[-1]] * len(piece)
    return Characters("".join(chars), starts, ends)


@lru_cache(maxsize=4096)
def _legible(char: str) -> str:
    """``_read`` of one character, remembered."""
    return _read(char)


def _read(piece: str) -> str:
    """NFKC, less what cannot be seen; spaces for what separates."""
    chars = []
    for char in unicodedata.normalize("NFKC", piece):
        kind = unicodedata.category(char)
        if kind in ("Cf", "Cn", "Co", "Cs") or "\ufe00" <= char <= "\ufe0f":
            continue
        chars.append(" " if kind in ("Cc", "Zl", "Zp", "Zs") else char)
    return "".join(chars)
