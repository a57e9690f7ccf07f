from __future__ import annotations

import hmac
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from model.triage import Triage
from serving.keys import Account, Caller, Keys, KeysError, new_key
from serving.server import ServeSettings, serve

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]
ONE = {"mentions": [{"text": "Where is my order, @northtel?"}]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_made_key_is_found_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first, second = new_key(path, "crm"), new_key(path, "crm-2", admin=True, per_second=2.5, at_once=3)
    keys = Keys.load(path)
    found = keys.find(f"Bearer {first}")
    assert found is not None
    assert (found.name, found.caller.admin) == ("crm", False)
    found = keys.find(f"bearer {second}")
    assert found is not None
    assert (found.caller.admin, found.caller.per_second, found.caller.at_once) == (True, 2.5, 3)
    for wrong in (first, f"Basic {first}", f"Bearer {first[:-1]}", f"Bearer {first}x", "Bearer ", "", "Bearer é\udcff"):
        assert keys.find(wrong) is None


@pytest.mark.parametrize("which", [0, 1, 2, None])
def test_every_key_is_compared_in_constant_time_whichever_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int | None
) -> None:
    made = [new_key(tmp_path / "k", f"caller-{number}") for number in range(3)]
    keys = Keys.load(tmp_path / "k")
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def recorded(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", recorded)
    found = keys.find(f"Bearer {made[which] if which is not None else 'wrong'}")
    assert (found.name if found else None) == (f"caller-{which}" if which is not None else None)
    assert len(compared) == 3
    assert all(len(one) == len(other) == 32 for one, other in compared)


def test_keys_file_holds_no_key_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key = new_key(path, "crm")
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "a b", "[admin]", "-x", "x" * 65, "crm\nadmin = true"])
def test_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeysError, match="cannot be a caller's name"):
        new_key(tmp_path / "keys.toml", name)
    assert not (tmp_path / "keys.toml").exists()


def test_taken_name_is_refused(tmp_path: Path) -> None:
    new_key(tmp_path / "keys.toml", "crm")
    with pytest.raises(KeysError, match="take another name"):
        new_key(tmp_path / "keys.toml", "crm")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no key in it"),
        ("[crm]\nsha256 = 'abc'\n", "crm.sha256"),
        ("[crm]\n", "crm.sha256: field required"),
        (f"[crm]\nsha256 = '{'0' * 64}'\nadmn = true\n", "crm.admn is no setting; there are sha256, admin"),
        (f"[crm]\nsha256 = '{'0' * 64}'\nper_second = 0\n", "crm.per_second"),
        ("[crm", "not TOML"),
    ],
)
def test_keys_file_that_is_none_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(content)
    with pytest.raises(KeysError, match=message) as caught:
        Keys.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(KeysError, match="firstreply keys new"):
        Keys.load(tmp_path / "none.toml")


def test_rate_is_kept_over_time() -> None:
    account = Account("crm", Caller(sha256="0" * 64, per_second=20))
    assert [account.wait() for _ in range(20)] == [0.0] * 20
    wait = account.wait()
    assert 0.0 < wait <= 0.05
    time.sleep(wait)
    assert account.wait() == 0.0
    shared = Account("crm", Caller(sha256="0" * 64, per_second=20), share=10)
    assert sum(shared.wait() == 0.0 for _ in range(20)) == 2


def test_requests_need_a_key_and_health_needs_none(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, tmp_path: Path
) -> None:
    key = new_key(tmp_path / "keys.toml", "crm")
    client = serve(app_of(tiny_triage, keys=Keys.load(tmp_path / "keys.toml")))
    for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 200
    for response in (
        client.post("/v1/score", json=ONE),
        client.post("/v1/score", json=ONE, headers=bearer(key + "x")),
        client.post("/v1/score", json=ONE, headers=[("Authorization", f"Bearer {key}")] * 2),
        client.get("/v1/model"),
        client.get("/metrics"),
    ):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Content-Type"] == "application/problem+json"
    bare = client.get("/v1/model", headers={"Authorization": key})
    assert (bare.status_code, "does not begin with Bearer" in bare.json()["detail"]) == (401, True)
    assert client.post("/v1/score", json=ONE, headers=bearer(key)).status_code == 200
    assert client.get("/v1/model", headers=bearer(key)).status_code == 200
    assert client.get("/metrics", headers=bearer(key)).status_code == 200


def test_key_has_its_rate(tiny_triage: Triage, serve: Serve, app_of: AppOf, tmp_path: Path) -> None:
    slow, other = new_key(tmp_path / "k", "slow", per_second=0.5), new_key(tmp_path / "k", "other")
    client = serve(app_of(tiny_triage, keys=Keys.load(tmp_path / "k")))
    assert client.post("/v1/score", json=ONE, headers=bearer(slow)).status_code == 200
    refused = client.post("/v1/score", json=ONE, headers=bearer(slow))
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "2"
    assert client.post("/v1/score", json=ONE, headers=bearer(other)).status_code == 200


def test_server_off_the_loopback_addresses_wants_keys(tiny_bundle: Path) -> None:
    with pytest.raises(KeysError, match="--keys FILE.*--no-keys"):
        serve(ServeSettings(bundle=tiny_bundle, host="0.0.0.0", port=0))


def test_command_makes_a_key_that_the_file_knows(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    command = [
        sys.executable,
        "-m",
        "firstreply",
        "keys",
        "new",
        str(path),
        "crm",
        "--per-second",
        "5",
        "--at-once",
        "2",
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    found = Keys.load(path).find(f"Bearer {made.stdout.strip()}")
    assert found is not None
    assert (found.caller.per_second, found.caller.at_once, found.caller.admin) == (5.0, 2, False)
    assert made.stdout.strip() not in made.stderr
