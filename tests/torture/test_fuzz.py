"""Whatever is posted, the server answers with a documented status, stays ready and does not grow."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from eval.load import request
from serving.contract import EXAMPLE_REQUEST, Problem, ScoreResponse
from tests.torture.bodies import bodies
from tests.torture.clients import Answer, Streams, ask, close
from tests.torture.servers import Started, started

BODIES = 100_000
CONNECTIONS = 4
SEED = 20261121
WARM_UP = BODIES // 2
"""Bodies after which everything that is remembered, words and mentions, is as much as it ever will be."""
GROWTH_MIB = 40.0
"""What the server may hold more in the end than after the warm-up: some 800 bytes a body."""
STATUSES = {200, 413, 422, 429}
"""What a body can be answered with; 429 where several of the largest meet."""
MOST_FAILURES = 20
"""Bodies with a wrong answer that are kept before the test gives up."""

EXAMPLES = 2_000
"""Requests that schemathesis makes up for each operation and phase."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
)
"""Not ``negative_data_rejection``: a mention that cannot be scored has its error in its place, with status 200."""


def test_server_keeps_to_its_openapi_document(tmp_path: Path) -> None:
    report, settings = tmp_path / "report.json", tmp_path / "schemathesis.toml"
    # Whoever asks for an answer within next to no time is told that there was none: no failure of the server.
    settings.write_text('[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", "504"]\n')
    with started(tmp_path, "--tier", "fast") as server:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run"),
                f"http://127.0.0.1:{server.port}/openapi.json",
                *("--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--seed", str(SEED)),
                *("--request-timeout", "30", "--generation-database", "none", "--continue-on-failure", "--no-color"),
                *("--warnings", "off", "--report", "json", "--report-json-path", str(report)),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-8_000:] + ended.stderr[-2_000:]
        assert server.get("/readyz")[0] == 200
        assert "Traceback" not in server.said()
    found = json.loads(report.read_text())
    assert found["complete"]
    operations, cases = found["operations"], found["test_cases"]
    assert operations["tested"] == operations["total"] >= 4
    assert cases["generated"] > EXAMPLES
    print(
        f"\nopenapi: {cases['generated']:,} requests to {operations['tested']} operations in"
        f" {found['running_time']:.0f} s, none answered otherwise than documented"
    )


def test_no_body_makes_the_server_fail_hang_or_grow(tmp_path: Path) -> None:
    with started(tmp_path, "--tier", "fast") as server:
        before = scores(server)
        began = time.monotonic()
        fuzzing, source = Fuzzing(server, tmp_path), bodies(SEED)
        memory = []
        for until in (BODIES // 10, WARM_UP, BODIES):
            asyncio.run(fuzzing.run(islice(source, until - fuzzing.sent)))
            assert not fuzzing.failures, "\n".join(fuzzing.failures)
            memory.append(server.server.memory())
        seconds = time.monotonic() - began
        assert server.process.poll() is None
        assert server.get("/readyz")[0] == 200
        assert scores(server) == before
        assert "Traceback" not in server.said(), server.said()[-4_000:]
    statuses = ", ".join(f"{number:,} with {status}" for status, number in sorted(fuzzing.statuses.items()))
    print(
        f"\nfuzz: {fuzzing.sent:,} bodies in {seconds:.0f} s: {statuses}; slowest {fuzzing.slowest:.1f} s; memory"
        f" {memory[0]:.0f} MiB after a tenth, {memory[1]:.0f} after a half, {memory[2]:.0f} in the end"
    )
    assert fuzzing.sent == sum(fuzzing.statuses.values()) == BODIES
    assert fuzzing.statuses[200] > BODIES / 4, "the bodies are too broken to reach the model"
    assert memory[2] <= memory[1] + GROWTH_MIB


def scores(server: Started) -> list[dict[str, float]]:
    """The probabilities of the two mentions of the documentation."""
    return [result["probabilities"] for result in server.score(EXAMPLE_REQUEST["mentions"])["results"]]


class Fuzzing:
    """Sends bodies over a few connections, and looks at every answer."""

    def __init__(self, server: Started, folder: Path) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0
        self.sent = 0
        self._server = server
        self._folder = folder

    async def run(self, source: Iterator[bytes]) -> None:
        """Send them, unless too many fail."""
        await asyncio.gather(*(self._client(source) for _ in range(CONNECTIONS)))

    async def _client(self, source: Iterator[bytes]) -> None:
        streams: Streams | None = None
        try:
            for body in source:
                self.sent += 1
                streams = streams or await asyncio.open_connection("127.0.0.1", self._server.port)
                began = time.monotonic()
                try:
                    answer = await ask(streams, request("/v1/score", body))
                except OSError as error:
                    self._failed(body, f"no answer: {error!r}")
                    await close(streams)
                    streams = None
                else:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.statuses[answer.status] += 1
                    if wrong := what_is_wrong(answer):
                        self._failed(body, wrong)
                    if answer.closes:
                        await close(streams)
                        streams = None
                if len(self.failures) >= MOST_FAILURES:
                    return
        finally:
            await close(streams)

    def _failed(self, body: bytes, why: str) -> None:
        kept = self._folder / f"body-{len(self.failures)}"
        kept.write_bytes(body)
        self.failures.append(f"a body ({len(body):,} bytes, kept in {kept}): {why}; it is {body[:200]!r}")


def what_is_wrong(answer: Answer) -> str | None:
    """Why an answer is none that is documented, if it is not."""
    if answer.status not in STATUSES:
        return f"status {answer.status}: {answer.body[:500]!r}"
    try:
        # Half a surrogate pair comes back as it was sent; pydantic takes none, and there is nothing wrong with it here.
        whole = json.dumps(json.loads(answer.body, parse_constant=no_json), ensure_ascii=False).encode(
            "utf-8", "replace"
        )
        if answer.status == 200:
            return None if ScoreResponse.model_validate_json(whole).results else "no result"
        problem = Problem.model_validate_json(whole)
    except ValueError as error:
        return f"status {answer.status} with another body than documented: {str(error)[:500]}"
    return None if problem.status == answer.status else f"status {answer.status} with a problem of {problem.status}"


def no_json(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Answer(500, b"", b"{}"), "status 500"),
        (Answer(200, b"", b'{"model":"m","as_of":"2026-01-01T00:00:00Z","results":[]}'), "no result"),
        (Answer(200, b"", b'{"model":"m","as_of":"2026-01-01T00:00:00Z","results":[{"id":"1"}]}'), "another body"),
        (Answer(200, b"", b'{"model":"m","as_of":"2026-01-01T00:00:00Z","results":[NaN]}'), "no JSON"),
        (Answer(422, b"", b'{"detail":"?"}'), "another body"),
    ],
)
def test_wrong_answers_are_seen(answer: Answer, wrong: str) -> None:
    assert wrong in (what_is_wrong(answer) or "")
