"""Labelled mentions → a ``datasets.Dataset`` of token ids, labels and weights, read exactly as serving reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from data.schema import LabelledMention
from model.brands import Brands
from model.encoding import Encoder
from model.normalise import OTHER, Word, normalise
from training.recipe import Recipe
from training.sample import Floats

_ONSETS = (*"bcdfghjklmnprstvwyz", "br", "ch", "dr", "fl", "gl", "pl", "qu", "sh", "st", "tr")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "o", "a")
_CODAS = ("", "", "", "n", "x", "l", "r", "s", "nd", "ly", "co", "ck")


def token_ids(mentions: Sequence[LabelledMention], encoder: Encoder, brands: Brands) -> list[list[int]]:
    """What the encoder reads of each mention, as in serving."""
    return [list(encoder.encode(words)[0]) for words in _words(mentions, brands)]


def varied_ids(
    mentions: Sequence[LabelledMention], encoder: Encoder, brands: Brands, recipe: Recipe
) -> list[list[int]]:
    """The same, but varied in what must not matter, in the shares of the mentions that the recipe says.

    An invented name stands instead of the mask of other brands, and somebody's handle is put in front.
    """
    random = Random(recipe.seed)
    ids = []
    for words in _words(mentions, brands):
        others = any(word.text == OTHER for word in words)
        if others and random.random() < recipe.invented_names:
            name = invented_name(random)
            words = [word._replace(text=name) if word.text == OTHER else word for word in words]
        if words[0].text != OTHER and random.random() < recipe.extra_handles:
            words = [Word(OTHER, 0, 0), *words]
        ids.append(list(encoder.encode(words)[0]))
    return ids


def invented_name(random: Random) -> str:
    """A name of two or three syllables that can be spoken."""
    syllables = (random.choice(_ONSETS) + random.choice(_VOWELS) for _ in range(random.choice((2, 2, 3))))
    return ("".join(syllables) + random.choice(_CODAS)).capitalize()


def _words(mentions: Sequence[LabelledMention], brands: Brands) -> Iterator[Sequence[Word]]:
    return (normalise(mention.text, mention.target, brands).words for mention in mentions)


def to_dataset(ids: Sequence[Sequence[int]], targets: Floats, weights: Sequence[float]) -> Dataset:
    """One example per mention: ``input_ids``, ``length``, ``labels`` and ``weight``.

    ``targets`` of shape (mentions, intents) are 0 to 1, or ``training.sample.UNKNOWN``.
    """
    return Dataset.from_dict(
        {"input_ids": ids, "length": [len(item) for item in ids], "labels": targets.tolist(), "weight": list(weights)}
    )


def distilled(labels: Floats, taught: Floats, share: float) -> Floats:
    """Targets for a student: known labels mixed with the teachers' probabilities, unknown ones replaced by them."""
    return np.where(labels >= 0, (1 - share) * labels + share * taught, taught)


def padded(ids: Sequence[Sequence[int]], padding_id: int) -> dict[str, torch.Tensor]:
    """``input_ids`` and ``attention_mask`` of shape (mentions, tokens), as long as the longest mention needs."""
    # A multiple of 8 keeps the number of shapes small, which matrix libraries prepare one by one.
    longest = -(-max(map(len, ids)) // 8) * 8
    table = torch.full((len(ids), longest), padding_id)
    mask = torch.zeros_like(table)
    for row, its in enumerate(ids):
        table[row, : len(its)] = torch.tensor(its)
        mask[row, : len(its)] = 1
    return {"input_ids": table, "attention_mask": mask}


class PadToLongest:
    """Collates examples into tensors padded to the longest of the batch."""

    def __init__(self, padding_id: int) -> None:
        self.padding_id = padding_id

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Ids, mask, labels and weights of a batch."""
        return {
            **padded([example["input_ids"] for example in examples], self.padding_id),
            "labels": torch.tensor([example["labels"] for example in examples]),
            "weight": torch.tensor([example["weight"] for example in examples]),
        }
