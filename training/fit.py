"""Fine-tunes the network with transformers' ``Trainer``: checkpoints, resuming, early stopping, the best epoch kept.

Leaves export and calibration to their modules.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from data.schema import INTENTS
from training.examples import PadToLongest
from training.network import IntentNetwork
from training.recipe import Recipe

_LAYER = re.compile(r"\.(?:layer|layers|h|block)\.(\d+)\.")


@dataclass(frozen=True)
class FitInputs:
    """What ``fit`` needs beside the recipe."""

    train: Dataset
    dev: Dataset
    padding_id: int
    run: Path
    """Folder of checkpoints; training resumes from the last one that is found there."""


def fit(network: IntentNetwork, recipe: Recipe, inputs: FitInputs) -> None:
    """Train in place and leave the weights of the best epoch."""
    steps = max(1, round(len(inputs.train) / recipe.batch_size * recipe.epochs))
    arguments = TrainingArguments(
        output_dir=str(inputs.run.resolve()),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=64,
        warmup_steps=round(steps * recipe.warmup),
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        bf16=use_bfloat16(recipe),
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model="macro_ap",
        greater_is_better=True,
        logging_strategy="no",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        label_names=["labels"],
        seed=recipe.seed,
    )
    trainer = _LayerwiseTrainer(
        model=network,
        args=arguments,
        train_dataset=inputs.train,
        eval_dataset=inputs.dev,
        data_collator=PadToLongest(inputs.padding_id),
        compute_metrics=_dev_figures,
        callbacks=[EarlyStoppingCallback(recipe.patience), Progress()],
    )
    trainer.recipe = recipe
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(inputs.run))


def last_checkpoint(run: Path) -> str | None:
    """The folder to resume from, if any."""
    # The state is written last: a checkpoint without it was cut off by a kill.
    whole = [state.parent for state in run.glob("checkpoint-*/trainer_state.json")]
    latest = max(whole, key=lambda folder: int(folder.name.removeprefix("checkpoint-")), default=None)
    return str(latest) if latest else None


def use_bfloat16(recipe: Recipe) -> bool:
    """Whether to compute in bfloat16: what the recipe says, or what the hardware multiplies natively."""
    return recipe.precision == "bfloat16" if recipe.precision != "auto" else multiplies_bfloat16()


def multiplies_bfloat16() -> bool:
    """Whether the hardware multiplies bfloat16 natively."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported())


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by learning rate (the head fastest, lower layers slower) and by whether they decay."""
    depths = {name: int(m[1]) for name, _ in network.named_parameters() if (m := _LAYER.search(name))}
    top = max(depths.values(), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if name.startswith("head."):
            rate = recipe.head_rate
        elif name in depths:
            rate = recipe.layer_decay ** (top - depths[name])
        else:
            rate = recipe.layer_decay ** (top + 1)
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": recipe.learning_rate * rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


class _LayerwiseTrainer(Trainer):
    recipe: Recipe

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        if self.optimizer is None:
            assert isinstance(self.model, nn.Module)
            self.optimizer = torch.optim.AdamW(parameter_groups(self.model, self.recipe), fused=True)
        return self.optimizer


class Progress(TrainerCallback):
    """A line on stderr now and then: a counter that rewrites itself on a terminal, one line an epoch in a log."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.began = time.monotonic()
        self.first: int | None = None
        self.said = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Rewrite the counter."""
        if self.first is None:
            self.first = state.global_step - 1
        if sys.stderr.isatty() and state.global_step % 5 == 0:
            rate = (time.monotonic() - self.began) / (state.global_step - self.first)
            left = rate * (state.max_steps - state.global_step)
            line = f"step {state.global_step:,} of {state.max_steps:,}, about {left / 60:.1f} minutes left"
            print(f"\r{line:<70}", end="", file=sys.stderr, flush=True)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Say how good the epoch was."""
        figure = (metrics or {}).get("eval_macro_ap")
        minutes = (time.monotonic() - self.began) / 60
        if figure is not None and state.global_step > self.said:
            self.said = state.global_step
            line = f"epoch {state.epoch:.0f}: dev macro average precision {figure:.4f} after {minutes:.1f} minutes"
            print(f"\r{line:<70}", file=sys.stderr, flush=True)


def _dev_figures(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    figures: dict[str, float] = {}
    for column, intent in enumerate(INTENTS):
        known = labels[:, column] >= 0
        if (labels[known, column] == 1).any():
            figures[f"{intent}_ap"] = float(average_precision_score(labels[known, column], logits[known, column]))
    return figures | {"macro_ap": float(np.mean(list(figures.values()))) if figures else 0.0}


def positive_weights(labels: Any, power: float) -> Tensor:
    """(negatives / positives) ** power per intent, 1 where an intent has none of either."""
    table = np.asarray(labels)
    positives, negatives = (table == 1).sum(0), (table == 0).sum(0)
    ratio = np.where((positives > 0) & (negatives > 0), negatives / np.maximum(positives, 1), 1.0)
    return torch.tensor(ratio**power, dtype=torch.float32)
