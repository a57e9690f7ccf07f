"""Changes to a post that leave what it asks as it is, for the invariance tests of ``eval.behaviour``.

Each takes a text, its target brand and a source of random numbers, and gives the changed text and its target. The brand
is written in the text as it is given, and stays readable as a brand whatever else changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

Post = tuple[str, str]
"""A text and its target brand."""
Perturbation = Callable[[str, str, Random], Post]

_OTHER_BRANDS = ("Trundlewick", "ozzari", "PELTHAMS", "Kivuu24", "Turnip", "McSorrel", "Hethe_Way", "Ix")
_EMOJI = ("📱", "📍", "☕", "🌧", "👀", "🗓")
_LINKS = ("https://t.co/x7Gq2LpRzA", "www.example.com/s/81403", "https://example.org/p?id=4&s=20")
_HANDLES = ("@dana_west", "@mk1987", "@oldtownrunner", "@PriyaReads")
_HASHTAGS = ("#MondayMorning", "#tbt", "#London", "#commute", "#WeekendMood")

_WORD = re.compile(r"(?<![@#])\b[A-Za-z]{4,}\b")
"""A word that is long enough to be read with a slip in it; handles and hashtags are left alone."""


def _swapped(text: str, brand: str, random: Random) -> Post:
    other = random.choice(_OTHER_BRANDS)
    return text.replace(brand, other), other


def _typo(text: str, brand: str, random: Random) -> Post:
    """One slip inside one word: two letters change places, one is left out, or one is struck twice."""
    word = random.choice([match for match in _WORD.finditer(text) if match[0] != brand])
    at = word.start() + random.randrange(1, len(word[0]) - 1)
    pair = text[at : at + 2]
    slips = [slip for slip in (pair[::-1], pair[1], pair[0] + pair) if slip != pair]
    return text[:at] + random.choice(slips) + text[at + 2 :], brand


def _behind(additions: tuple[str, ...]) -> Perturbation:
    return lambda text, brand, random: (f"{text} {random.choice(additions)}", brand)


PERTURBATIONS: Mapping[str, Perturbation] = {
    "brand swapped": _swapped,
    "typo": _typo,
    "lower case": lambda text, brand, _: (text.lower(), brand),
    "upper case": lambda text, brand, _: (text.upper(), brand),
    "emoji added": _behind(_EMOJI),
    "link added": _behind(_LINKS),
    "handle put in front": lambda text, brand, random: (f"{random.choice(_HANDLES)} {text}", brand),
    "hashtag added": _behind(_HASHTAGS),
}


def perturbed(name: str, text: str, brand: str) -> Post:
    """``text`` changed by the perturbation of that name; always the same way."""
    return PERTURBATIONS[name](text, brand, Random(f"{name}: {text}"))
