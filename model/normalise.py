"""Text and target brand → the words that the encoder reads, the target masked; the same for training and serving.

Leaves tokenising to ``model.encoding``. What happens, in this order, until nothing changes any more:

1. Characters are read (``model.characters``): no HTML entities, Unicode NFKC, no control or format characters.
2. URLs and e-mail addresses become ``[URL]``.
3. Emoji become their Unicode names (an uncased WordPiece vocabulary has almost none of them).
4. Letters repeated three times or more become two, punctuation repeated four times or more three.
5. Hashtags are split at camel case (and at the target's name); handles and names of the target become ``[TARGET]``,
   other handles and other brands of the brands file ``[OTHER]``.
6. A target that is given but nowhere in the text is put in front.

A name is found by its letters and digits alone, so "Wells Fargo", "wells-fargo", "WELLSFARGO" and "WellsFargo's" are
one. A brand whose name is a common word is masked as *another* brand only where it has a capital letter and does not
open the text (after a target put in front it no longer does); as the *target* it is masked in any case. The brands file
lists phrases ("apple pie") that never name it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from data.schema import brand_key
from model.brands import LONGEST_PREFIX, PLACEHOLDER, Brands, Target
from model.characters import readable
from model.remembered import Remembered

NORMALISER_VERSION = 1
"""Raised whenever the same text would be read differently; bundles carry it and another version is refused."""

TARGET, OTHER, URL = "[TARGET]", "[OTHER]", "[URL]"
MASKS = (TARGET, OTHER, URL)
_NOTHING_READABLE = "..."
_NAME_WINDOW = 10
"""Words and connectors of the longest brand name or exception phrase that is looked for."""
_TAIL = "'s"
"""What is left of a masked name's possessive."""
_PASSES = 6
"""Most passes over the text; few need a second one, and a third only where it has been written to need one."""

