"""Normalised text → token ids, the same for training and serving: head and tail of what is too long.

Leaves normalising to ``model.normalise``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from model.errors import BundleError
from model.normalise import Word, join
from model.remembered import Remembered


@dataclass(frozen=True)
class _Pieces:
    """Tokenises what stands between spaces, and remembers it: words repeat, and a lookup is ten times as fast.

    Only for tokenizers of BERT's kind, of which no step looks across a space.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]
    """The special tokens around a text."""
    tokens: Remembered[tuple[int, ...]]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> _Pieces | None:
        """None for a tokenizer of another kind."""
        kinds = (type(tokenizer.normalizer), type(tokenizer.pre_tokenizer), type(tokenizer.model))
        if kinds != (normalizers.BertNormalizer, pre_tokenizers.BertPreTokenizer, models.WordPiece):
            return None
        added = tokenizer.get_added_tokens_decoder().values()
        if any(token.lstrip or token.rstrip or " " in token.content for token in added):
            return None

        def tokens(piece: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(piece, add_special_tokens=False).ids)

        around, inside = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=False).ids
        start = around.index(inside[0])
        return cls(tuple(around[:start]), tuple(around[start + len(inside) :]), Remembered(tokens))

    def ids(self, text: str) -> list[int]:
        """What the tokenizer makes of the text, special tokens included."""
        ids = list(self.head)
        for piece in text.split(" "):
            ids += self.tokens[piece]
        return [*ids, *self.tail]


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and the longest sequence that the model reads, in tokens with the special ones."""

    tokenizer: Tokenizer
    max_tokens: int
    _pieces: _Pieces | None = field(init=False, repr=False, compare=False)
    """How text is tokenised piece by piece; None where the tokenizer must see it whole."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pieces", _Pieces.of(self.tokenizer))

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
        return cls.of(tokenizer, max_tokens)

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_tokens: int) -> Encoder:
        """With truncation and padding that the tokenizer may have been saved with switched off."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, max_tokens)

    def encode(self, words: Sequence[Word]) -> tuple[list[int], bool]:
        """Token ids, special tokens included, and whether the middle had to be left out to fit ``max_tokens``."""
        text = join(self.outermost(words))
        ids: list[int] = self._pieces.ids(text) if self._pieces else self.tokenizer.encode(text).ids
        if len(ids) <= self.max_tokens:
            return ids, False
        tail = self.max_tokens // 2
        return ids[: self.max_tokens - tail] + ids[-tail:], True

    def outermost(self, words: Sequence[Word], spare: int = 0) -> Sequence[Word]:
        """The words without those in the middle that are cut in any case, also where ``spare`` others are left out.

        Every word but a lone combining mark is at least one token.
        """
        most = self.max_tokens + spare
        if len(words) <= 2 * most:
            return words
        solid = [index for index, word in enumerate(words) if not unicodedata.category(word.text[0]).startswith("M")]
        return [*words[: solid[most]], *words[solid[-most] :]] if len(solid) > 2 * most else words
