"""A small student of the base: fewer and narrower layers over the words that occur, which learns the base's states.

Labels and teachers' probabilities say five numbers of a mention; the base's last states, one vector a token, say what
it made of every word (Jiao et al., "TinyBERT", Findings of EMNLP 2020). Leaves training to ``training.fit``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerFast

from training.base import BaseModelError
from training.examples import padded
from training.recipe import Student

_EMBEDDING_SPREAD = 0.05
_SEEN_ON = 256
"""Mentions on which mean and spread of the base's states are taken."""


class Imitation(nn.Module):
    """How far a student's states are from the base's, both standardised by channel; only this part is trained.

    Args:
        base: the encoder to imitate; it is not trained.
        base_ids: the base's token for each of the student's.
        student: the recipe's.
        mentions: token ids of the student, some hundred mentions.
    """

    def __init__(
        self, base: PreTrainedModel, base_ids: Tensor, student: Student, mentions: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self._base = (base.eval().requires_grad_(False),)  # in a tuple it is no part: neither trained nor saved
        self.share = student.states
        width = base.config.hidden_size
        self.projection = nn.Linear(student.width, width)
        self.register_buffer("base_ids", base_ids, persistent=False)
        self.base_ids: Tensor
        batch = padded(mentions[:_SEEN_ON], 0)
        with torch.no_grad():
            states = self._read(batch["input_ids"], batch["attention_mask"])[batch["attention_mask"] == 1]
        self.register_buffer("mean", states.mean(0), persistent=False)
        self.register_buffer("spread", states.std(0).clamp(min=1e-3), persistent=False)
        self.mean: Tensor
        self.spread: Tensor

    def forward(self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Mean squared difference over tokens and channels, times the recipe's share.

        ``hidden`` has shape (batch, tokens, width), the others (batch, tokens).
        """
        read = attention_mask == 1
        with torch.no_grad():
            wanted = (self._read(input_ids, attention_mask)[read].float() - self.mean) / self.spread
        return self.share * nn.functional.mse_loss(self.projection(hidden[read]).float(), wanted)

    def _read(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        (base,) = self._base
        base.to(input_ids.device)
        states: Tensor = base(input_ids=self.base_ids[input_ids], attention_mask=attention_mask).last_hidden_state
        return states


def small_encoder(base: PreTrainedModel, base_ids: Tensor, student: Student, max_tokens: int) -> PreTrainedModel:
    """A BERT of the student's shape; its token embeddings begin as the principal components of the base's."""
    config = BertConfig(
        vocab_size=len(base_ids),
        hidden_size=student.width,
        num_hidden_layers=student.layers,
        num_attention_heads=student.heads,
        intermediate_size=student.feed_forward,
        max_position_embeddings=max_tokens,
        type_vocab_size=1,
        hidden_act="relu",  # on a CPU a fifth of GELU's time
        hidden_dropout_prob=student.dropout,
        attention_probs_dropout_prob=0.0,
    )
    encoder = BertModel(config, add_pooling_layer=False)
    encoder.set_attn_implementation("eager")
    table = base.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    with torch.no_grad():
        known = table.weight[base_ids].float()
        centred = known - known.mean(0)
        _, _, directions = torch.linalg.svd(centred, full_matrices=False)
        components = centred @ directions[: student.width].T
        embeddings = encoder.get_input_embeddings().weight
        embeddings[:, : components.shape[1]] = components / components.std() * _EMBEDDING_SPREAD
    return encoder


def small_tokenizer(
    tokenizer: PreTrainedTokenizerFast, mentions: Sequence[Sequence[int]], rarest: int
) -> tuple[PreTrainedTokenizerFast, Tensor]:
    """The tokenizer with the tokens alone that occur ``rarest`` times or more, and the old token of each new one.

    Special tokens and single characters stay: a word whose own piece went is read by smaller ones.

    Args:
        tokenizer: a WordPiece tokenizer.
        mentions: its token ids of the training mentions.
        rarest: occurrences, 1 or more.

    Raises:
        BaseModelError: it is of another kind.
    """
    made = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    if made["model"]["type"] != "WordPiece":
        raise BaseModelError(
            f"a student needs a base with a WordPiece tokenizer, and this one's is {made['model']['type']}"
        )
    counts = Counter(token for ids in mentions for token in ids)
    special = {token["content"] for token in made["added_tokens"]}
    vocabulary: dict[str, int] = {**made["model"]["vocab"], **{t["content"]: t["id"] for t in made["added_tokens"]}}
    kept = [
        (token, old)
        for token, old in sorted(vocabulary.items(), key=lambda item: item[1])
        if token in special or len(token.removeprefix("##")) == 1 or counts[old] >= rarest
    ]
    new = {token: place for place, (token, _) in enumerate(kept)}
    made["model"]["vocab"] = {token: place for token, place in new.items() if token in made["model"]["vocab"]}
    for token in made["added_tokens"]:
        token["id"] = new[token["content"]]
    for token in ((made["post_processor"] or {}).get("special_tokens") or {}).values():
        token["ids"] = [new[name] for name in token["tokens"]]
    for end in ("cls", "sep"):  # of BertProcessing
        if end in (made["post_processor"] or {}):
            made["post_processor"][end][1] = new[made["post_processor"][end][0]]
    named = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    small = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(made)), **named)
    return small, torch.tensor([old for _, old in kept])
