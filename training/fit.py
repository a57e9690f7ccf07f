"""Fine-tunes the network with transformers' ``Trainer``: checkpoints, resuming, early stopping, the best epoch kept.

One process or several (``training.processes``); two runs of one job on one machine give the same weights, bit by bit.
Leaves export and calibration to their modules.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
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
from training.job import TrainingError
from training.network import IntentNetwork
from training.processes import LONGEST_WAIT, process_count
from training.recipe import Recipe
from training.tracking import tensorboard_logs

_LOGS_AN_EPOCH = 20
_LAYER = re.compile(r"\.(?:layer|layers|h|block)\.(\d+)\.")


@dataclass(frozen=True)
class FitInputs:
    """What ``fit`` needs beside the recipe."""

    train: Dataset
    dev: Dataset
    padding_id: int
    run: Path
    """Folder of checkpoints; training resumes from the last one that is found there."""
    report_to: str | None = None
    """Tracker that gets the loss and the dev figures (``training.tracking``)."""
    run_name: str = ""
    """What the tracker calls the run."""
    logs: Path | None = None
    """Folder of the tracker's files, if it is one that writes any."""
    on_epoch: Callable[[int, float], None] | None = None
    """Called with the epoch, from 1, and its dev macro average precision; what it raises ends the training."""


def make_deterministic() -> None:
    """Have torch choose algorithms that give the same bits every time (where it has none, it warns and goes on)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads what it has not written, so filling memory would only take time.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 - torch makes it a property


def training_arguments(recipe: Recipe, run: Path, steps: int, **others: Any) -> TrainingArguments:
    """What fine-tuning and pre-training have in common, and ``others``, which only one of them has.

    Args:
        recipe: its batch is shared out among the processes; its precision and seed hold.
        run: folder of checkpoints.
        steps: how many the training takes about, for the warm-up.
        **others: settings of ``TrainingArguments``, the epochs and the rate among them.

    Raises:
        TrainingError: the batch cannot be shared out evenly among the processes.
    """
    processes = process_count()
    if recipe.batch_size % processes:
        raise TrainingError(
            f"batch_size {recipe.batch_size} cannot be shared out among {processes} processes;"
            f" give a recipe with a multiple of {processes}"
        )
    bfloat16 = use_bfloat16(recipe)
    # The recipe decides, and not what accelerate's launcher was configured with.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if bfloat16 else "no"
    arguments = TrainingArguments(
        output_dir=str(run.resolve()),
        per_device_train_batch_size=recipe.batch_size // processes,
        warmup_steps=round(max(1, steps) * recipe.warmup),
        weight_decay=recipe.weight_decay,
        bf16=bfloat16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        train_sampling_strategy="group_by_length",
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=recipe.seed,
        ddp_timeout=round(LONGEST_WAIT.total_seconds()),
        **others,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are for accelerate's launcher; DataParallel is slower
    return arguments


def fit(network: IntentNetwork, recipe: Recipe, inputs: FitInputs) -> float:
    """Train in place and leave the weights of the best epoch; returns its dev macro average precision.

    Raises:
        TrainingError: the batch cannot be shared out evenly among the processes.
    """
    batches = len(inputs.train) / recipe.batch_size
    arguments = training_arguments(
        recipe,
        inputs.run,
        round(batches * recipe.epochs),
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        per_device_eval_batch_size=64,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,
        metric_for_best_model="macro_ap",
        greater_is_better=True,
        logging_strategy="steps" if inputs.report_to else "no",
        logging_steps=max(1, round(batches) // _LOGS_AN_EPOCH),
        run_name=inputs.run_name or None,
        report_to=inputs.report_to or "none",
        label_names=["labels"],
    )
    with tensorboard_logs(inputs.logs):
        trainer = _LayerwiseTrainer(
            model=network,
            args=arguments,
            train_dataset=inputs.train,
            eval_dataset=inputs.dev,
            data_collator=PadToLongest(inputs.padding_id),
            compute_metrics=_dev_figures,
            callbacks=[EarlyStoppingCallback(recipe.patience), Progress(inputs.on_epoch)],
        )
    trainer.recipe = recipe
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(inputs.run))
    return float(trainer.state.best_metric or 0.0)


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

    def __init__(self, on_epoch: Callable[[int, float], None] | None = None) -> None:
        self.on_epoch = on_epoch

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.began = time.monotonic()
        self.first: int | None = None
        self.said = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Rewrite the counter."""
        if self.first is None:
            self.first = state.global_step - 1
        if state.is_world_process_zero and sys.stderr.isatty() and state.global_step % 5 == 0:
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
            if state.is_world_process_zero:
                print(f"\r{line:<70}", file=sys.stderr, flush=True)
            if self.on_epoch is not None:
                self.on_epoch(round(state.epoch), figure)


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
