"""Asked for ten times what it can do, the server does what it can, refuses the rest, and is well again at once."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from data.schema import Mention
from eval.load import closed_loop, request
from eval.workload import real_length, sample_mentions
from model.bundle import TIER_BUNDLES
from model.cascade import load_reader
from serving.limits import Limits
from tests.torture.clients import ask, close
from tests.torture.servers import ROOT, Started, started

BATCH = 64
"""Mentions of a request."""
REQUESTS = 40
"""Different ones."""
CLIENTS = 4
"""That find out what the server can sustain: enough to keep it busy, too few to fill its queue."""
MEASURED_SECONDS = 15.0
FLOOD_SECONDS = 60.0
FLOOD = 10
"""Times what the server can sustain."""
LEAST_FLOOD = 3.0
"""Times that must have been sent in fact, connections being bounded; below that it is no overload."""
CONNECTIONS = 256
LEAST_ANSWERED = 0.85
"""Of what the server can sustain, while it is offered more."""
VANISHING = 200.0
"""Requests a second of the clients that vanish: many times what can be answered."""
SLOWER = 3.0
"""Times the unloaded latency that is normal."""
RECOVERY_SECONDS = 2.0


@pytest.fixture(scope="module")
def mentions() -> list[Mention]:
    """As many as all requests have: as long as real ones, and every eighth as long as six together."""
    short = real_length(sample_mentions(), BATCH * REQUESTS)
    texts = [mention.text for mention in short]
    long = {start: " ".join(texts[start : start + 6]) for start in range(0, len(texts), 8)}
    return [mention.model_copy(update={"text": long.get(i, mention.text)}) for i, mention in enumerate(short)]


@pytest.fixture(scope="module")
def bodies(mentions: list[Mention]) -> list[bytes]:
    """The bodies of the requests."""
    edges = range(0, len(mentions) + 1, BATCH)
    return [
        json.dumps({"mentions": [as_json(mention) for mention in mentions[a:b]]}).encode() for a, b in pairwise(edges)
    ]


def as_json(mention: Mention) -> dict[str, Any]:
    return {"id": mention.id, "text": mention.text, "brand": list(mention.brand)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Started]:
    """It remembers no mention: every one has to be read."""
    with started(tmp_path, "--tier", "fast", "--remember", "0") as ready:
        yield ready


def most_waiting_seconds(mentions: list[Mention], per_second: float) -> float:
    """How long a full queue takes."""
    reader = load_reader(TIER_BUNDLES["fast"])
    tokens = [len(reader.prepare(mention.text, next(iter(mention.brand), None)).ids) for mention in mentions[:1_000]]
    limits = Limits()
    waiting = max(limits.tokens, limits.mentions * reader.bundle.max_tokens)
    return waiting / (per_second * float(np.mean(tokens)))


@contextmanager
def flood(
    server: Started, folder: Path, bodies: list[bytes], rate: float, seconds: float
) -> Iterator[subprocess.Popen[str]]:
    """Offer so many requests a second, in a process of its own; it prints what came of it."""
    path = folder / "bodies.jsonl"
    path.write_bytes(b"\n".join(bodies))
    command = [sys.executable, "-m", "tests.torture.flood", server.port, path, rate, seconds, CONNECTIONS]
    with subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def recovery(port: int, requests: list[bytes], normal: float) -> tuple[float, float]:
    """Seconds until a request alone is answered at its normal speed, and the median of the requests after that.

    Args:
        port: of a server that was overloaded until now.
        requests: each asked alone.
        normal: milliseconds that are; no longer than ``RECOVERY_SECONDS`` are waited for it.
    """

    async def asked() -> tuple[float, float]:
        began = time.perf_counter()
        streams = await asyncio.open_connection("127.0.0.1", port)
        took: list[float] = []
        recovered = math.inf
        try:
            while len(took) < 20:
                sent = time.perf_counter()
                answer = await ask(streams, requests[len(took) % len(requests)])
                now = time.perf_counter()
                if answer.status == 200 and (now - sent) * 1000 <= normal:
                    recovered = min(recovered, sent - began)
                if recovered < math.inf:
                    took.append((now - sent) * 1000)
                elif now - began > RECOVERY_SECONDS:
                    return math.inf, math.inf
        finally:
            await close(streams)
        return recovered, float(np.median(took))

    return asyncio.run(asked())


def busy_seconds() -> float:
    """CPU time that the whole machine has used so far: what others take meanwhile is missing in what is measured."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def test_ten_times_too_much_is_refused_while_the_server_does_what_it_can(
    server: Started, mentions: list[Mention], bodies: list[bytes], tmp_path: Path
) -> None:
    requests = [request("/v1/score", body) for body in bodies]
    alone = closed_loop(server.port, requests, 1, MEASURED_SECONDS)
    p50, p99 = map(float, np.quantile(alone.milliseconds, (0.5, 0.99)))
    sustained = closed_loop(server.port, requests, CLIENTS, MEASURED_SECONDS).described(BATCH)["mentions_per_second"]
    assert sustained is not None
    queue = most_waiting_seconds(mentions, sustained) * 1000

    cpu, busy = server.server.cpu_seconds(), busy_seconds()
    with flood(server, tmp_path, bodies, FLOOD * sustained / BATCH, FLOOD_SECONDS) as process:
        said, _ = process.communicate(timeout=FLOOD_SECONDS + 60)
    cpu, busy = server.server.cpu_seconds() - cpu, busy_seconds() - busy
    assert process.returncode == 0
    came = json.loads(said.splitlines()[-1])
    waited, after = recovery(server.port, requests, SLOWER * p50)

    answered = {int(status): number for status, number in came["answered"].items()}
    goodput = came["in_time"] * BATCH / FLOOD_SECONDS
    sent = came["sent"] * BATCH / FLOOD_SECONDS
    p99_accepted = float(np.quantile(came["milliseconds"], 0.99))
    refusal = float(np.median(came["refusal_milliseconds"] or [0.0]))
    print(
        f"\noverload: {sustained:,.0f} mentions/s sustained; a request of {BATCH} alone p50 {p50:.0f} ms, p99 {p99:.0f}"
        f" ms; {FLOOD * sustained:,.0f} mentions/s offered for {FLOOD_SECONDS:.0f} s, {sent:,.0f} sent"
        f" ({came['held_back']:,} requests held back), {goodput:,.0f} answered ({goodput / sustained:.0%});"
        f" {answered.get(429, 0):,} requests refused, median {refusal:.0f} ms; accepted p99 {p99_accepted:,.0f} ms,"
        f" a full queue {queue:,.0f} ms; normal again after {waited:.1f} s, p50 {after:.0f} ms; CPU seconds: server"
        f" {cpu:.0f}, generator {came['cpu_seconds']:.0f} ({came['cpu_seconds'] / came['seconds']:.0%} of a core),"
        f" others {busy - cpu - came['cpu_seconds']:.0f}"
    )
    assert set(answered) <= {200, 429}
    assert came["unasked"] == []
    assert came["lost"] == came["unanswered"] == came["without_retry_after"] == 0
    assert sent >= LEAST_FLOOD * sustained, "it was never overloaded"
    assert answered[429] > answered[200]
    assert goodput >= LEAST_ANSWERED * sustained
    assert p99_accepted <= queue + SLOWER * p99
    assert waited < RECOVERY_SECONDS
    assert after <= SLOWER * p50
    assert server.process.poll() is None
    assert "Traceback" not in server.said(), server.said()[-4_000:]


def test_clients_that_all_vanish_leave_no_work_behind(server: Started, bodies: list[bytes], tmp_path: Path) -> None:
    requests = [request("/v1/score", body) for body in bodies]
    p50 = float(np.median(closed_loop(server.port, requests, 1, 5.0).milliseconds))
    waits = []
    for _ in range(5):
        with flood(server, tmp_path, bodies, VANISHING, 60.0) as process:
            time.sleep(5.0)
            process.kill()
        waited, after = recovery(server.port, requests, SLOWER * p50)
        waits.append(waited)
        assert waited < RECOVERY_SECONDS
        assert after <= SLOWER * p50
    print(
        f"\nvanished: a request of {BATCH} alone p50 {p50:.0f} ms; clients of {CONNECTIONS} busy connections killed"
        f" {len(waits)} times, normal again after {max(waits):.1f} s at the latest"
    )
    assert "Traceback" not in server.said(), server.said()[-4_000:]
