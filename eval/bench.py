"""How fast a bundle is on this machine: one mention over HTTP and a file of mentions, each beside its measure.

Leaves out accuracy (``eval.evaluate``) and the mentions (``eval.workload``). The two sides of a comparison take turns
in one run, so that a busy machine slows both. The server and the bulk scorer are the real commands, in processes of
their own.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from data.files import open_writer
from data.schema import MENTION_FIELDS, FirstreplyError, Mention
from eval.peer import BATCH, Peer, load_peer
from eval.progress import counted
from eval.workload import real_length, resampled, sample_mentions
from model.pipeline import usable_cores
from model.scorer import Scorer

BLOCK = 25
"""Calls of one side before the other has its turn; the first block of each is warm-up."""
PEER_MENTIONS = 640
"""Mentions that the pipeline reads per turn; its time for the whole file is extrapolated from them."""

_START_SECONDS = 120.0


@dataclass(frozen=True)
class BenchJob:
    """What ``firstreply bench`` was asked to measure."""

    bundle: Path
    data: Path | None = None
    """Mentions to read, as long as they are; by default the bundled sample, brought to real lengths."""
    mentions: int = 10_000
    """Mentions of the file that is scored."""
    requests: int = 300
    """Single mentions sent over HTTP."""
    base: str | None = None
    """Encoder of the transformers pipeline, a folder or a cached id; by default the bundle's base model."""
    repeats: int = 3
    """Turns of the bulk scorer and of the pipeline; their medians count."""


def bench(job: BenchJob) -> int:
    """Measure, say on what, and end with one JSON object on the last line.

    Returns:
        0.

    Raises:
        FirstreplyError: no such bundle or file, or the server or the bulk scorer failed.
    """
    for name in ("mentions", "requests", "repeats"):
        if getattr(job, name) < 1:
            raise FirstreplyError(f"bench: {name} is {getattr(job, name)}; at least 1 is measured")
    scorer = Scorer.load(job.bundle)
    source = [] if job.data else sample_mentions()

    def mentions(count: int) -> list[Mention]:
        return resampled(job.data, count) if job.data else real_length(source, count)

    machine = _machine()
    latency = _latency(job, scorer, mentions(job.requests))
    bulk = _bulk(job, scorer, mentions)
    words = float(np.mean([len(mention.text.split()) for mention in mentions(job.mentions)]))
    measured = {"model": scorer.name, "machine": machine, "mean_words": words, "http": latency, "bulk": bulk}
    print(_described(measured))
    print(json.dumps(measured))
    return 0


def _latency(job: BenchJob, scorer: Scorer, mentions: Sequence[Mention]) -> dict[str, Any]:
    """One mention over HTTP on an idle server, and the encoder alone on the same tokens, by turns; milliseconds."""
    bodies = [
        json.dumps({"mentions": [mention.model_dump(mode="json", exclude_defaults=True)]}) for mention in mentions
    ]
    inputs = [scorer.session_inputs(mention.text, _target(mention)) for mention in mentions]
    with _server(job.bundle) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)  # sets TCP_NODELAY itself
        sides: tuple[Callable[[int], Any], ...] = (
            lambda row: _post(connection, bodies[row]),
            lambda row: scorer.session.run(None, inputs[row]),
        )
        for side in sides:
            for row in range(min(BLOCK, len(mentions))):
                side(row)
        took: list[list[float]] = [[], []]
        blocks = range(0, len(mentions), BLOCK)
        for start in counted(blocks, f"HTTP, blocks of {BLOCK} requests", len(blocks)):
            for number, side in enumerate(sides):
                for row in range(start, min(start + BLOCK, len(mentions))):
                    began = time.perf_counter()
                    side(row)
                    took[number].append((time.perf_counter() - began) * 1000)
        connection.close()
    over_http, bare = (np.array(one) for one in took)
    return {
        "requests": len(mentions),
        "median_ms": float(np.median(over_http)),
        "p99_ms": float(np.quantile(over_http, 0.99)),
        "bare_median_ms": float(np.median(bare)),
        "bare_p99_ms": float(np.quantile(bare, 0.99)),
        "ratio_of_medians": float(np.median(over_http) / np.median(bare)),
    }


def _bulk(job: BenchJob, scorer: Scorer, mentions: Callable[[int], list[Mention]]) -> dict[str, Any]:
    """``firstreply score`` on a file, and the pipeline on mentions of the same lengths, by turns; seconds."""
    peer = load_peer(job.base, scorer.bundle.base_model, scorer.bundle.max_tokens, usable_cores())
    texts = [mention.text for mention in mentions(min(PEER_MENTIONS, job.mentions))]
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="firstreply-bench-") as folder:
        source, target = Path(folder, "mentions.jsonl"), Path(folder, "results.jsonl")
        _write_mentions(source, mentions(job.mentions))
        for turn in range(1, job.repeats + 1):
            print(f"bulk, turn {turn} of {job.repeats}: firstreply score", file=sys.stderr)
            ours.append(_score(job.bundle, source, target, job.mentions))
            if isinstance(peer, Peer):
                print(f"bulk, turn {turn} of {job.repeats}: transformers pipeline", file=sys.stderr)
                theirs.append(peer.seconds(texts))
    seconds = float(np.median(ours))
    bulk: dict[str, Any] = {
        "mentions": job.mentions,
        "seconds": seconds,
        "turns_seconds": ours,
        "mentions_per_second": job.mentions / seconds,
    }
    if not isinstance(peer, Peer):
        return {**bulk, "pipeline": None, "pipeline_skipped": peer}
    extrapolated = float(np.median(theirs)) / len(texts) * job.mentions
    pipeline = {
        "encoder": peer.encoder,
        "measured_on": len(texts),
        "turns_seconds": theirs,
        "seconds": extrapolated,
        "mentions_per_second": job.mentions / extrapolated,
        "speedup": extrapolated / seconds,
    }
    return {**bulk, "pipeline": pipeline}


