"""What a stream of posts takes in machines: ``python -m eval.sizing`` measures the bulk scorer here, and calculates.

Leaves out everything else about speed (``eval.bench``). Each tier scores two lengths of mentions with either engine, in
turns; what the longer takes beyond the shorter is what its mentions cost, and the rest is the start. The calculation
goes by CPU time, which other work on the machine changes less than the clock. No reading is remembered.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from data.schema import FirstreplyError, Mention
from eval.bench import machine, write_mentions
from eval.processes import firstreply, last_line, memory_of_one
from eval.workload import real_length, sample_mentions
from model.bundle import TIER_BUNDLES

ENGINES = ("local", "ray")
_FILES = 8
"""Files that the mentions come in, so that actors end together. The local engine reads them as one."""
_SHORT = 4
"""The shorter length is this part of the longer one."""
_LOOK_SECONDS = 0.1
_MIB = 2**20


@dataclass(frozen=True)
class Stream:
    """What is to be scored, and on what machines."""

    posts: float
    """A day."""
    peak: float
    """Posts of the busiest hour, by those of a mean one."""
    utilisation: float
    """Share of the cores' time that may be used in that hour: the rest is for machines that are lost or slower."""
    machine_cores: int
    machine_mib: float
    """Memory of a machine besides that of its actors: the system, Ray's own processes and objects."""


@dataclass(frozen=True)
class Ran:
    """What a job took from start to end."""

    seconds: float
    cpu_seconds: float
    actor_mib: float
    """The most memory that one process of its kind held, with its share of what it has in common with others."""


@dataclass(frozen=True)
class Fleet:
    """What a stream needs."""

    cores: int
    """As many actors, each of which has one."""
    machines: int
    memory_gib: float
    """Of each machine."""


def fleet(stream: Stream, core_seconds: float, actor_mib: float) -> Fleet:
    """Cores = posts a day / 86,400 x peak x core-seconds of a post / utilisation, in whole machines."""
    cores = math.ceil(stream.posts / 86_400 * stream.peak * core_seconds / stream.utilisation)
    memory = (stream.machine_cores * actor_mib + stream.machine_mib) / 1024
    return Fleet(cores, math.ceil(cores / stream.machine_cores), memory)


def measure(tier: str, mentions: Sequence[Mention], turns: int) -> dict[str, Any]:
    """What a tier's mentions cost with either engine: figures of each, by the least that a length took in any turn.

    Raises:
        FirstreplyError: a job failed.
    """
    short, long = len(mentions) // _SHORT, len(mentions)
    ran: dict[str, list[tuple[Ran, Ran]]] = {engine: [] for engine in ENGINES}
    with tempfile.TemporaryDirectory(prefix="firstreply-sizing-") as folder:
        for _ in range(turns):
            for engine in ENGINES:
                print(f"{tier}, {engine} engine", file=sys.stderr, flush=True)
                both = [_score(Path(folder), engine, tier, mentions[:count]) for count in (short, long)]
                ran[engine].append((both[0], both[1]))
    figures: dict[str, Any] = {}
    for engine, pairs in ran.items():
        shorter, longer = zip(*pairs, strict=True)
        cpu = min(one.cpu_seconds for one in longer) - min(one.cpu_seconds for one in shorter)
        seconds = min(one.seconds for one in longer) - min(one.seconds for one in shorter)
        if min(cpu, seconds) <= 0:
            raise FirstreplyError(f"{long:,} mentions are done before a start is over; give more --mentions")
        figures[engine] = {
            "core_ms": cpu / (long - short) * 1000,
            "per_core_second": (long - short) / cpu,
            "per_second": (long - short) / seconds,
            "actor_mib": max(one.actor_mib for one in longer),
        }
    return figures


def _score(folder: Path, engine: str, tier: str, mentions: Sequence[Mention]) -> Ran:
    """One job, on a new input and output."""
    with tempfile.TemporaryDirectory(dir=folder) as job:
        source, target = Path(job, "in"), Path(job, "out.jsonl")
        source.mkdir()
        size = len(mentions) if engine == "local" else math.ceil(len(mentions) / _FILES)
        for first in range(0, len(mentions), size):
            write_mentions(source / f"{first:09d}.jsonl", mentions[first : first + size])
        given = source / f"{0:09d}.jsonl" if engine == "local" else source
        options = ("--engine", engine, "--tier", tier, "--remember", 0)
        ran = _watched(firstreply("score", given, "-o", target, *options))
        parts = [target] if engine == "local" else sorted(target.glob("part-*"))
        if sum(part.read_bytes().count(b"\n") for part in parts) != len(mentions):
            raise FirstreplyError(f"firstreply score --engine {engine} did not write {len(mentions):,} results")
    return ran