_TOKEN = re.compile(
    r"""(?P<plain>[A-Za-z0-9]++(?=[ ,!?]|\Z))  # most words; none of the others can begin like this
      | (?P<mask>\[(?:TARGET|OTHER|URL)\])
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
_UNSETTLED = re.compile(
    r"""[^ -~\u00a1-\u00ac\u00ae-\u024f\u2010-\u2027\u20ac]  # may be dropped, become words or join its neighbours
      | [#]\w++(?:[^\w\s,!?;)"#.]|\.++\S)  # what follows will be glued to the hashtag's last word
    """,
    re.VERBOSE,
)
"""Where one pass may not be enough; what else there is, ``_one_pass`` meets on its way."""


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
        """The words as one string; normalising it again changes nothing."""
        return join(self.words)


def normalise(text: str, brand: str | None, brands: Brands) -> NormalisedText:
    """Read ``text`` as a mention of ``brand``.

    With no brand: the first handle that the brands file lists, else the first handle, else no target. The result is
    never empty, its text is a fixed point (normalising it again changes nothing), and every word has its span.
    """
    source = readable(text)
    target_name = (brand.strip() if brand else "") or _first_handle(source.text, brands)
    target = brands.target(target_name) if target_name else None
    words, settled = _one_pass(source.text, target, brands)
    if source.text is not text:
        words = _located(words, source.starts, source.ends)
    for _ in range(_PASSES):
        if settled:
            break
        joined = join(words)
        source = readable(joined)
        again, settled = _one_pass(source.text, target, brands)
        if join(again) == joined:
            break
        words = _trace_back(_located(again, source.starts, source.ends), words)
    return NormalisedText(tuple(words), target_name or None)


def named_brands(text: str, brands: Brands) -> dict[str, str]:
    """Brand key → how the text writes it, for every brand of the brands file that the text names."""
    source = readable(text).text
    words = _mask_names(_split(source, None, brands), None, brands)
    written = (source[word.start : word.end].lstrip("@") for word in words if word.text == OTHER)
    named = {brands.key(name): name for name in written}
    return {key: name for key, name in named.items() if key in brands.entries}


def _one_pass(text: str, target: Target | None, brands: Brands) -> tuple[list[Word], bool]:
    """Words of readable characters, and whether their text is surely a fixed point."""
    words = _mask_names(_split(text, target, brands), target, brands)
    texts = [word.text for word in words]
    in_front = target is not None and TARGET not in texts
    if in_front:
        words.insert(0, Word(TARGET, 0, 0))
    if not words:
        words = [Word(_NOTHING_READABLE, 0, len(text))]
    kept, cut = _collapse(words)
    # A word that opened the text no longer does; a tail becomes a mark and a word; a word cut short may be a name.
    settled = not (in_front or _TAIL in texts or cut or _UNSETTLED.search(text))
    return kept, settled


def _split(text: str, target: Target | None, brands: Brands) -> list[Word]:
    """Steps 2 to 5 but for names in running text: words, masks and punctuation with their spans in ``text``."""
    words: list[Word] = []
    previous_end = -1
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        kind = match.lastgroup
        glued = start == previous_end
        previous_end = end
        if kind in ("plain", "word"):
            words.append(Word(match[0], start, end, glued))
        elif kind == "other":
            words.extend(_symbol(match[0], start, glued))
        elif kind == "handle":
            words.append(Word(_handle_mask(match["handle"], target, brands), start, end))
        elif kind == "hashtag":
            words.extend(_hashtag(match["hashtag"], start + 1, target))
        elif kind == "url":
            words.append(Word(URL, start, end))
        elif kind == "placeholder":
            words.append(Word(TARGET if match[0] == PLACEHOLDER else OTHER, start, end))
        else:
            words.append(Word(match[0], start, end))
    return words


def _handle_mask(handle: str, target: Target | None, brands: Brands) -> str:
    if handle == PLACEHOLDER:
        return TARGET
    if target is None:
        return OTHER
    return TARGET if target.owns_handle(handle) or brands.handles.get(brand_key(handle)) == target.key else OTHER


def _hashtag(tag: str, start: int, target: Target | None) -> list[Word]:
    """A hashtag's words: cut at the target's name where it begins or ends with it, at camel case elsewhere."""
    folded = tag.casefold()
    if target is not None and len(folded) == len(tag):
        for name in target.hashtag_names:
            if folded.startswith(name):
                cut = len(name)
                return [Word(TARGET, start, start + cut), *_camel(tag[cut:], start + cut)]
            if folded.endswith(name):
                cut = len(tag) - len(name)
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
    surfaces = [_surfaces[word.text] for word in words]
    of_brands, of_target = brands.prefixes, target.prefixes if target else brands.prefixes
    masked: list[Word] = []
    position = 0
    while position < len(words):
        beginning = surfaces[position][:LONGEST_PREFIX]
        if beginning not in of_brands and beginning not in of_target:  # as nearly everywhere
            masked.append(words[position])
            position += 1
            continue
        name = _name_at(position, words, surfaces, target, brands)
        named = words[position : position + name.length]
        if name.mask is None:
            masked.extend(named)
        else:
            tail = None if name.possessive else _POSSESSIVE.search(named[-1].text)
            end = named[-1].end - (len(tail[0]) if tail else 0)
            masked.append(Word(name.mask, named[0].start, end))
            if tail:
                masked.append(Word(_TAIL, end, named[-1].end))
        position += name.length
    return masked


class _Name(NamedTuple):
    """``length`` words to mask, or to leave alone; ``possessive`` where the "'s" at their end is the name's own."""

    length: int
    mask: str | None
    possessive: bool = False


def _name_at(
    position: int, words: Sequence[Word], surfaces: Sequence[str], target: Target | None, brands: Brands
) -> _Name:
    """The longest name that begins at ``position``, else the phrase or the single word to leave alone."""
    found = _Name(1, None)
    run = ""
    spaced = connected = False
    for length, surface in enumerate(surfaces[position : position + _NAME_WINDOW], start=1):
        word = words[position + length - 1]
        if not surface:
            if word.text not in _CONNECTORS or not (word.glued or word.text == "&"):
                break
            connected = True
            continue
        spaced |= bool(run) and not (connected and word.glued)
        connected = False
        run, possessive = _extended(run, word.text, surface, target, brands)
        if run[:LONGEST_PREFIX] not in brands.prefixes and (
            target is None or run[:LONGEST_PREFIX] not in target.prefixes
        ):
            break
        if spaced and run in brands.exceptions:
            found = _Name(length, None)
        elif spaced and len(run) < _SHORTEST_SPACED_NAME:
            continue
        elif target is not None and (run in target.surfaces or brands.surfaces.get(run) == target.key):
            found = _Name(length, TARGET, possessive)
        elif run in brands.surfaces:
            opens = position == 0 or not word.text[:1].isupper()
            if not (brands.is_common_word(brands.surfaces[run]) and opens):
                found = _Name(length, OTHER, possessive)
    return found


def _extended(run: str, text: str, surface: str, target: Target | None, brands: Brands) -> tuple[str, bool]:
    """``run`` with one more word, and whether that word's "'s" is the name's own ("McDonald's") and belongs to it."""
    if "'" in text or "’" in text:
        whole = run + brand_key(text)
        if whole in brands.possessives or (target is not None and whole in target.possessives):
            return whole, True
    return run + surface, False


def _surface(text: str) -> str:
    """What a word contributes to a name; "" where it cannot be part of one."""
    if text in MASKS or not text[:1].isalnum() or " " in text:
        return ""
    return brand_key(_POSSESSIVE.sub("", text))


_surfaces = Remembered(_surface)
_shortened: Remembered[str] = Remembered(lambda text: _LETTER_RUN.sub(r"\1\1", text))


def _collapse(words: Sequence[Word]) -> tuple[list[Word], bool]:
    """Runs cut short: letters to two, the same mask or emoji to one, the same punctuation mark to three.

    The second value says whether anything but masks was cut.
    """
    kept: list[Word] = []
    cut = False
    previous, run = "", 1
    for word in words:
        text = _shortened[word.text]
        run = run + 1 if text == previous else 1
        previous = text
        if run > 1 and not text.isalnum() and run > (1 if text in MASKS or " " in text else 3):
            kept[-1] = kept[-1]._replace(end=word.end)
            cut |= text not in MASKS
        elif text != word.text:
            kept.append(word._replace(text=text))
            cut = True
        else:
            kept.append(word)
    return kept, cut


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
    starts: list[int] = []
    ends: list[int] = []
    for lead, word in zip(_leads(earlier), earlier, strict=True):
        starts.extend([word.start] * (lead + len(word.text)))
        ends.extend([word.end] * (lead + len(word.text)))
    return _located(later, starts, ends)


def _located(words: Sequence[Word], starts: Sequence[int], ends: Sequence[int]) -> list[Word]:
    """Words of a text with their spans in what its characters came from."""
    return [w._replace(start=starts[w.start], end=ends[w.end - 1]) if w.end > w.start else w for w in words]


def _first_handle(text: str, brands: Brands) -> str:
    handles = [match["handle"] for match in _TOKEN.finditer(text) if match.lastgroup == "handle"]
    known = [handle for handle in handles if brand_key(handle) in brands.handles]
    return next(iter(known or handles), "")
