"""The benchmark runs from end to end on a small bundle, and its parts count what is there."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data.schema import FirstreplyError
from eval import bench as bench_module
from eval import peers
from eval.bench import BenchJob, bench
from eval.load import closed_loop, offered, request
from eval.processes import free_port, run, served
from eval.stages import products, stages
from eval.workload import real_length, sample_mentions
from model.bundle import Bundle
from model.scorer import Scorer
from model.triage import Triage


class Server(ThreadingHTTPServer):
    """Answers with ``status`` and counts what it was asked."""

    status = 200
    asked = 0


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.asked += 1  # type: ignore[attr-defined]
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        yield answering
        answering.shutdown()


def test_clients_that_wait_for_their_answers(server: Server) -> None:
    load = closed_loop(server.server_port, [request("/", b"{}")], clients=3, seconds=0.5)
    assert 0 < load.answered <= server.asked
    figures = load.described(batch=10)
    assert figures["mentions_per_second"] == pytest.approx(load.answered * 10 / load.seconds)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]  # type: ignore[operator]
    server.status = 500
    with pytest.raises(FirstreplyError, match="status 500"):
        closed_loop(server.server_port, [request("/", b"{}")], clients=1, seconds=0.1)


def test_an_offered_load_comes_at_its_rate_and_counts_refusals(server: Server) -> None:
    load = offered(server.server_port, [request("/", b"{}")], rate=100, seconds=1.0)
    assert 60 < load.answered < 140
    assert load.refused == 0
    server.status = 429
    refused = offered(server.server_port, [request("/", b"{}")], rate=50, seconds=0.5)
    assert (refused.answered, refused.described()["p50_ms"]) == (0, None)
    assert refused.refused > 10


def test_processes_are_weighed_and_their_failures_told() -> None:
    ended = run(
        [sys.executable, "-c", "x = bytearray(80_000_000); import time; time.sleep(0.3); print(input())"], "hi\n"
    )
    assert 0.3 < ended.seconds < 10
    assert ended.peak_memory > 70
    with pytest.raises(FirstreplyError, match="status 3: oh no"):
        run([sys.executable, "-c", "print('oh no'); raise SystemExit(3)"])
    with (
        pytest.raises(FirstreplyError, match="status 4: no port"),
        served([sys.executable, "-c", "print('no port'); raise SystemExit(4)"], free_port(), "/"),
    ):
        pass


def test_steps_and_products(tiny_triage: Triage) -> None:
    took = stages(tiny_triage, real_length(sample_mentions(), 40))
    assert list(took) == ["normalise", "tokenise", "infer", "policy", "serialise"]
    assert min(took.values()) > 0
    scorer = tiny_triage.scorer
    assert isinstance(scorer, Scorer)
    layer = 4 * 32 * 32 + 2 * 32 * 64
    assert products(scorer) == pytest.approx((2 * layer + 2 * 32 * 5) / 1e6)


def test_bench(
    tiny_bundle: Path,
    tiny_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("_COLD_STARTS", 1), ("CLIENTS", (1, 32)), ("BATCHES", (1, 64)), ("_OFFERED", (0.5,))):
        monkeypatch.setattr(bench_module, name, value)
    job = BenchJob(
        tiny_bundle,
        mentions=70,
        base=str(tiny_base),
        turns=1,
        seconds=0.2,
        load=tmp_path / "load.svg",
        rows=(20,),
        soak=0.01,
    )
    assert bench(job) == 0
    said = capsys.readouterr().out
    figures = json.loads(said.splitlines()[-1])
    medians, ratios = figures["medians"], figures["ratios"]
    assert ratios["bulk_to_transformers"] == pytest.approx(medians["bulk"] / medians["transformers"])
    assert ratios["http_64_to_in_process"] == pytest.approx(medians["http_64"] / medians["in_process_64"])
    assert figures["http"]["batches"]["64"]["cpu_seconds_per_1000"] > 0
    assert figures["rows"][0]["rows"] == 20
    assert figures["cold_start"]["ratio"] > 0
    assert "give --peers DIR" in said
    assert (tmp_path / "load.svg").read_text().startswith("<svg")


def test_an_encoder_is_found_or_left_out(tiny_bundle: Path, tiny_base: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    assert peers.save_encoder("no/such-encoder", bundle, tmp_path / "none") is None
    assert peers.save_encoder(str(tiny_base), bundle, tmp_path / "encoder") == str(tiny_base)
    assert json.loads((tmp_path / "encoder" / "tokenizer_config.json").read_text())["model_max_length"] == 96


def test_a_pipeline_that_ends_between_turns_says_so(tiny_bundle: Path, tiny_base: Path, tmp_path: Path) -> None:
    peers.save_encoder(str(tiny_base), Bundle.load(tiny_bundle), tmp_path / "encoder")
    with (
        pytest.raises(FirstreplyError, match="a pipeline ended with status -9"),
        peers.pipeline(peers.TRANSFORMERS, sys.executable, tmp_path / "encoder", ["a"], 1) as pipeline,
    ):
        assert pipeline.seconds() > 0
        pipeline.process.kill()
        pipeline.process.wait()
        pipeline.seconds()


def test_a_pipeline_that_ends_says_why(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    with (
        pytest.raises(FirstreplyError, match="a pipeline ended with status"),
        peers.pipeline(peers.TRANSFORMERS, sys.executable, tmp_path / "encoder", ["a"], 1),
    ):
        pass
