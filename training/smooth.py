"""Evens out activations before quantisation, so that one large channel does not cost the others their precision.

SmoothQuant (Xiao et al., ICML 2023): what goes into a matrix product is divided channel by channel, and the rows of
the weights are multiplied by the same, which changes nothing in float32. Activations are quantised as one tensor,
weights by output channel, so it pays to move the spread of the channels into the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from model.scorer import session_inputs

_AFTER_ACTIVATION, _ELSEWHERE = 0.9, 0.5
"""Share of the spread that moves into the weights: after GELU, whose channels differ most, and elsewhere.

Of 0.5 to 1 and 0.3 to 0.85 those with the least change of the logits against float32 (``eval/LOG.md``).
"""
_SMALLEST = 1e-3
_GELU = frozenset({"Gelu", "BiasGelu", "FastGelu"})


def smooth(model: onnx.ModelProto, mentions: Sequence[Sequence[int]]) -> onnx.ModelProto:
    """The same model with every large matrix product evened out; a product of another form stays as it is.

    Args:
        model: fused float32, as ``training.export`` writes it.
        mentions: token ids of mentions to see activations on, a few hundred; without any, nothing is evened out.
    """
    if not mentions:
        return model
    smoothed = onnx.ModelProto()
    smoothed.CopyFrom(model)
    graph = smoothed.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    products = [
        node
        for node in graph.node
        if node.op_type in ("MatMul", "Attention") and node.input[0] in made_by
        if node.input[1] in weights and len(weights[node.input[1]].dims) == 2 and uses[node.input[1]] == 1
    ]
    if not products:
        return model
    largest = _largest(model, sorted({node.input[0] for node in products}), mentions)
    for node in products:
        activation, tensor = node.input[0], weights[node.input[1]]
        table = numpy_helper.to_array(tensor)
        if largest[activation].shape != table.shape[:1]:
            continue
        share = _AFTER_ACTIVATION if made_by[activation].op_type in _GELU else _ELSEWHERE
        rows = np.maximum(np.abs(table).max(axis=1), _SMALLEST)
        scale = np.maximum(largest[activation], _SMALLEST) ** share / rows ** (1 - share)
        scale = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(table * scale[:, None], tensor.name))
        before = _columns_before(activation, made_by, weights, uses)
        for columns in before:
            values = numpy_helper.to_array(columns).copy()
            values[..., -len(scale) :] /= scale
            columns.CopyFrom(numpy_helper.from_array(values, columns.name))
        if before:
            continue
        divisor = f"{tensor.name}_smooth"
        graph.initializer.append(numpy_helper.from_array(1 / scale, divisor))
        output = f"{divisor}_output"
        division = helper.make_node("Mul", [activation, divisor], [output], name=f"{divisor}_mul")
        graph.node.insert(list(graph.node).index(node), division)
        node.input[0] = output
    return smoothed


def _columns_before(
    name: str,
    made_by: Mapping[str, onnx.NodeProto],
    weights: Mapping[str, onnx.TensorProto],
    uses: Mapping[str, int],
) -> list[onnx.TensorProto]:
    """Weights and bias whose last columns can be divided in the activation's place, which then costs nothing.

    A weighted sum of values (``Attention``, whose last third are the values) and a ReLU of a linear layer are divided
    where the columns of that layer are. Empty where it is something else, or somebody else uses it.
    """
    made = made_by[name]
    if uses[name] == 1 and made.op_type == "Relu":
        name, made = made.input[0], made_by[made.input[0]]
        product = made_by.get(next((given for given in made.input if given not in weights), ""))
        bias = next((given for given in made.input if given in weights), "")
        if made.op_type != "Add" or product is None or product.op_type != "MatMul" or uses[product.output[0]] != 1:
            return []
        used = [product.input[1], bias]
    elif made.op_type == "Attention":
        used = [made.input[1], made.input[2]]
    else:
        return []
    return [weights[one] for one in used] if uses[name] == 1 and all(uses[one] == 1 for one in used) else []


def _largest(
    model: onnx.ModelProto, names: Sequence[str], mentions: Sequence[Sequence[int]]
) -> dict[str, NDArray[np.float32]]:
    """The largest absolute value of each channel of these tensors over all mentions."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # so that the same mentions give the same bits
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    largest: dict[str, NDArray[np.float32]] = {}
    for ids in mentions:
        outputs = session.run(list(names), session_inputs(session, [ids]))
        for name, values in zip(names, outputs, strict=True):
            seen = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest[name], seen) if name in largest else seen
    return largest
