"""What ``train --keep-encoder`` keeps: encoder, tokenizer, head, and what they were trained on.

It is a base to go on from, as any folder with an encoder is, and a teacher. Leaves both to their modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from data.sources import allows_commercial_use
from training.base import BaseModelError
from training.network import IntentNetwork

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


def keep(network: IntentNetwork, tokenizer: PreTrainedTokenizerFast, folder: Path, record: Kept) -> None:
    """Write the encoder with its tokenizer, as any pre-trained one, and its head and record beside them."""
    network.encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file({name: weight.contiguous() for name, weight in network.head.state_dict().items()}, folder / HEAD)
    (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


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
