"""How fast a bundle is on this machine: where the time of a mention goes, and every figure beside its measure.

Leaves out accuracy (``eval.evaluate``), the mentions (``eval.workload``), the peers (``eval.peers``) and how the
figures are told (``eval.speed``). What is compared takes turns in one run, so that a busy machine slows both. The
server and the bulk scorer are the real commands, in processes of their own, and remember no mention.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from data.files import open_writer
from data.schema import MENTION_FIELDS, FirstreplyError, Mention
from eval import peers
from eval.load import closed_loop, offered, request
from eval.processes import Ended, Server, firstreply, free_port, run, served
from eval.progress import counted
from eval.speed import described, load_picture
from eval.stages import LANES, bare, in_process, peak, products, stages, target_of
from eval.workload import real_length, resampled, sample_mentions
from model.bundle import MODEL
from model.cascade import load_reader
from model.pipeline import usable_cores
from model.policy import Policy
from model.scorer import Scorer
from model.triage import Triage

PEER_MENTIONS = 640
"""Mentions that a pipeline reads per turn."""
BATCHES = (1, 8, 64, 256)
"""Mentions of a request."""
CLIENTS = (1, 8, 32, 128)
"""Clients at once that send one mention a request."""
_SATURATING = (64, LANES)
"""Mentions of a request and clients at once where as much as possible is to be scored."""
_OFFERED = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.2, 1.5)
"""Shares of what 32 clients got that are offered."""
_TEXTS = 2_000
"""Mentions that requests are made of."""
_COLD_STARTS = 5
_SOAK_STEP = 10.0
"""Seconds between two looks at the memory."""
_BARE_START = (
    "import sys, onnxruntime as o; s = o.SessionOptions(); s.intra_op_num_threads = 1;"
    " o.InferenceSession(sys.argv[1], s, providers=['CPUExecutionProvider'])"
)


@dataclass(frozen=True)
class BenchJob:
    """What ``firstreply bench`` was asked to measure."""

    bundle: Path
    data: Path | None = None
    """Mentions to read, as long as they are; by default the bundled sample, brought to real lengths."""
    mentions: int = 10_000
    """Mentions of the file that is scored."""
    base: str | None = None
    """Encoder of the peers, a folder or a cached id; by default the bundle's base model."""
    turns: int = 3
    """Turns of what is compared; medians count."""
    seconds: float = 4.0
    """Of each measure of a rate."""
    peers: Path | None = None
    """Folder of the environments of further peers; None leaves them out."""
    load: Path | None = None
    """SVG file for latency against offered load; None leaves that out."""
    rows: tuple[int, ...] = ()
    """Lengths of further files to score, to see how cost grows."""
    soak: float = 0.0
    """Minutes of mixed load in which the server's memory is watched."""


def bench(job: BenchJob) -> int:
    """Measure, say on what, and end with one JSON object on the last line.

    Returns:
        0.

    Raises:
        FirstreplyError: no such bundle or file, or the server, the bulk scorer or a peer failed.
    """
    reader = load_reader(job.bundle)
    bundle = reader.bundle
    triage = Triage(reader, Policy.load(None))
    source = [] if job.data else sample_mentions()

    def mentions(count: int) -> list[Mention]:
        return resampled(job.data, count) if job.data else real_length(source, count)

    measured: dict[str, Any] = {"model": triage.name, "machine": machine()}
    texts = mentions(_TEXTS)
    measured["mean_words"] = float(np.mean([len(mention.text.split()) for mention in texts]))
    measured["mean_tokens"] = float(np.mean([len(reader.prepare(m.text, target_of(m)).ids) for m in texts]))
    _say("steps inside the process")
    measured["milliseconds"] = stages(triage, texts)
    measured["in_process"] = {
        str(batch): in_process(triage, _bodies(texts, batch), batch, job.seconds)
        for batch in counted(BATCHES, "in process, requests of mentions", len(BATCHES))
    }
    with tempfile.TemporaryDirectory(prefix="firstreply-bench-") as folder, ExitStack() as stack:
        measured["cold_start"] = _cold_start(job, bundle.folder / MODEL)
        server = stack.enter_context(_server(job.bundle))
        measured["http"] = _http(server, texts, job.seconds)
        measured |= _turns(job, triage, Path(folder), mentions, server)
        if job.load is not None:
            measured["offered"] = _offered_load(server, texts, measured["http"]["clients"]["32"], job.seconds)
            job.load.write_text(load_picture(measured["offered"]), encoding="utf-8")
        if job.soak:
            measured["soak"] = _soak(server, texts, job.soak * 60)
        measured["memory_mib"] = server.memory()
        measured["rows"] = [_rows(job.bundle, Path(folder), mentions(count)) for count in job.rows]
    print(described(measured))
    print(json.dumps(measured))
    return 0


