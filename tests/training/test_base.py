"""Encoders of several families are exported as torch computes them; what is none is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    T5Config,
    ViTConfig,
)

from model.scorer import session_inputs
from training.base import BaseModelError, check_base, load_base
from training.export import export_fp32
from training.network import IntentNetwork, add_masks, target_id

_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 100,
}
_MARKS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_DEBERTA: dict[str, Any] = {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]}


def _base(config: PreTrainedConfig, tiny_base: Path, folder: Path) -> Path:
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "config",
    [
        MPNetConfig(vocab_size=2000, **_SHAPE, **_MARKS),
        DebertaV2Config(vocab_size=2000, **_SHAPE, **_DEBERTA),
        ModernBertConfig(vocab_size=2000, **_SHAPE, **_MARKS, cls_token_id=2, sep_token_id=3, local_attention=16),
    ],
    ids=lambda config: config.model_type,
)
def test_onnx_gives_the_logits_of_torch(config: PreTrainedConfig, tiny_base: Path, tmp_path: Path) -> None:
    encoder, tokenizer = load_base(str(_base(config, tiny_base, tmp_path)))
    check_base("it", encoder, 96)
    add_masks(encoder, tokenizer)
    network = IntentNetwork(encoder, target_id(tokenizer), dropout=0.1).eval()
    export_fp32(network, tmp_path / "model.onnx", 64)
    ids = torch.randint(5, len(tokenizer), (3, 40))
    with torch.no_grad():
        expected = network.logits(ids, torch.ones_like(ids)).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    (found,) = session.run(None, session_inputs(session, ids.tolist()))
    assert np.abs(found - expected).max() < 1e-5


def test_more_tokens_than_positions(tiny_base: Path, tmp_path: Path) -> None:
    encoder, _ = load_base(str(_base(BertConfig(vocab_size=2000, **_SHAPE), tiny_base, tmp_path)))
    check_base("mine", encoder, 100)
    with pytest.raises(BaseModelError, match="'mine' has 100 positions and cannot read max_tokens = 101"):
        check_base("mine", encoder, 101)


def test_an_encoder_of_pictures(tiny_base: Path, tmp_path: Path) -> None:
    pictures = ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    encoder, _ = load_base(str(_base(pictures, tiny_base, tmp_path)))
    with pytest.raises(BaseModelError, match="'it' is not an encoder of text"):
        check_base("it", encoder, 96)


def test_an_encoder_decoder(tiny_base: Path, tmp_path: Path) -> None:
    config = T5Config(vocab_size=2000, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    with pytest.raises(BaseModelError, match="is an encoder-decoder"):
        load_base(str(_base(config, tiny_base, tmp_path)))


def test_a_base_in_half_precision_is_read_in_float32(tiny_base: Path, tmp_path: Path) -> None:
    encoder, tokenizer = load_base(str(tiny_base))
    encoder.half().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert next(load_base(str(tmp_path))[0].parameters()).dtype == torch.float32
