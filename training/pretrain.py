"""In-domain pre-training: goes on with masked-language modelling on mentions, labelled or not, before fine-tuning.

Gururangan et al., "Don't Stop Pretraining" (ACL 2020); on customer-service tweets Hadifar et al., "A Million Tweets Are
Worth a Few Points" (NAACL 2021). The head that guesses the masked tokens is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast, PrinterCallback, Trainer

from training.base import BaseModelError
from training.examples import padded
from training.fit import Progress, last_checkpoint, training_arguments
from training.processes import say
from training.recipe import Recipe

_SHARE = 0.15
"""Share of the tokens that are to be guessed (Devlin et al. 2019)."""
_MASKED, _RANDOM = 0.8, 0.1
"""Of these, how many the mask stands for, and how many another token; the rest stay as they are (ibid.)."""


class MaskedLanguageModel(nn.Module):
    """An encoder with BERT's head for guessing tokens: dense, GELU, layer norm, decoder tied to the embeddings."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        table = encoder.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        self.encoder = encoder
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Any]:
        """Loss over the positions whose label (batch, tokens) is not -100; only these are decoded."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        asked = labels != -100
        table = self.encoder.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        logits = nn.functional.linear(self.transform(hidden[asked]), table.weight, self.bias)
        return {"loss": nn.functional.cross_entropy(logits.float(), labels[asked])}


class MaskTokens:
    """Collates token ids and hides some of them, other ones each time."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        if not isinstance(tokenizer.mask_token_id, int):
            raise BaseModelError("the base model's tokenizer has no mask token: train with pretraining_epochs = 0")
        self.mask, self.padding = tokenizer.mask_token_id, tokenizer.pad_token_id or 0
        self.special = torch.tensor(tokenizer.all_special_ids)
        self.size = len(tokenizer)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Ids, attention mask and labels (-100 where nothing is asked) of a batch, each (batch, tokens)."""
        batch = padded([example["input_ids"] for example in examples], self.padding)
        ids = batch["input_ids"]
        asked = (torch.rand(ids.shape) < _SHARE) & ~torch.isin(ids, self.special)
        labels = ids.masked_fill(~asked, -100)
        chance = torch.rand(ids.shape)
        ids = ids.masked_fill(asked & (chance < _MASKED), self.mask)
        other = asked & (chance >= _MASKED) & (chance < _MASKED + _RANDOM)
        ids = torch.where(other, torch.randint(self.size, ids.shape), ids)
        return {**batch, "input_ids": ids, "labels": labels}


def pretrain(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    ids: Sequence[Sequence[int]],
    recipe: Recipe,
    run: Path,
) -> None:
    """Train ``encoder`` in place on the token ids of mentions; resumes from the last checkpoint in ``run``.

    Raises:
        TrainingError: the batch cannot be shared out evenly among the processes.
    """
    arguments = training_arguments(
        recipe,
        run,
        round(len(ids) / recipe.batch_size * recipe.pretraining_epochs),
        num_train_epochs=recipe.pretraining_epochs,
        learning_rate=recipe.pretraining_rate,
        save_strategy="steps",
        save_steps=500,
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
    )
    examples = Dataset.from_dict({"input_ids": list(ids), "length": [len(item) for item in ids]})
    trainer = Trainer(
        model=MaskedLanguageModel(encoder),
        args=arguments,
        train_dataset=examples,
        data_collator=MaskTokens(tokenizer),
        callbacks=[Progress()],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = last_checkpoint(run)
    say(f"pre-training for {recipe.pretraining_epochs:g} epochs{f', from {checkpoint}' if checkpoint else ''}")
    trainer.train(resume_from_checkpoint=checkpoint)
    say(f"pre-trained for {trainer.state.global_step:,} steps")
