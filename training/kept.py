"""What ``train --keep-encoder`` keeps: encoder, tokenizer, head, and what they were trained on.

It is a base to go on from, as any folder with an encoder is, and a teacher. Leaves both to their modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from data.sources import allows_commercial_use
from training.base import BaseModelError, load_base
from training.network import IntentNetwork
from training.recipe import Recipe

HEAD = "intent_head.safetensors"
RECORD = "firstreply.json"
WEIGHTS = "model.safetensors"


class Kept(BaseModel):
    """What is known of a kept encoder."""

    model_config = ConfigDict(frozen=True)

    base_model: str
    """The pre-trained encoder that it comes from."""
    max_tokens: int
    """Tokens that it was trained to read."""
    data: tuple[dict[str, Any], ...]
    """The corpora it was trained on, as a bundle's manifest lists them."""
    teachers: tuple[dict[str, Any], ...] = ()
    """Whom it was taught by, likewise."""


def keep(network: IntentNetwork, tokenizer: PreTrainedTokenizerFast, folder: Path, record: Kept) -> None:
    """Write the encoder with its tokenizer, as any pre-trained one, and its head and record beside them."""
    network.encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file({name: weight.contiguous() for name, weight in network.head.state_dict().items()}, folder / HEAD)
    (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def weight_files(folder: Path) -> tuple[Path, Path]:
    """The files of a kept encoder that hold its weights."""
    return folder / WEIGHTS, folder / HEAD


def begun_files(recipe: Recipe) -> tuple[Path, ...]:
    """The weights that the recipe's student begins with, if it goes on from one."""
    return weight_files(Path(recipe.student.begin)) if recipe.student is not None and recipe.student.begin else ()


def kept_record(folder: Path) -> Kept | None:
    """The record of a kept encoder; None where the folder (or hub id) is not one.

    Raises:
        BaseModelError: the record cannot be read.
    """
    try:
        return Kept.model_validate_json((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        raise BaseModelError(f"{folder / RECORD}: {str(error).splitlines()[0]}; keep the encoder again") from None


def restore_head(network: IntentNetwork, folder: Path) -> None:
    """Give the network the head that was kept beside its encoder.

    Raises:
        BaseModelError: it is missing, damaged, or of another shape.
    """
    try:
        network.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise BaseModelError(f"{folder / HEAD}: {str(error).splitlines()[0]}; keep the encoder again") from None


def average(network: IntentNetwork, folders: Sequence[Path]) -> None:
    """Give the network the mean of its own weights and those of kept encoders.

    The mean of several fine-tunings of one encoder ("model soup"; Wortsman et al., ICML 2022) often reads about as well
    as their ensemble, and costs no more than one.

    Raises:
        BaseModelError: one is no kept encoder, or of another encoder.
    """
    heads = {name: weight.clone() for name, weight in network.head.state_dict().items()}
    whole = {name: weight.clone() for name, weight in network.encoder.state_dict().items()}
    for folder in folders:
        encoder, _ = load_base(str(folder))
        restore_head(network, folder)
        for total, part in ((whole, encoder.state_dict()), (heads, network.head.state_dict())):
            if {name: weight.shape for name, weight in total.items()} != {n: w.shape for n, w in part.items()}:
                raise BaseModelError(f"{folder}: another encoder than the one it is to be averaged with")
            for name, weight in part.items():
                if weight.is_floating_point():
                    total[name] += weight.to(total[name].device)
    share = 1 / (1 + len(folders))
    for total in (whole, heads):
        total.update({name: weight * share for name, weight in total.items() if weight.is_floating_point()})
    network.encoder.load_state_dict(whole)
    network.head.load_state_dict(heads)


def restricted(data: Iterable[Mapping[str, Any]]) -> str:
    """The names of corpora that do not allow commercial use, "" where all do."""
    return ", ".join(str(row["name"]) for row in data if not allows_commercial_use(str(row["name"])))


def merged(*data: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The corpora of several, each once with the most mentions that one of them had."""
    rows: dict[str, dict[str, Any]] = {}
    for row in (row for part in data for row in part):
        known = rows.setdefault(str(row["name"]), dict(row))
        known["mentions"] = max(known["mentions"], row["mentions"])
    return sorted(rows.values(), key=lambda row: -row["mentions"])
