"""The trained network → ``model.onnx``: exported, fused, and quantised to int8.

What is chosen, and why: weights are 8-bit per output channel with one bit to spare (``reduce_range``), because the
AVX2 instruction that multiplies unsigned by signed bytes saturates its 16-bit sums with full-range weights; so the
scores are the same on a CPU with VNNI and on one without. Activations are quantised while running, from the mention
at hand alone, their channels evened out before (``training.smooth``). Embeddings are stored as 8-bit too, which is half
of the file.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from torch import Tensor, nn

from training.network import IntentNetwork
from training.smooth import smooth

OPSET = 17
_QUANTISED = ["MatMul", "Gemm", "Attention", "EmbedLayerNormalization", "Gather"]
QUANTISATION = "dynamic int8 after smoothing: weights per channel in 7 bits (no saturation on AVX2), embeddings 8 bits"


class _Logits(nn.Module):
    def __init__(self, network: IntentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network.logits(input_ids, attention_mask)


def export_fp32(network: IntentNetwork, path: Path) -> None:
    """Write the network as a fused float32 ONNX model: ids and mask of shape (batch, tokens) → logits (batch, 5)."""
    network = network.cpu().float().eval()
    encoder = network.encoder
    # The fusion into one Attention operator recognises the plain form of attention, as TorchScript traces it.
    encoder.set_attn_implementation("eager")
    ids = torch.arange(2 * 9).reshape(2, 9) + 5
    names = ["input_ids", "attention_mask"]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter's notes on deprecation and on shapes
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            _Logits(network).eval(),
            (ids, torch.ones_like(ids)),
            str(raw),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names} | {"logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
        fused = optimize_model(
            str(raw),
            model_type="bert",
            num_heads=getattr(encoder.config, "num_attention_heads", 0),
            hidden_size=encoder.config.hidden_size,
            opt_level=0,
        )
    fused.save_model_to_file(str(path))


def quantise(fp32: Path, path: Path, mentions: Sequence[Sequence[int]]) -> None:
    """Write the int8 form of a float32 model; the module's docstring says what is chosen.

    ``mentions`` are token ids of a few hundred mentions, to see activations on.
    """
    # Its one warning asks for a shape inference that cannot see through fused operators.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            smooth(onnx.load(str(fp32)), mentions),
            str(path),
            op_types_to_quantize=_QUANTISED,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.disable(logging.NOTSET)
