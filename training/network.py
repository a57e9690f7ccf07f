"""The network that is trained: encoder, pooling, linear head, and the loss that skips unknown labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data.schema import INTENTS
from model.normalise import MASKS, OTHER, TARGET, URL

if TYPE_CHECKING:
    from training.student import Imitation

_MASK_STARTS = {TARGET: "the company", OTHER: "someone else", URL: "link"}
"""Words whose mean embedding a mask begins with: training then starts from a meaning instead of from noise."""


class IntentNetwork(nn.Module):
    """Encoder → mean over all tokens and mean over the target's mask → dropout → one logit per intent.

    What stands at the target's mask says whose intent it is (Gao et al., "Target-Dependent Sentiment Classification
    With BERT", IEEE Access 2019); a mention without a target has zeros there.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        target_id: int,
        dropout: float,
        positive_weight: Tensor | None = None,
        imitation: Imitation | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.target_id = target_id
        """Token of the target's mask."""
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * encoder.config.hidden_size, len(INTENTS))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        weight = torch.ones(len(INTENTS)) if positive_weight is None else positive_weight
        self.register_buffer("positive_weight", weight, persistent=False)
        self.positive_weight: Tensor
        self.imitation = imitation
        """In training varies the batch, says what to add to the loss, and fills in unknown labels."""

    def logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of shape (batch, intents) in float32, for ids and mask of shape (batch, tokens)."""
        return self.read(input_ids, attention_mask)[0]

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and the states of shape (batch, tokens, width)."""
        hidden: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = torch.cat([_mean(hidden, attention_mask), _mean(hidden, input_ids == self.target_id)], dim=1)
        return self.head(self.dropout(pooled)).float(), hidden

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, weight: Tensor | None = None
    ) -> dict[str, Any]:
        """What transformers' Trainer expects: ``logits`` and, with labels of shape (batch, intents), ``loss``."""
        if labels is None:
            return {"logits": self.logits(input_ids, attention_mask)}
        imitation = self.imitation if self.training else None
        added: Tensor | float = 0.0
        if imitation is not None:
            input_ids, attention_mask, labels = imitation.spliced(input_ids, attention_mask, labels)
        logits, hidden = self.read(input_ids, attention_mask)
        if imitation is not None:
            added, labels = imitation(hidden, input_ids, attention_mask, labels)
        return {"loss": masked_loss(logits, labels, self.positive_weight, weight) + added, "logits": logits}


def _mean(hidden: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the states (batch, tokens, width) of the chosen tokens (batch, tokens); zeros where none is chosen."""
    share = chosen.unsqueeze(-1).to(hidden.dtype)
    return (hidden * share).sum(1) / share.sum(1).clamp(min=1)


def masked_loss(logits: Tensor, labels: Tensor, positive_weight: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy over the labels that are known, averaged by their weight.

    ``labels`` may be soft (0 to 1) and are ``training.sample.UNKNOWN`` where nothing is known; ``weight`` (batch)
    scales whole mentions. A batch that knows nothing gives 0 with a gradient of 0.
    """
    known = (labels >= 0).float()
    if weight is not None:
        known = known * weight.unsqueeze(1)
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits, labels.clamp(min=0), pos_weight=positive_weight, reduction="none"
    )
    return (losses * known).sum() / known.sum().clamp(min=1e-6)


def target_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """Token of the target's mask, which ``add_masks`` has made one."""
    return tokenizer.get_vocab()[TARGET]


def add_masks(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Teach the tokenizer and the encoder the normaliser's masks, each begun from the words that it stands for.

    Masks that an encoder trained here before knows already keep what they have learnt.
    """
    new = [mask for mask in MASKS if mask not in tokenizer.get_vocab()]
    tokenizer.add_special_tokens({"additional_special_tokens": list(MASKS)})
    table = encoder.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    starts = {
        mask: table.weight[tokenizer(words, add_special_tokens=False)["input_ids"]].mean(0).detach().clone()
        for mask, words in _MASK_STARTS.items()
        if mask in new
    }
    table = encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for mask, start in starts.items():
            table.weight[tokenizer.convert_tokens_to_ids(mask)] = start