def _http(server: Server, texts: Sequence[Mention], seconds: float) -> dict[str, Any]:
    """Clients with one mention a request, and requests of many mentions; rates and latencies."""
    by_clients: dict[str, Any] = {}
    for clients in counted(CLIENTS, "HTTP, numbers of clients", len(CLIENTS)):
        by_clients[str(clients)] = closed_loop(server.port, _requests(texts, 1), clients, seconds).described()
    by_batch: dict[str, Any] = {}
    for batch in counted(BATCHES[1:], "HTTP, sizes of requests", len(BATCHES) - 1):
        before = server.cpu_seconds()
        load = closed_loop(server.port, _requests(texts, batch), LANES, seconds)
        cpu = (server.cpu_seconds() - before) / max(1, load.in_all * batch) * 1000
        by_batch[str(batch)] = {**load.described(batch), "cpu_seconds_per_1000": cpu}
    return {"clients": by_clients, "batches": by_batch}


def _turns(
    job: BenchJob, triage: Triage, folder: Path, mentions: Callable[[int], list[Mention]], server: Server
) -> dict[str, Any]:
    """What is held against each other, side by side: all rates of every turn, their medians, and the ratios."""
    texts, scorer = mentions(_TEXTS), triage.scorer
    batch, clients = _SATURATING
    source, target = folder / "mentions.jsonl", folder / "results.jsonl"
    write_mentions(source, mentions(job.mentions))

    def http(to: Server, of: int, at_once: int, path: str = "/v1/score", body: Any = None) -> dict[str, Any]:
        return closed_loop(to.port, _requests(texts, of, path, body), at_once, job.seconds).described(of)

    sides: dict[str, Callable[[], float]] = {}
    if isinstance(scorer, Scorer):
        sides["bare_sessions"] = lambda: bare(scorer, texts, job.seconds)
        sides["peak_gops"] = lambda: peak(1.0)
    sides[f"in_process_{batch}"] = lambda: in_process(triage, _bodies(texts, batch), batch, job.seconds)
    sides[f"http_{batch}"] = lambda: http(server, batch, clients)["mentions_per_second"]
    sides["http_32_clients"] = lambda: http(server, 1, 32)["mentions_per_second"]
    sides["http_one_client_p50_ms"] = lambda: http(server, 1, 1)["p50_ms"]
    sides["bulk"] = lambda: job.mentions / _score(job.bundle, source, target, job.mentions).seconds
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        encoder = folder / "peer" / "encoder"
        name = peers.save_encoder(job.base, scorer.bundle, encoder)
        if name is None:
            skipped["peers"] = (
                f"{job.base or scorer.bundle.base_model} cannot be loaded here; name a folder with --base"
            )
        else:
            read = [mention.text for mention in mentions(min(PEER_MENTIONS, job.mentions))]
            cores = usable_cores()
            kinds: dict[str, Path | str] = {peers.TRANSFORMERS: sys.executable}
            if job.peers is not None:
                kinds[peers.OPTIMUM] = peers.environment(job.peers, peers.OPTIMUM)
            for kind, python in kinds.items():
                _say(f"starting the pipeline of {kind}")
                theirs = stack.enter_context(peers.pipeline(kind, python, encoder, read, cores))
                sides[kind] = lambda theirs=theirs: len(read) / theirs.seconds()  # type: ignore[misc]
            if job.peers is not None:
                _say("starting the server of infinity-emb")
                python = peers.environment(job.peers, peers.INFINITY)
                infinity = stack.enter_context(peers.infinity(python, encoder))

                def ask(of: int, at_once: int) -> dict[str, Any]:
                    return http(infinity, of, at_once, peers.INFINITY_PATH, peers.infinity_body)

                sides["infinity_32_clients"] = lambda: ask(1, 32)["mentions_per_second"]
                sides["infinity_one_client_p50_ms"] = lambda: ask(1, 1)["p50_ms"]
                sides[f"infinity_{batch}"] = lambda: ask(batch, clients)["mentions_per_second"]
            else:
                skipped["optimum, infinity-emb"] = "give --peers DIR, a folder for their environments"
        turns: dict[str, list[float]] = {side: [] for side in sides}
        for turn in range(1, job.turns + 1):
            for side, measure in sides.items():
                _say(f"turn {turn} of {job.turns}: {side}")
                turns[side].append(measure())
        memory = {"infinity_mib": infinity.memory()} if "infinity_32_clients" in sides else {}
    medians = {side: float(np.median(values)) for side, values in turns.items()}
    if isinstance(scorer, Scorer):
        gops = medians["bare_sessions"] * products(scorer) / 1000
        medians["bare_gops"] = gops * float(np.mean([len(scorer.prepare(m.text, target_of(m)).ids) for m in texts]))
    return {
        "encoder_of_peers": name,
        "peers": peers.PINNED if job.peers is not None and name is not None else {},
        "skipped": skipped,
        "turns": turns,
        "medians": medians | memory,
        "ratios": _ratios(medians),
    }


