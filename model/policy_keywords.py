"""Keyword rules of a policy: which rules' words stand in a text, in one pass whatever the number of rules.

Leaves out points (``model.policy``) and the checks of a policy file (``model.policy_file``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Links and handles fall to the first two branches and come out as "", which no phrase contains. Combining accents
# belong to their word, so that "cafe" is not found in a decomposed "café". No branch can backtrack: linear time.
_TOKEN = re.compile(r"https?://\S+|@\w+|([\w\u0300-\u036f]+|[^\w\s'\u2019\-])")


def tokens(text: str) -> list[str]:
    """The words and signs of a text, casefolded; spaces, hyphens and apostrophes only part words.

    A link or a handle is the empty string.
    """
    return _TOKEN.findall(text.casefold())


@dataclass(frozen=True)
class KeywordRule:
    """Words and phrases that stand for one thing, and the points when any of them is in the text."""

    name: str
    words: tuple[str, ...]
    points: float = 0.0


@dataclass(frozen=True)
class Keywords:
    """All keyword rules, indexed by the first token of every phrase.

    A lookup per token takes a few microseconds for a tweet; one alternation of all words would be tried at every
    word and could not find two phrases that overlap.
    """

    rules: tuple[KeywordRule, ...]
    _starts: dict[str, list[tuple[list[str], str, str]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts: dict[str, list[tuple[list[str], str, str]]] = {}
        for rule in self.rules:
            for word in rule.words:
                phrase = tokens(word)
                starts.setdefault(phrase[0], []).append((phrase, rule.name, word))
        object.__setattr__(self, "_starts", starts)

    def found(self, text: str) -> dict[str, list[str]]:
        """Rule name → its words that stand in the text, each once, as the policy writes them."""
        text_tokens = tokens(text)
        fired: dict[str, list[str]] = {}
        for position, token in enumerate(text_tokens):
            for phrase, rule, word in self._starts.get(token, ()):
                if len(phrase) == 1 or text_tokens[position : position + len(phrase)] == phrase:
                    words = fired.setdefault(rule, [])
                    if word not in words:
                        words.append(word)
        return fired
