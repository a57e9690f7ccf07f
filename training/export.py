"""The trained network → ``model.onnx``: exported, fused, and quantised to int8.

What is chosen, and why: weights are 8-bit per output channel with one bit to spare (``reduce_range``), because the
AVX2 instruction that multiplies unsigned by signed bytes saturates its 16-bit sums with full-range weights; so the
scores are the same on a CPU with VNNI and on one without. Activations are quantised while running, from the mention
at hand alone, their channels evened out before (``training.smooth``). GELU is computed by way of tanh, which is far
nearer to it than 8 bits are. Embeddings are stored as 8-bit too, which is half of the file. The head stays float32.
"""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.onnx_model import OnnxModel
from onnxruntime.transformers.optimizer import optimize_model
from torch import Tensor, nn
from transformers import BertModel, PreTrainedModel
from transformers.models.bert.modeling_bert import BertEmbeddings

from training.network import IntentNetwork
from training.smooth import smooth

OPSET = 17
_MASK = 3
"""Place of the mask among the inputs of the operator ``Attention``."""
_QUANTISED = ["MatMul", "Attention", "EmbedLayerNormalization", "Gather"]
QUANTISATION = (
    "dynamic int8 after smoothing: weights per channel in 7 bits (no saturation on AVX2), embeddings in 8,"
    " head in float32"
)


class _Logits(nn.Module):
    """The network on mentions that are equally long, and so without padding: fewer and simpler operators."""

    def __init__(self, network: IntentNetwork) -> None:
        super().__init__()
        self.network = network
        self.has_types = "token_type_ids" in inspect.signature(network.encoder.forward).parameters

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of ids and mask of shape (batch, tokens)."""
        types = {"token_type_ids": torch.zeros_like(input_ids)} if self.has_types else {}
        hidden = self.network.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        at_target = (input_ids == self.network.target_id).to(hidden.dtype).unsqueeze(1)
        target = (at_target @ hidden).squeeze(1) / at_target.sum(2).clamp(min=1)
        result: Tensor = self.network.head(torch.cat([hidden.mean(1), target], dim=1))
        return result


class _Embeddings(nn.Module):
    """BERT's for texts of one type, what is the same for every text summed up beforehand: one lookup instead of three.

    Args:
        embeddings: what it stands for.
        longest: tokens that are read at most.
    """

    def __init__(self, embeddings: BertEmbeddings, longest: int) -> None:
        super().__init__()
        self.words = embeddings.word_embeddings
        places = embeddings.position_embeddings.weight[:longest] + embeddings.token_type_embeddings.weight[0]
        self.register_buffer("places", places.detach())
        self.places: Tensor
        self.norm = embeddings.LayerNorm

    def forward(self, input_ids: Tensor, **_: Any) -> Tensor:
        """Embeddings of shape (batch, tokens, width)."""
        embedded: Tensor = self.norm(self.words(input_ids) + self.places[: input_ids.shape[1]])
        return embedded


@contextmanager
def _one_lookup(encoder: PreTrainedModel, longest: int) -> Iterator[None]:
    """The encoder with ``_Embeddings``, if it is a BERT, until the end."""
    embeddings = encoder.embeddings if isinstance(encoder, BertModel) else None
    if embeddings is not None:
        encoder.embeddings = _Embeddings(embeddings, longest)
    try:
        yield
    finally:
        if embeddings is not None:
            encoder.embeddings = embeddings


def export_fp32(network: IntentNetwork, path: Path, max_tokens: int) -> None:
    """Write the network as a fused float32 ONNX model: ids of shape (batch, tokens) → logits (batch, 5).

    The mentions of a batch have the same number of tokens, ``max_tokens`` at most. Where the encoder's attention cannot
    be fused, the model also asks for ``attention_mask``, ones of the same shape.
    """
    network = network.cpu().float().eval()
    encoder = network.encoder
    # The fusion into one Attention operator recognises the plain form of attention, as TorchScript traces it.
    encoder.set_attn_implementation("eager")
    ids = torch.arange(2 * 9).reshape(2, 9) + 5
    names = ["input_ids", "attention_mask"]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _one_lookup(encoder, max_tokens):
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
        options = FusionOptions("bert")
        # Fused with what is added before, normalising a layer takes seven times as long (``eval/LOG.md``).
        options.enable_skip_layer_norm = options.enable_embed_layer_norm = False
        fused = optimize_model(
            str(raw),
            model_type="bert",
            num_heads=getattr(encoder.config, "num_attention_heads", 0),
            hidden_size=encoder.config.hidden_size,
            opt_level=0,
            optimization_options=options,
        )
    _without_mask(fused)
    fused.save_model_to_file(str(path))


def _without_mask(fused: OnnxModel) -> None:
    for node in fused.model.graph.node:
        if node.op_type == "Attention" and len(node.input) > _MASK:
            node.input[_MASK] = ""
    fused.prune_graph()
    used = {name for node in fused.model.graph.node for name in node.input}
    for given in list(fused.model.graph.input):
        if given.name not in used:
            fused.model.graph.input.remove(given)


def quantise(fp32: Path, path: Path, mentions: Sequence[Sequence[int]]) -> None:
    """Write the int8 form of a float32 model; the module's docstring says what is chosen.

    ``mentions`` are token ids of a few hundred mentions, to see activations on.
    """
    model = smooth(onnx.load(str(fp32)), mentions)
    # The head has five columns: preparing its input takes longer than multiplying it. A Gemm becomes a MatMul first.
    heads = [f"{node.name}_MatMul" for node in model.graph.node if node.op_type == "Gemm"]
    for node in model.graph.node:
        if node.op_type == "BiasGelu":
            node.op_type = "FastGelu"
    # Its one warning asks for a shape inference that cannot see through fused operators.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            model,
            str(path),
            op_types_to_quantize=_QUANTISED,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=heads,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.disable(logging.NOTSET)