def _ratios(medians: dict[str, float]) -> dict[str, float]:
    """How often one side goes into another, where both were measured."""
    batch = _SATURATING[0]
    wanted = {
        "bulk_to_transformers": ("bulk", peers.TRANSFORMERS),
        "bulk_to_optimum": ("bulk", peers.OPTIMUM),
        "bulk_to_bare": ("bulk", "bare_sessions"),
        "in_process_to_bare": (f"in_process_{batch}", "bare_sessions"),
        "bare_to_peak": ("bare_gops", "peak_gops"),
        f"http_{batch}_to_in_process": (f"http_{batch}", f"in_process_{batch}"),
        "http_32_clients_to_infinity": ("http_32_clients", "infinity_32_clients"),
        f"http_{batch}_to_infinity": (f"http_{batch}", f"infinity_{batch}"),
        "one_client_p50_to_infinity": ("http_one_client_p50_ms", "infinity_one_client_p50_ms"),
    }
    return {
        name: medians[one] / medians[other]
        for name, (one, other) in wanted.items()
        if one in medians and medians.get(other)
    }


def _cold_start(job: BenchJob, model: Path) -> dict[str, float]:
    """Seconds from nothing to the first scored mention, and to a loaded bare session; by turns, medians."""
    line = json.dumps({"text": "Third outage this week. I am leaving @northtel for @skyfone.", "brand": "northtel"})
    ours, theirs = [], []
    for _ in counted(range(_COLD_STARTS), "cold starts", _COLD_STARTS):
        ours.append(run(firstreply("score", "-", "--remember", 0, "--bundle", job.bundle), line + "\n").seconds)
        theirs.append(run([sys.executable, "-c", _BARE_START, str(model)]).seconds)
    first, session = float(np.median(ours)), float(np.median(theirs))
    return {"seconds": first, "bare_session_seconds": session, "ratio": first / session}


