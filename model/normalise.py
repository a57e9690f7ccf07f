"""Text and target brand → the words that the encoder reads, the target masked; the same for training and serving.

Leaves tokenising to ``model.encoding``. What happens, in this order, until nothing changes any more:

1. HTML entities are unescaped; characters are brought to Unicode NFKC; control and format characters go.
2. URLs and e-mail addresses become ``[URL]``.
3. Emoji become their Unicode names (an uncased WordPiece vocabulary has almost none of them).
4. Letters repeated three times or more become two, punctuation repeated four times or more three.
5. Hashtags are split at camel case (and at the target's name); handles and names of the target become ``[TARGET]``,
   other handles and other brands of the brands file ``[OTHER]``.
6. A target that is given but nowhere in the text is put in front.

A name is found by its letters and digits alone, so "Wells Fargo", "wells-fargo", "WELLSFARGO" and "WellsFargo's" are
one. A brand whose name is a common word is masked as *another* brand only where it has a capital letter and does not
open the text; as the *target* it is masked in any case. The brands file lists phrases ("apple pie") that never name it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from data.schema import brand_key
from model.brands import PLACEHOLDER, Brands, Target

NORMALISER_VERSION = 1
"""Raised whenever the same text would be read differently; bundles carry it and another version is refused."""

TARGET, OTHER, URL = "[TARGET]", "[OTHER]", "[URL]"
MASKS = (TARGET, OTHER, URL)
_NOTHING_READABLE = "..."
_LONGEST_NAME = 5
"""Words of the longest brand name or exception phrase that is looked for."""
_PASSES = 6
"""A second pass confirms the first; more are for entities that unescape to entities and the like."""

_LONGEST_CLUSTER = 31
"""A character and its combining marks: the stream-safe limit of Unicode's UAX #15, so that no text is slow to read."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_TOKEN = re.compile(
    r"""(?P<mask>\[(?:TARGET|OTHER|URL)\])
      | (?P<url>(?:https?://|www\.|pic\.twitter\.com/|t\.co/|bit\.ly/)\S+
              | [\w.+-]{1,64}+@[\w-]{1,255}+\.[\w-]{1,63}+(?:\.[\w-]{1,63}+){0,4})
      | (?P<placeholder>__[a-z]+__)
      | @(?P<handle>\w+)
      | [#](?P<hashtag>\w+)
      | (?P<word>\w+(?:['’]\w+)*)
      | (?P<other>[^\w\s])
    """,
    re.VERBOSE,
)
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")
_LETTER_RUN = re.compile(r"([^\W\d_])\1{2,}")
_POSSESSIVE = re.compile(r"['’][sS]$")
_CONNECTORS = frozenset("-&.'’")
"""Marks that may stand inside a name ("AT&T", "wells-fargo")."""
_SHORTEST_SPACED_NAME = 5
"""Letters of the shortest name that is also found with spaces in it: "us air" is one, "at t" is not."""


class Word(NamedTuple):
    """A piece of the normalised text and where it comes from.

    ``start`` and ``end`` are offsets in the source text; a target put in front has the span (0, 0). ``glued`` says
    that no space stands before it.
    """

    text: str
    start: int
    end: int
    glued: bool = False


@dataclass(frozen=True, slots=True)
class NormalisedText:
    """What the encoder reads, and what it was read for."""

    words: tuple[Word, ...]
    target: str | None
    """The target brand as it was given, else the handle taken for it, else None."""

    @property
    def text(self) -> str:
        return join(self.words)


def normalise(text: str, brand: str | None, brands: Brands) -> NormalisedText:
    """Read ``text`` as a mention of ``brand``.

    With no brand: the first handle that the brands file lists, else the first handle, else no target. The result is
    never empty, its text is a fixed point (normalising it again changes nothing), and every word has its span.
    """
    given = brand.strip() if brand else ""
    target_name = given or _first_handle(text, brands)
    target = brands.target(target_name) if target_name else None
    words = _one_pass(text, target, brands)
    for _ in range(_PASSES):
        again = _one_pass(join(words), target, brands)
        if [word.text for word in again] == [word.text for word in words] or join(again) == join(words):
            break
        words = _trace_back(again, words)
    return NormalisedText(tuple(words), target_name or None)


