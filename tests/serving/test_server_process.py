from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from model.errors import BundleError, PolicyError
from serving.contract import ScoreResponse
from serving.server import AddressError, ServeSettings, serve

_PROGRAM = """
import sys
from pathlib import Path
from serving.server import ServeSettings, serve
sys.exit(serve(ServeSettings(bundle=Path(sys.argv[1]), port=0, log_requests=sys.argv[2] == "log")))
"""


@pytest.mark.parametrize(("number", "log"), [(signal.SIGTERM, "log"), (signal.SIGINT, "quiet")])
def test_server_says_how_to_ask_it_answers_and_stops_with_status_0(
    tiny_bundle: Path, number: signal.Signals, log: str
) -> None:
    command = [sys.executable, "-W", "error", "-c", _PROGRAM, str(tiny_bundle), log]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            ready, curl = process.stderr.readline(), process.stderr.readline()
            assert "ready on http://127.0.0.1:" in ready
            program, url, flag, header, data, body = shlex.split(curl)
            assert (program, flag, data) == ("curl", "-H", "-d")
            response = httpx.post(url, content=body, headers=dict([header.split(": ")]))
            assert len(ScoreResponse.model_validate_json(response.content).results) == 2
        finally:
            process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output == ""
    lines = errors.splitlines()
    assert lines[-1] == "firstreply: stopped"
    assert ['method="POST" path="/v1/score" status=200' in line for line in lines[:-1]] == [True] * (log == "log")
    assert not any(json.loads(body)["mentions"][0]["text"] in line for line in lines)


def test_taken_port_is_one_clear_line(tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"127.0.0.1:{port}: address already in use; give another") as caught:
            serve(ServeSettings(bundle=tiny_bundle, port=port))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("host", "port"), [("host.invalid", 8000), ("127.0.0.1", 70_000), ("192.0.2.1", 0)])
def test_address_that_is_none_is_one_clear_line(tiny_bundle: Path, host: str, port: int) -> None:
    with pytest.raises(AddressError, match="give another --"):
        serve(ServeSettings(bundle=tiny_bundle, host=host, port=port))


def test_what_is_wrong_with_the_files_is_found_before_listening(tiny_bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BundleError):
            serve(ServeSettings(bundle=tmp_path, port=port))
        with pytest.raises(PolicyError):
            serve(ServeSettings(bundle=tiny_bundle, policy=tmp_path / "none.toml", port=port))
        with pytest.raises(BundleError, match="no cut"):
            serve(ServeSettings(bundle=tiny_bundle, cut="p99", port=port))
