"""``serve --workers``: several processes on one socket, and one that watches them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import httpx
import psutil
import pytest

from serving.keys import new_key
from tests.processes import until

ROOT = Path(__file__).parents[2]
BODY = {"mentions": [{"text": "Where is my order, @northtel?"}]}


@contextmanager
def running(bundle: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of two workers, and its address."""
    command = [sys.executable, "-m", "firstreply", "serve", "--port", "0", "--workers", "2", "--bundle", str(bundle)]
    with told_ready([*command, *options]) as server:
        yield server


@contextmanager
def told_ready(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that serves, once it says where."""
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "ready on http://" in line
        yield process, line.partition("ready on ")[2].split()[0]
    finally:
        process.kill()
        process.communicate()


def workers(process: subprocess.Popen[str]) -> set[int]:
    return {child.pid for child in psutil.Process(process.pid).children()}


def lines(process: subprocess.Popen[str], part: str, count: int) -> bool:
    """Whether it says so many lines with this part in some time, one for each worker that has something to say."""
    assert process.stderr is not None
    given_up = threading.Timer(30, process.kill)
    given_up.start()
    try:
        return len(list(islice((line for line in process.stderr if part in line), count))) == count
    finally:
        given_up.cancel()


def test_killed_worker_is_replaced_and_the_others_answer_meanwhile(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as (process, url):
        before = workers(process)
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        for _ in range(20):
            assert httpx.post(f"{url}/v1/score", json=BODY).status_code == 200
        assert until(lambda: len(workers(process)) == 2 and min(before) not in workers(process))


_DYING = """
import sys
from pathlib import Path
from model.triage import Triage
from serving.server import serve
from serving.settings import ServeSettings

answer_ready = Triage.answer_ready

def dying(self, turn, **options):
    if any("die" in one.mention.text for one in turn):
        raise SystemExit
    return answer_ready(self, turn, **options)

Triage.answer_ready = dying
serve(ServeSettings(Path(sys.argv[1]), port=0, workers=2))
"""


def test_worker_whose_scoring_thread_has_died_is_replaced(tiny_bundle: Path) -> None:
    with told_ready([sys.executable, "-c", _DYING, str(tiny_bundle)]) as (process, url):
        before = workers(process)
        dead = httpx.post(f"{url}/v1/score", json={"mentions": [{"text": "die"}]})
        assert dead.status_code == 503
        assert until(lambda: len(workers(process)) == 2 and workers(process) != before)
        for _ in range(10):
            assert httpx.post(f"{url}/v1/score", json=BODY).status_code == 200


def test_workers_count_together(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as (_, url):
        for _ in range(30):
            assert httpx.post(f"{url}/v1/score", json=BODY).status_code == 200
        counted = 'firstreply_requests_total{method="POST",path="/v1/score",status="200"} 30.0'
        assert until(lambda: counted in httpx.get(f"{url}/metrics").text)


def test_stop_is_told_to_all_and_ends_with_status_0(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as (process, url):
        assert httpx.get(f"{url}/readyz").status_code == 200
        children = workers(process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0
        assert said.splitlines()[-1] == "firstreply: stopped"
        assert not any(psutil.pid_exists(child) for child in children)


_STOPPED_WHILE_RELOADING = """
import os, signal, sys
from pathlib import Path
from serving.server import serve
from serving.settings import ServeSettings

kill = os.kill

def kill_and_stop(pid, number):
    kill(pid, number)
    if number == signal.SIGHUP:
        kill(os.getpid(), signal.SIGTERM)

os.kill = kill_and_stop
serve(ServeSettings(Path(sys.argv[1]), port=0, workers=2))
"""


def test_stop_that_comes_in_the_middle_of_a_reload_is_obeyed(tiny_bundle: Path) -> None:
    with told_ready([sys.executable, "-c", _STOPPED_WHILE_RELOADING, str(tiny_bundle)]) as (process, _):
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_workers_of_a_killed_parent_stop(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as (process, _):
        children = workers(process)
        process.kill()
        assert until(lambda: not any(psutil.pid_exists(child) for child in children))


def test_named_bundle_takes_over_in_every_worker_and_in_those_started_later(tiny_bundle: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(tiny_bundle, tmp_path / "bundles" / name)
    admin = {"Authorization": f"Bearer {new_key(tmp_path / 'keys.toml', 'admin', admin=True)}"}
    options = ("--keys", str(tmp_path / "keys.toml"), "--bundles", str(tmp_path / "bundles"))
    with running(tmp_path / "bundles" / "one", *options) as (process, url):
        reload = httpx.post(f"{url}/v1/admin/reload", json={"bundle": "two"}, headers=admin, timeout=30)
        assert reload.status_code == 200

        def reloads() -> float:
            lines = httpx.get(f"{url}/metrics", headers=admin).text.splitlines()
            done = [line for line in lines if line.startswith('firstreply_reloads_total{outcome="done"}')]
            return float(done[0].split()[-1]) if done else 0.0

        assert until(lambda: reloads() == 3.0)  # one by request, one each because the others were told
        shutil.rmtree(tmp_path / "bundles" / "one")
        for worker in workers(process):
            os.kill(worker, signal.SIGKILL)
        assert until(lambda: len(workers(process)) == 2)
        assert httpx.post(f"{url}/v1/score", json=BODY, headers=admin, timeout=30).status_code == 200


@pytest.mark.parametrize("damage", ["bundle", "keys"])
def test_what_cannot_be_reloaded_stays_as_it_was(tiny_bundle: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    key = {"Authorization": f"Bearer {new_key(tmp_path / 'keys.toml', 'crm')}"}
    with running(tmp_path / "bundle", "--keys", str(tmp_path / "keys.toml")) as (process, url):
        if damage == "bundle":
            (tmp_path / "bundle" / "model.onnx").write_bytes(b"none")
        else:
            (tmp_path / "keys.toml").write_text("[crm")
        process.send_signal(signal.SIGHUP)
        assert lines(process, "reload refused" if damage == "bundle" else "the keys stay as they were", count=2)
        for _ in range(10):
            assert httpx.post(f"{url}/v1/score", json=BODY, headers=key).status_code == 200
