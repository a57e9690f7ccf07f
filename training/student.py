"""A small student of the base: fewer and narrower layers over the words that occur, which learns the base's states.

Labels and teachers' probabilities say five numbers of a mention; the base's last states, one vector a token, say what
it made of every word (Jiao et al., "TinyBERT", Findings of EMNLP 2020). Leaves training to ``training.fit``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerFast

from data.schema import INTENTS, LabelledMention
from training import calibrate
from training.base import BaseModelError, load_base
from training.examples import padded
from training.network import IntentNetwork
from training.recipe import Student
from training.sample import UNKNOWN, Sample

_EMBEDDING_SPREAD = 0.05
_SEEN_ON = 256
"""Mentions on which mean and spread of the base's states are taken."""


@dataclass(frozen=True)
class SmallTokens:
    """A student's tokenizer, and the base's token for each of its own."""

    tokenizer: PreTrainedTokenizerFast
    base_ids: Tensor
    """Shape (tokens of the student)."""


class Imitation(nn.Module):
    """How far a student's states are from the base's, both standardised by channel; only this part is trained.

    Args:
        base: the network to imitate; it is not trained.
        tokens: the student's and the base's.
        student: the recipe's.
        width: of the student's states.
        mentions: token ids of the student, some hundred mentions.
    """

    def __init__(
        self, base: IntentNetwork, tokens: SmallTokens, student: Student, width: int, mentions: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self._base = (base.eval().requires_grad_(False),)  # in a tuple it is no part: neither trained nor saved
        self._student = student
        self.projection = nn.Linear(width, base.encoder.config.hidden_size)
        self.register_buffer("base_ids", tokens.base_ids, persistent=False)
        self.base_ids: Tensor
        names = sorted(tokens.tokenizer.get_vocab().items(), key=lambda item: item[1])
        self._within = [name.startswith("##") for name, _ in names]
        self._padding = tokens.tokenizer.pad_token_id or 0
        batch = padded(mentions[:_SEEN_ON], 0)
        states = self._read(batch["input_ids"], batch["attention_mask"])[1][batch["attention_mask"] == 1]
        self.register_buffer("mean", states.mean(0), persistent=False)
        self.register_buffer("spread", states.std(0).clamp(min=1e-3), persistent=False)
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("scale", torch.ones(len(INTENTS)), persistent=False)
        self.register_buffer("offset", torch.zeros(len(INTENTS)), persistent=False)
        self.scale: Tensor
        self.offset: Tensor
        self._calibrated = False

    def calibrate(self, dev: Sequence[LabelledMention], ids: Sequence[Sequence[int]]) -> None:
        """Have the base's probabilities calibrated on ``dev``, of which ``ids`` are the student's tokens."""
        rows = (padded([one], self._padding) for one in ids)
        logits = torch.cat([self._read(row["input_ids"], row["attention_mask"])[0] for row in rows]).double().numpy()
        calibration = calibrate.fit(Sample.of(dev, logits)).calibration
        self.scale, self.offset = torch.tensor(calibration.scale).float(), torch.tensor(calibration.offset).float()
        self._calibrated = True

    def forward(
        self, hidden: Tensor, input_ids: Tensor, attention_mask: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is added to the loss, and the labels; after ``calibrate``, unknown ones are what the base guesses.

        ``hidden`` has shape (batch, tokens, width), ids and mask (batch, tokens), labels (batch, intents). Added is the
        mean squared difference over tokens and channels, times the recipe's share.
        """
        logits, states = self._read(input_ids, attention_mask)
        read = attention_mask == 1
        wanted = (states[read].float() - self.mean) / self.spread
        difference = nn.functional.mse_loss(self.projection(hidden[read]).float(), wanted)
        if self._calibrated:
            labels = torch.where(labels >= 0, labels, torch.sigmoid(self.scale * logits + self.offset))
        return self._student.states * difference, labels

    def spliced(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, mask and labels with the recipe's share of the mentions spliced, their labels unknown.

        The start of one mention and the end of another, cut between words a quarter to three quarters into each: nobody
        wrote or labelled these, but the base says what they mean, and the student sees more than the mentions at hand.
        """
        chosen = torch.rand(len(labels)) < self._student.spliced
        if not chosen.any():
            return input_ids, attention_mask, labels
        rows = [row[:length] for row, length in zip(input_ids.tolist(), attention_mask.sum(1).tolist(), strict=True)]
        ends, places = torch.randperm(len(rows)).tolist(), torch.empty(len(rows), 2).uniform_(0.25, 0.75).tolist()
        longest = max(map(len, rows))
        mixed = list(rows)
        for row in chosen.nonzero().flatten().tolist():
            start, end = rows[row], rows[ends[row]]
            ids = start[: self._cut(start, places[row][0])] + end[self._cut(end, places[row][1]) :]
            # What is too long loses words of its middle, as long mentions do.
            mixed[row] = ids[: longest - longest // 2] + ids[-(longest // 2) :] if len(ids) > longest else ids
        batch = padded(mixed, self._padding)
        unknown = labels.masked_fill(chosen.to(labels.device).unsqueeze(1), UNKNOWN)
        return batch["input_ids"].to(input_ids.device), batch["attention_mask"].to(input_ids.device), unknown

    def _cut(self, ids: Sequence[int], part: float) -> int:
        place = max(1, round(len(ids) * part))
        while place < len(ids) - 1 and self._within[ids[place]]:
            place += 1
        return min(place, len(ids) - 1)

    def _read(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        (base,) = self._base
        base.to(input_ids.device)
        with torch.no_grad():
            return base.read(self.base_ids[input_ids], attention_mask)


def kept_student(folder: str, base: PreTrainedTokenizerFast, dropout: float) -> tuple[PreTrainedModel, SmallTokens]:
    """A student that was kept, with this much dropout from now on, and its tokens.

    Raises:
        BaseModelError: it cannot be read, or has tokens that the base lacks.
    """
    encoder, tokenizer = load_base(folder)
    known = base.get_vocab()
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if strange := next((token for token, _ in tokens if token not in known), None):
        raise BaseModelError(f"student {folder}: its token {strange!r} is none of the base's; give its own base")
    encoder.config.hidden_dropout_prob = dropout
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Dropout) and ".attention.self." not in name:
            module.p = dropout
    return encoder, SmallTokens(tokenizer, torch.tensor([known[token] for token, _ in tokens]))


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


def small_tokenizer(tokenizer: PreTrainedTokenizerFast, mentions: Sequence[Sequence[int]], rarest: int) -> SmallTokens:
    """The tokenizer with the tokens alone that occur ``rarest`` times or more.

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
    return SmallTokens(small, torch.tensor([old for _, old in kept]))
