"""Smoothing changes nothing in float32, and brings int8 nearer to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model.scorer import session_inputs
from training.base import load_base
from training.export import export_fp32, quantise
from training.network import IntentNetwork, add_masks, target_id
from training.smooth import smooth

MENTIONS = [[2, *np.random.default_rng(seed).integers(5, 60, 3 + seed % 20).tolist(), 3] for seed in range(60)]


@pytest.fixture(scope="module", params=["gelu", "relu"])
def exported(request: pytest.FixtureRequest, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of which one channel after each activation is far larger than the others, as in trained ones."""
    torch.manual_seed(3)
    encoder, tokenizer = load_base(str(tiny_base))
    add_masks(encoder, tokenizer)
    network = IntentNetwork(encoder, target_id(tokenizer), dropout=0.0).eval()
    torch.nn.init.normal_(network.head.weight)
    with torch.no_grad():
        for layer in network.encoder.encoder.layer:  # type: ignore[union-attr]
            layer.intermediate.dense.weight *= 20
            layer.intermediate.dense.weight[7] *= 40
            layer.output.dense.weight[:, 7] /= 40
            layer.intermediate.dense.bias.normal_()  # what is alike is exported once
            if request.param == "relu":
                layer.intermediate.intermediate_act_fn = torch.nn.ReLU()
    path = tmp_path_factory.mktemp("smooth") / "fp32.onnx"
    export_fp32(network, path, 64)
    return path


def logits(model: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.array([session.run(None, session_inputs(session, [ids]))[0][0] for ids in MENTIONS], dtype=np.float64)


def test_nothing_changes_in_float32(exported: Path) -> None:
    model = onnx.load(str(exported))
    smoothed = smooth(model, MENTIONS)
    multiplied = [node for node in smoothed.graph.node if node.name.endswith("_smooth_mul")]
    products = sum(node.op_type in ("MatMul", "Attention") for node in model.graph.node) - 1  # pooling has no weights
    relu = any(node.op_type == "Relu" for node in model.graph.node)
    assert len(multiplied) == products * (2 if relu else 3) / 4  # the others are divided where they are made
    assert np.allclose(logits(smoothed.SerializeToString()), logits(model.SerializeToString()), atol=1e-3)


def test_a_model_without_such_products_stays_as_it_is() -> None:
    width = 4
    weight = onnx.numpy_helper.from_array(np.eye(width, dtype=np.float32), "weight")
    node = onnx.helper.make_node("Gemm", ["states", "weight"], ["logits"])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, width]) for name in ("states", "logits")
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "gemm", ends[:1], ends[1:], [weight]))
    assert smooth(model, MENTIONS) is model


def test_int8_comes_nearer_to_float32(exported: Path, tmp_path: Path) -> None:
    reference = logits(exported.read_bytes())
    quantise(exported, tmp_path / "smoothed.onnx", MENTIONS)
    quantise(exported, tmp_path / "plain.onnx", [])
    smoothed, plain = (
        np.abs(logits((tmp_path / f"{name}.onnx").read_bytes()) - reference).mean() for name in ("smoothed", "plain")
    )
    assert smoothed < 0.7 * plain
    heads = [
        tensor for tensor in onnx.load(str(tmp_path / "plain.onnx")).graph.initializer if list(tensor.dims) == [64, 5]
    ]
    assert [tensor.data_type for tensor in heads] == [onnx.TensorProto.FLOAT]
