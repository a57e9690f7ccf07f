"""What a mention costs inside the process: step by step, end to end, and beside what the processor can do at most.

Leaves out HTTP and files (``eval.bench``).
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from data.schema import Mention, mention_from_json
from model.bundle import MODEL
from model.normalise import normalise
from model.pipeline import TURN, Pipeline, usable_cores
from model.scorer import Scorer
from model.triage import Ready, Triage

_PRODUCTS = frozenset({"MatMul", "MatMulInteger", "QAttention", "Attention", "Gemm", "DynamicQuantizeMatMul"})
_PEAK = (512, 1024, 1024)
"""Rows, inner size and columns of the product that shows what the processor can do."""
SLICE = 16
"""Mentions that are queued together, as the endpoint does."""
LANES = 4
"""Requests under way at once where as much as possible is to be scored."""


def stages(triage: Triage, mentions: Sequence[Mention]) -> dict[str, float]:
    """CPU milliseconds a mention of each step on one thread, taken in turns of mentions as scoring takes them.

    ``infer`` is the model with calibration (of a cascade: of both bundles), ``policy`` makes the result object,
    ``serialise`` its JSON text.
    """
    scorer, now = triage.scorer, datetime.now(UTC)
    fast = scorer if isinstance(scorer, Scorer) else scorer.fast
    took = dict.fromkeys(("normalise", "tokenise", "infer", "policy", "serialise"), 0.0)

    def timed(step: str, work: Callable[[], list[Any]]) -> list[Any]:
        began = time.thread_time()
        done = work()
        took[step] += time.thread_time() - began
        return done

    for start in range(0, len(mentions), TURN):
        turn = mentions[start : start + TURN]
        words = timed("normalise", lambda: [normalise(one.text, target_of(one), scorer.brands) for one in turn])  # noqa: B023
        prepared = timed("tokenise", lambda: [fast.prepare_words(one) for one in words])  # noqa: B023
        readings = timed("infer", lambda: [scorer.read_prepared(one) for one in prepared])  # noqa: B023
        pairs = list(zip(turn, readings, strict=True))
        results = timed("policy", lambda: [triage.answer_read(one, [reading], as_of=now) for one, reading in pairs])  # noqa: B023
        timed("serialise", lambda: [json.dumps(one, separators=(",", ":")) for one in results])  # noqa: B023
    return {step: seconds / len(mentions) * 1000 for step, seconds in took.items()}


def bare(scorer: Scorer, mentions: Sequence[Mention], seconds: float) -> float:
    """Mentions a second of the model alone on tokens made beforehand: nothing that is scored can be faster."""
    inputs = [scorer.session_inputs(one.text, target_of(one)) for one in mentions]
    run = scorer.session.run
    return _side_by_side(lambda number: run(None, inputs[number % len(inputs)]), seconds)


def in_process(triage: Triage, bodies: Sequence[bytes], batch: int, seconds: float) -> float:
    """Mentions a second from the JSON of requests to the JSON of answers, without HTTP.

    One request after another where it is of one mention, else ``LANES`` at once.
    """
    lanes = 1 if batch == 1 else LANES
    now = datetime.now(UTC)

    def texts(turn: Sequence[Ready]) -> list[str]:
        return [json.dumps(one, separators=(",", ":")) for one in triage.answer_ready(turn, as_of=now)]

    sent = 0
    with Pipeline() as pipeline:
        under_way: deque[Any] = deque()
        until = (began := time.perf_counter()) + seconds
        while time.perf_counter() < until:
            values = json.loads(bodies[sent % len(bodies)])["mentions"]
            sent += 1
            lane = pipeline.lane(texts)
            for start in range(0, batch, SLICE):
                ready = [triage.prepare(mention_from_json(value, "1")) for value in values[start : start + SLICE]]
                lane.add(ready, [one.tokens for one in ready], last=start + SLICE >= batch)
            under_way.append(lane)
            if len(under_way) == lanes:
                ",".join(under_way.popleft().result())
        while under_way:
            ",".join(under_way.popleft().result())
        took = time.perf_counter() - began
    return sent * batch / took


def peak(seconds: float) -> float:
    """Thousand million multiplications of bytes a second, of all cores, on products that hide all else."""
    rows, inner, columns = _PEAK
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "peak",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [rows, columns])],
        [onnx.numpy_helper.from_array(np.ones((inner, columns), dtype=np.int8), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {"a": np.ones((rows, inner), dtype=np.uint8)}
    return _side_by_side(lambda _: session.run(None, given), seconds) * rows * inner * columns / 1e9


def products(scorer: Scorer) -> float:
    """Multiplications in matrix products for each token, in millions; those inside attention left out."""
    graph = onnx.load(str(scorer.bundle.folder / MODEL)).graph
    shapes = {tensor.name: tensor.dims for tensor in graph.initializer}
    used = {name for node in graph.node if node.op_type in _PRODUCTS for name in node.input}
    return sum(float(np.prod(shapes[name])) for name in used if len(shapes.get(name, ())) == 2) / 1e6


def target_of(mention: Mention) -> str | None:
    """The one target brand that a mention of the workload has, if any."""
    return mention.brand[0] if mention.brand else None


def _side_by_side(work: Callable[[int], Any], seconds: float) -> float:
    """Calls a second, of as many threads as there are cores."""
    threads = usable_cores()
    began = time.perf_counter()

    def loop(first: int) -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            work(first + done)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(loop, range(threads)))
    return done / (time.perf_counter() - began)