def _one_pass(text: str, target: Target | None, brands: Brands) -> list[Word]:
    clean, offsets = _clean(text)
    words = _mask_names(_split(clean, target, brands), target, brands)
    if target is not None and not any(word.text == TARGET for word in words):
        words.insert(0, Word(TARGET, 0, 0))
    if not words:
        words = [Word(_NOTHING_READABLE, 0, len(clean))]
    words = _collapse(words)
    if offsets is None:
        return words
    return [
        Word(w.text, offsets[w.start][0], offsets[w.end - 1][1], w.glued) if w.end > w.start else w for w in words
    ]


def _clean(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """Characters after step 1, and for each its span in ``text`` (None: the text is unchanged)."""
    if text.isascii() and "&" not in text and text.isprintable():
        return text, None
    pieces: list[str] = []
    spans: list[tuple[int, int]] = []

    def add(piece: str, start: int, end: int) -> None:
        for char in piece:
            kind = unicodedata.category(char)
            if kind in ("Cf", "Cn", "Co", "Cs") or "\ufe00" <= char <= "\ufe0f":
                continue
            pieces.append(" " if kind in ("Cc", "Zl", "Zp", "Zs") else char)
            spans.append((start, end))

    position = 0
    while position < len(text):
        entity = _ENTITY.match(text, position) if text[position] == "&" else None
        if entity is not None:
            add(unicodedata.normalize("NFKC", html.unescape(entity[0])), position, entity.end())
            position = entity.end()
            continue
        end = position + 1
        if text[position] >= "\u0080" or (end < len(text) and text[end] >= "\u0300"):
            while end < min(len(text), position + _LONGEST_CLUSTER) and unicodedata.combining(text[end]):
                end += 1
        add(unicodedata.normalize("NFKC", text[position:end]), position, end)
        position = end
    return "".join(pieces), spans


def _split(text: str, target: Target | None, brands: Brands) -> list[Word]:
    """Steps 2 to 5 but for names in running text: words, masks and punctuation with their spans in ``text``."""
    words: list[Word] = []
    previous_end = -1
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        glued = start == previous_end
        previous_end = end
        kind, value = match.lastgroup, match[0]
        if kind == "mask":
            words.append(Word(value, start, end))
        elif kind == "url":
            words.append(Word(URL, start, end))
        elif kind == "placeholder":
            words.append(Word(TARGET if value == PLACEHOLDER else OTHER, start, end))
        elif kind == "handle":
            owned = target is not None and (
                target.owns_handle(match["handle"]) or brands.handles.get(brand_key(match["handle"])) == target.key
            )
            words.append(Word(TARGET if owned else OTHER, start, end))
        elif kind == "hashtag":
            words.extend(_hashtag(match["hashtag"], start + 1, target))
        elif kind == "word":
            words.append(Word(value, start, end, glued))
        else:
            words.extend(_symbol(value, start, glued))
    return words


def _hashtag(tag: str, start: int, target: Target | None) -> list[Word]:
    """A hashtag's words: cut at the target's name where it begins or ends with it, at camel case elsewhere."""
    folded = tag.casefold()
    if target is not None and len(folded) == len(tag):
        for surface in sorted(target.surfaces, key=len, reverse=True):
            if len(surface) >= 4 and folded.startswith(surface):
                cut = len(surface)
                return [Word(TARGET, start, start + cut), *_camel(tag[cut:], start + cut)]
            if len(surface) >= 4 and folded.endswith(surface):
                cut = len(tag) - len(surface)
                return [*_camel(tag[:cut], start), Word(TARGET, start + cut, start + len(tag))]
    return _camel(tag, start)


def _camel(tag: str, start: int) -> list[Word]:
    return [Word(part[0], start + part.start(), start + part.end()) for part in _CAMEL.finditer(tag)]


def _symbol(char: str, start: int, glued: bool) -> list[Word]:
    if char >= "\u2190" and unicodedata.category(char) in ("So", "Sk"):
        name = _emoji_name(char)
        return [Word(name, start, start + 1)] if name else []
    # Brackets stand apart, so that no text can spell a special token of the tokenizer ("[SEP]", "</s>").
    return [Word(char, start, start + 1, glued and char not in "[]<>|")]


@lru_cache(maxsize=2048)
def _emoji_name(char: str) -> str:
    name = unicodedata.name(char, "").lower()
    if not name or "regional indicator" in name or "modifier" in name:
        return ""
    return " ".join(re.findall(r"[a-z]+", name))


def _mask_names(words: Sequence[Word], target: Target | None, brands: Brands) -> list[Word]:
    """Names in running text, longest first from the left."""
    surfaces = [_surface(word) for word in words]
    masked: list[Word] = []
    position = 0
    while position < len(words):
        length, mask = _name_at(position, words, surfaces, target, brands)
        named = words[position : position + max(length, 1)]
        if mask is None:
            masked.extend(named)
        else:
            tail = _POSSESSIVE.search(named[-1].text)
            end = named[-1].end - (len(tail[0]) if tail else 0)
            masked.append(Word(mask, named[0].start, end))
            if tail:
                masked.append(Word("'s", end, named[-1].end))
        position += len(named)
    return masked


def _name_at(
    position: int, words: Sequence[Word], surfaces: Sequence[str], target: Target | None, brands: Brands
) -> tuple[int, str | None]:
    """Words of the longest name that begins at ``position`` (0: none) and its mask (None: a phrase to leave alone)."""
    found: tuple[int, str | None] = (0, None)
    if not surfaces[position]:
        return found
    run = ""
    spaced = connected = False
    for length, surface in enumerate(surfaces[position : position + 2 * _LONGEST_NAME], start=1):
        word = words[position + length - 1]
        if not surface:
            if word.text not in _CONNECTORS or not (word.glued or word.text == "&"):
                break
            connected = True
            continue
        spaced |= bool(run) and not (connected and word.glued)
        connected = False
        run += surface
        if run not in brands.prefixes and (target is None or run not in target.prefixes):
            break
        if spaced and run in brands.exceptions:
            found = (length, None)
        elif spaced and len(run) < _SHORTEST_SPACED_NAME:
            continue
        elif target is not None and (run in target.surfaces or brands.surfaces.get(run) == target.key):
            found = (length, TARGET)
        elif run in brands.surfaces:
            opens = position == 0 or not word.text[:1].isupper()
            if not (brands.is_common_word(brands.surfaces[run]) and opens):
                found = (length, OTHER)
    return found


def _surface(word: Word) -> str:
    """What a word contributes to a name; "" where it cannot be part of one."""
    if word.text in MASKS or not word.text[:1].isalnum() or " " in word.text:
        return ""
    return brand_key(_POSSESSIVE.sub("", word.text))


def _collapse(words: Sequence[Word]) -> list[Word]:
    """Runs cut short: letters to two, the same mask or emoji to one, the same punctuation mark to three."""
    kept: list[Word] = []
    run = 1
    for word in words:
        text = word.text if word.text in MASKS else _LETTER_RUN.sub(r"\1\1", word.text)
        run = run + 1 if kept and kept[-1].text == text else 1
        longest = 1 if text in MASKS or " " in text else 3
        if run > longest and not text.isalnum():
            kept[-1] = Word(text, kept[-1].start, word.end, kept[-1].glued)
        else:
            kept.append(Word(text, word.start, word.end, word.glued))
    return kept


def _leads(words: Sequence[Word]) -> list[int]:
    """Spaces before each word: none at the start and where it is glued to a word that is no mask."""
    leads = [0] * len(words)
    for index in range(1, len(words)):
        leads[index] = int(not words[index].glued or words[index - 1].text in MASKS)
    return leads


def join(words: Sequence[Word]) -> str:
    """The text that words make: a space between them, except where one is glued to a word that is no mask."""
    return "".join(" " * lead + word.text for lead, word in zip(_leads(words), words, strict=True))


def _trace_back(later: Sequence[Word], earlier: Sequence[Word]) -> list[Word]:
    """Words of a later pass with their spans in the source of the earlier one."""
    spans: list[tuple[int, int]] = []
    for lead, word in zip(_leads(earlier), earlier, strict=True):
        spans.extend([(word.start, word.end)] * (lead + len(word.text)))
    return [Word(w.text, spans[w.start][0], spans[w.end - 1][1], w.glued) if w.end > w.start else w for w in later]


def _first_handle(text: str, brands: Brands) -> str:
    handles = [match["handle"] for match in _TOKEN.finditer(text) if match.lastgroup == "handle"]
    known = [handle for handle in handles if brand_key(handle) in brands.handles]
    return next(iter(known or handles), "")