def _offered_load(
    server: Server, texts: Sequence[Mention], most: dict[str, Any], seconds: float
) -> list[dict[str, Any]]:
    """Latency of single mentions that come at random, at shares of what 32 clients got."""
    rows = []
    for share in counted(_OFFERED, "offered loads", len(_OFFERED)):
        rate = share * most["mentions_per_second"]
        rows.append({"offered": rate, **offered(server.port, _requests(texts, 1), rate, seconds).described()})
    return rows


def _soak(server: Server, texts: Sequence[Mention], seconds: float) -> dict[str, float]:
    """The server's memory under requests of mixed sizes: in the first tenth of the time, in the last, and the most."""
    mixed = [one for batch in BATCHES for one in _requests(texts, batch)[: 256 // batch]]
    seen, steps = [], max(10, round(seconds / _SOAK_STEP))
    for _ in counted(range(steps), "soaking, steps", steps):
        closed_loop(server.port, mixed, 8, min(_SOAK_STEP, seconds / 10))
        seen.append(server.memory())
    tenth = max(1, len(seen) // 10)
    return {
        "minutes": seconds / 60,
        "first_mib": float(np.median(seen[:tenth])),
        "last_mib": float(np.median(seen[-tenth:])),
        "most_mib": max(seen),
    }


def _rows(bundle: Path, folder: Path, mentions: Sequence[Mention]) -> dict[str, float]:
    """Seconds and memory of ``firstreply score`` on one more file."""
    source, target = folder / "more.jsonl", folder / "more.results.jsonl"
    write_mentions(source, mentions)
    _say(f"a file of {len(mentions):,} mentions")
    ended = _score(bundle, source, target, len(mentions))
    return {
        "rows": len(mentions),
        "seconds": ended.seconds,
        "cpu_seconds": ended.cpu_seconds,
        "peak_memory_mib": ended.peak_memory,
    }


def _server(bundle: Path) -> AbstractContextManager[Server]:
    """The endpoint in a process of its own, ready to answer."""
    port = free_port()
    command = firstreply("serve", "--port", port, "--remember", 0, "--bundle", bundle)
    return served(command, port, "/readyz")


def _bodies(texts: Sequence[Mention], batch: int) -> list[bytes]:
    """Bodies of requests of so many mentions each."""
    values = [mention.model_dump(mode="json", exclude_defaults=True) for mention in texts]
    return [json.dumps({"mentions": some}).encode() for some in _batches(values, batch)]


def _requests(texts: Sequence[Mention], batch: int, path: str = "/v1/score", body: Any = None) -> list[bytes]:
    """The same as they go over the wire; ``body`` makes another endpoint's of a list of texts."""
    if body is None:
        return [request(path, one) for one in _bodies(texts, batch)]
    return [request(path, body([one.text for one in some])) for some in _batches(texts, batch)]


def _batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Whole batches, at least one; what is left over is left out."""
    return [items[start : start + size] for start in range(0, max(1, len(items) - size + 1), size)]


def _score(bundle: Path, source: Path, target: Path, expected: int) -> Ended:
    """One ``firstreply score`` from start to exit."""
    target.unlink(missing_ok=True)
    ended = run(firstreply("score", source, "-o", target, "--remember", 0, "--bundle", bundle))
    with target.open("rb") as results:
        lines = sum(1 for _ in results)
    if lines != expected:
        raise FirstreplyError(f"firstreply score wrote {lines:,} results for {expected:,} mentions")
    return ended


def write_mentions(path: Path, mentions: Sequence[Mention]) -> None:
    """Write mentions as a file that ``firstreply score`` reads; the extension says which format."""
    with open_writer(str(path), MENTION_FIELDS) as writer:
        for mention in mentions:
            row = mention.model_dump(mode="json", exclude_none=True)
            author = row.pop("author", {})
            writer.write({**row, **author})


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
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
