"""Labelled mentions → a ``datasets.Dataset`` of token ids, labels and weights, read exactly as serving reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from data.schema import LabelledMention
from model.brands import Brands
from model.encoding import Encoder
from model.normalise import normalise
from training.sample import UNKNOWN, Floats, labels_of

__all__ = ["UNKNOWN", "Floats", "PadToLongest", "distilled", "labels_of", "to_dataset"]


def to_dataset(
    mentions: Sequence[LabelledMention], targets: Floats, weights: Sequence[float], encoder: Encoder, brands: Brands
) -> Dataset:
    """One example per mention: ``input_ids``, ``length``, ``labels`` and ``weight``.

    ``targets`` of shape (mentions, intents) are 0 to 1, or ``UNKNOWN``.
    """
    ids = [encoder.encode(normalise(mention.text, mention.target, brands).words)[0] for mention in mentions]
    return Dataset.from_dict(
        {"input_ids": ids, "length": [len(item) for item in ids], "labels": targets.tolist(), "weight": list(weights)}
    )


def distilled(labels: Floats, taught: Floats, share: float) -> Floats:
    """Targets for a student: known labels mixed with the teachers' probabilities, unknown ones replaced by them."""
    return np.where(labels >= 0, (1 - share) * labels + share * taught, taught)


class PadToLongest:
    """Collates examples into tensors padded to the longest of the batch."""

    def __init__(self, padding_id: int) -> None:
        self.padding_id = padding_id

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Ids, mask, labels and weights of a batch."""
        # A multiple of 8 keeps the number of shapes small, which matrix libraries prepare one by one.
        longest = -(-max(len(example["input_ids"]) for example in examples) // 8) * 8
        ids = torch.full((len(examples), longest), self.padding_id)
        mask = torch.zeros((len(examples), longest), dtype=torch.long)
        for row, example in enumerate(examples):
            length = len(example["input_ids"])
            ids[row, :length] = torch.tensor(example["input_ids"])
            mask[row, :length] = 1
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": torch.tensor([example["labels"] for example in examples]),
            "weight": torch.tensor([example["weight"] for example in examples]),
        }
