"""Other projects' ways to read the same encoder: a program that is run in the environment of the one that it measures.

``save BASE FOLDER TOKENS`` writes the encoder with a random head, which is as fast as a trained one.
``read KIND FOLDER
THREADS`` reads a JSON list of texts in the first line of stdin, and then all of them once for every further line; what
that took, in seconds, goes to stdout. It stands alone: of this project nothing is imported.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

BATCH = 32
LABELS = 5


def save(base: str, folder: str, tokens: str) -> None:
    """Write encoder, tokenizer (which cuts longer texts) and random head; nothing is downloaded."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=LABELS, local_files_only=True
    )
    tokenizer.model_max_length = int(tokens)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def pipeline(kind: str, folder: str, threads: int) -> Any:
    """The pipeline ``text-classification`` on a CPU in float32, by torch or by onnxruntime."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if kind == "transformers":
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    else:
        from optimum.onnxruntime import ORTModelForSequenceClassification

        model = ORTModelForSequenceClassification.from_pretrained(folder, export=True)
    return transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device="cpu", batch_size=BATCH, top_k=None
    )


def main() -> None:
    """Run one of the two commands."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    if sys.argv[1] == "save":
        save(*sys.argv[2:])
        return
    kind, folder, threads = sys.argv[2:]
    classify = pipeline(kind, folder, int(threads))
    texts = json.loads(sys.stdin.readline())
    classify(texts[:BATCH], truncation=True)
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        classify(texts, truncation=True)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
