"""What ``firstreply bench`` has measured, in words and as a picture. Leaves out measuring (``eval.bench``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.plots import latencies

_RATIOS = {
    "bulk_to_transformers": "a file, beside the transformers pipeline (float32, batches of 32)",
    "bulk_to_optimum": "a file, beside optimum's pipeline (onnxruntime, float32, batches of 32)",
    "in_process_to_bare": "requests of 64 in process, beside bare onnxruntime sessions",
    "bulk_to_bare": "a file, start included, beside bare onnxruntime sessions",
    "bare_to_peak": "bare sessions, beside the peak of this machine",
    "http_64_to_in_process": "requests of 64 over HTTP, beside the same in process",
    "http_32_clients_to_infinity": "32 clients with a mention each, beside infinity-emb",
    "http_64_to_infinity": "requests of 64 over HTTP, beside infinity-emb",
    "one_client_p50_to_infinity": "median latency of one client, beside infinity-emb's (less is better)",
}


def described(measured: Mapping[str, Any]) -> str:
    """The figures in plain text."""
    machine, steps, http, medians = (measured[name] for name in ("machine", "milliseconds", "http", "medians"))
    cold = measured["cold_start"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    busy = " (not idle: everything here is slower than it would be)" if machine["load_at_start"] > 1 else ""
    whole = sum(steps.values())
    lines = [
        f"{measured['model']} on {machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        f"  {versions}; load average at the start {machine['load_at_start']:.2f}{busy}",
        f"  mentions of {measured['mean_words']:.1f} words and {measured['mean_tokens']:.1f} tokens on average;"
        " no reading is kept",
        f"CPU time of a mention on one thread, {whole:.3f} ms:",
        *(
            f"  {step:<11}{took:7.3f} ms {took / whole:6.1%} {1000 / took:9,.0f} a second"
            for step, took in steps.items()
        ),
        "in process, from the JSON of requests to the JSON of answers:",
        *(f"  requests of {batch:>3}: {rate:7,.0f} a second" for batch, rate in measured["in_process"].items()),
        "over HTTP, a mention a request:",
        *(f"  {clients:>3} clients: {_load(row)}" for clients, row in http["clients"].items()),
        "over HTTP, 4 clients:",
        *(
            f"  requests of {batch:>3}: {_load(row)}, {row['cpu_seconds_per_1000']:.2f} CPU s per 1,000 mentions"
            for batch, row in http["batches"].items()
        ),
        f"cold start to the first scored mention {cold['seconds']:.2f} s, {cold['ratio']:.2f} times that of importing"
        f" onnxruntime and loading the bare session ({cold['bare_session_seconds']:.2f} s)",
        f"resident memory of the server {measured['memory_mib']:.0f} MiB",
        f"side by side, medians of {len(measured['turns']['bulk'])} turns; peers read {measured['encoder_of_peers']}:",
        *(f"  {name:<28}{value:10,.1f}" for name, value in medians.items()),
        *(
            f"  {measured['ratios'][name]:6.2f} × {what}"
            for name, what in _RATIOS.items()
            if name in measured["ratios"]
        ),
        *(f"  not measured: {what} ({why})" for what, why in measured["skipped"].items()),
    ]
    for row in measured.get("offered", ()):
        lost = (
            f", {row['refused']:,} refused, {row['late']:,} without an answer" if row["refused"] or row["late"] else ""
        )
        lines.append(f"offered {row['offered']:,.0f} a second: {_load(row)}{lost}")
    if "soak" in measured:
        soak = measured["soak"]
        lines.append(
            f"memory over {soak['minutes']:.0f} minutes of mixed requests: {soak['first_mib']:.0f} MiB at first,"
            f" {soak['last_mib']:.0f} MiB at last, {soak['most_mib']:.0f} MiB at most"
        )
    lines += [
        f"a file of {row['rows']:,}: {row['seconds']:.1f} s, {row['rows'] / row['seconds']:,.0f} a second,"
        f" {row['peak_memory_mib']:.0f} MiB at most"
        for row in measured["rows"]
    ]
    return "\n".join(lines)


def load_picture(rows: Sequence[Mapping[str, Any]]) -> str:
    """SVG of p50 and p99 against the mentions a second that were offered."""
    return latencies(
        "latency against offered load",
        [row["offered"] for row in rows],
        {"p50": [row["p50_ms"] for row in rows], "p99": [row["p99_ms"] for row in rows]},
    )


def _load(row: Mapping[str, Any]) -> str:
    if row["p50_ms"] is None:
        return "no answer in time"
    return f"{row['mentions_per_second']:7,.0f} a second, p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms"