def _described(measured: dict[str, Any]) -> str:
    machine, latency, bulk = measured["machine"], measured["http"], measured["bulk"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    busy = " (not idle: everything here is slower than it would be)" if machine["load_at_start"] > 1 else ""
    lines = [
        f"{measured['model']} on {machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        f"  {versions}; load average at the start {machine['load_at_start']:.2f}{busy}",
        f"  mentions of {measured['mean_words']:.1f} words on average; no result is cached anywhere",
        f"one mention over HTTP, {latency['requests']:,} requests one after another on one connection:",
        f"  POST /v1/score    median {latency['median_ms']:.2f} ms, p99 {latency['p99_ms']:.2f} ms",
        f"  the encoder alone median {latency['bare_median_ms']:.2f} ms, p99 {latency['bare_p99_ms']:.2f} ms",
        f"  ratio of medians  {latency['ratio_of_medians']:.2f}",
        f"a file of {bulk['mentions']:,} mentions, median of {len(bulk['turns_seconds'])} turns:",
        f"  firstreply score  {bulk['seconds']:.1f} s, {bulk['mentions_per_second']:.0f} a second, start-up included",
    ]
    pipeline = bulk["pipeline"]
    if pipeline is None:
        return "\n".join([*lines, f"  the transformers pipeline was not measured: {bulk['pipeline_skipped']}"])
    lines += [
        f"  the pipeline      {pipeline['seconds']:.1f} s, {pipeline['mentions_per_second']:.0f} a second, start-up",
        f"                    left out, extrapolated from {pipeline['measured_on']:,} mentions of the same lengths",
        f"                    (transformers, float32, batches of {BATCH}, {machine['cores']} threads,",
        f"                    random head, encoder {pipeline['encoder']})",
        f"  firstreply is {pipeline['speedup']:.2f} times as fast",
    ]
    return "\n".join(lines)


@contextmanager
def _server(bundle: Path) -> Iterator[int]:
    """The endpoint in a process of its own, ready to answer; gives its port."""
    port = _free_port()
    command = [sys.executable, "-m", "firstreply", "serve", "--port", str(port), "--bundle", str(bundle)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            _wait_until_ready(port, process, said)
            yield port
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], said: IO[str]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise FirstreplyError(f"firstreply serve ended with status {process.returncode}: {_last_line(said)}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass  # it does not listen yet
        finally:
            connection.close()
        time.sleep(0.1)
    raise FirstreplyError(f"firstreply serve was not ready after {_START_SECONDS:.0f} s: {_last_line(said)}")


def _post(connection: http.client.HTTPConnection, body: str) -> None:
    connection.request("POST", "/v1/score", body.encode(), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != http.client.OK or b'"error"' in answer:
        raise FirstreplyError(f"POST /v1/score answered {response.status}: {answer[:300].decode(errors='replace')}")


def _score(bundle: Path, source: Path, target: Path, expected: int) -> float:
    """Seconds of one ``firstreply score`` from start to exit."""
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", "firstreply", "score", str(source), "-o", str(target), "--bundle", str(bundle)]
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        status = subprocess.run(command, stdout=said, stderr=said, check=False).returncode
        took = time.perf_counter() - began
        if status != 0:
            raise FirstreplyError(f"firstreply score ended with status {status}: {_last_line(said)}")
    with target.open("rb") as results:
        lines = sum(1 for _ in results)
    if lines != expected:
        raise FirstreplyError(f"firstreply score wrote {lines:,} results for {expected:,} mentions")
    return took


def _write_mentions(path: Path, mentions: Sequence[Mention]) -> None:
    with open_writer(path, MENTION_FIELDS) as writer:
        for mention in mentions:
            row = mention.model_dump(mode="json", exclude_none=True)
            writer.write({**row, **row.pop("author")})


def _target(mention: Mention) -> str | None:
    return mention.brand[0] if mention.brand else None


def _last_line(said: IO[str]) -> str:
    said.seek(0)
    lines = said.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _machine() -> dict[str, Any]:
    """What was measured on, for the line that goes with every figure."""
    cpuinfo = Path("/proc/cpuinfo")
    named = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    versions = {"Python": platform.python_version()}
    for package in ("onnxruntime", "tokenizers", "numpy", "torch", "transformers"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": named[0].partition(":")[2].strip() if named else platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "versions": versions,
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"),
    }