def _watched(command: Sequence[str]) -> Ran:
    """Run a command to its end, and count what it and all processes below it use."""
    used: dict[int, float] = {}
    largest = 0.0
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        process = psutil.Popen(list(command), stdout=subprocess.DEVNULL, stderr=said)
        while process.poll() is None:
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    times = one.cpu_times()
                    used[one.pid] = times.user + times.system
                    if one.pid != process.pid and {"ScoreChunks", "score"} & _words(one):
                        largest = max(largest, memory_of_one(one))
            with suppress(psutil.TimeoutExpired):
                process.wait(timeout=_LOOK_SECONDS)
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            raise FirstreplyError(f"{' '.join(command[1:4])} ended with status {process.returncode}: {last_line(said)}")
    return Ran(seconds, sum(used.values()), largest / _MIB)


def _words(process: psutil.Process) -> set[str]:
    """What a process is called, in words."""
    return set(" ".join(process.cmdline()).replace("(", " ").replace(")", " ").split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, calculate, and end with one JSON object on the last line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m eval.sizing", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--posts", type=float, default=500e6, help="posts a day (default 500 million)")
    parser.add_argument("--peak", type=float, default=2.0, help="busiest hour by mean hour (default %(default)s)")
    parser.add_argument("--utilisation", type=float, default=0.7, help="of the cores, then (default %(default)s)")
    parser.add_argument("--machine-cores", type=int, default=16, help="of a machine (default %(default)s)")
    parser.add_argument(
        "--machine-mib", type=float, default=4096, help="its memory besides the actors' (default %(default)s)"
    )
    parser.add_argument("--tiers", nargs="+", choices=TIER_BUNDLES, default=list(TIER_BUNDLES), help="default: all")
    parser.add_argument("--mentions", type=int, default=16_000, help="of the longer job (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of which the least counts (default %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.posts, options.peak, options.machine_cores, options.turns) <= 0 or not 0 < options.utilisation <= 1:
        parser.error("posts, peak, cores and turns are above 0, and the utilisation is above 0 and at most 1")
    if options.mentions < _SHORT * _FILES:
        parser.error(f"--mentions is at least {_SHORT * _FILES}")
    stream = Stream(options.posts, options.peak, options.utilisation, options.machine_cores, options.machine_mib)
    report: dict[str, Any] = {"machine": machine(), "mentions": options.mentions, "stream": asdict(stream), "tiers": {}}
    print(
        f"{report['machine']['cpu']}, {report['machine']['cores']} cores; load {report['machine']['load_at_start']:.1f}"
    )
    mentions = real_length(sample_mentions(), options.mentions)
    for tier in options.tiers:
        try:
            measured = measure(tier, mentions, options.turns)
        except FirstreplyError as error:
            print(f"sizing: {error}", file=sys.stderr)
            return 1
        ray, local = measured["ray"], measured["local"]
        needed = fleet(stream, ray["core_ms"] / 1000, ray["actor_mib"])
        ratio = ray["per_second"] / local["per_second"]
        report["tiers"][tier] = {**measured, "ray_by_local": ratio, "fleet": asdict(needed)}
        print(
            f"{tier}: {ray['core_ms']:.2f} ms of a core a mention, {ray['per_core_second']:,.0f} a core-second on Ray"
            f" (local engine {local['core_ms']:.2f} ms, {local['per_core_second']:,.0f}); by the clock"
            f" {ray['per_second']:,.0f} a second, {ratio:.2f} times the local engine\n"
            f"  {stream.posts:,.0f} posts a day: {needed.cores:,} cores and actors of {ray['actor_mib']:,.0f} MiB,"
            f" {needed.machines:,} machines of {stream.machine_cores} cores and {needed.memory_gib:.1f} GiB"
        )
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
