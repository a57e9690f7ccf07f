"""Normalised text → token ids, the same for training and serving: head and tail of what is too long.

Leaves normalising to ``model.normalise``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from model.errors import BundleError
from model.normalise import Word, join


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and the longest sequence that the model reads, in tokens with the special ones."""

    tokenizer: Tokenizer
    max_tokens: int

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> Encoder:
        """Read ``tokenizer.json``.

        Raises:
            BundleError: the file is not a tokenizer.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(f"{path} is not a tokenizer: {error}") from None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, max_tokens)

    def encode(self, words: Sequence[Word]) -> tuple[list[int], bool]:
        """Token ids, special tokens included, and whether the middle had to be left out to fit ``max_tokens``."""
        if len(words) > 2 * self.max_tokens:
            # Every word but a lone combining mark is at least one token: what lies between the outermost words is cut
            # in any case, so it need not be tokenised.
            solid = [
                index for index, word in enumerate(words) if not unicodedata.category(word.text[0]).startswith("M")
            ]
            if len(solid) > 2 * self.max_tokens:
                words = [*words[: solid[self.max_tokens]], *words[solid[-self.max_tokens] :]]
        ids: list[int] = self.tokenizer.encode(join(words)).ids
        if len(ids) <= self.max_tokens:
            return ids, False
        tail = self.max_tokens // 2
        return ids[: self.max_tokens - tail] + ids[-tail:], True
