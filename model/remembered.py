"""Answers for words, remembered: words repeat, and what is asked of them for every mention is nearly always known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

_LONGEST = 40
"""Letters of the longest word that is worth remembering."""
_MOST = 32_768
"""Words after which everything is forgotten, so that memory is bounded."""


class Remembered(dict[str, Answer]):
    """``self[word]`` is ``function(word)``; a known word costs a tenth of a call of ``functools.lru_cache``.

    Several threads may ask at once; the function then runs more than once.
    """

    def __init__(self, function: Callable[[str], Answer]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, word: str) -> Answer:
        answer = self._function(word)
        if len(word) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[word] = answer
        return answer
