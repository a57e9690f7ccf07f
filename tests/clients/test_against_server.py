from __future__ import annotations

import dataclasses
import re
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from firstreply_client import (
    Author,
    Limits,
    Mention,
    NotAuthenticatedError,
    OverloadedError,
    RefusedError,
    Result,
    TimedOutError,
    Unscored,
)

from data.schema import INTENTS, MentionError
from model.triage import Ready, Triage
from serving.keys import Keys, new_key
from serving.limits import Limits as ServersLimits
from tests.clients.conftest import Connect
from tests.processes import until
from tests.test_imports import imported

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]
CLIENT = Path(__file__).parents[2] / "clients" / "python"
LEAVING = "Third outage this week. I am leaving @northtel for @skyfone."
SOON = datetime(2099, 1, 1, tzinfo=UTC)  # nobody has waited for an answer to what is yet to be written


@pytest.fixture
def server(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> httpx.Client:
    """One that takes at most 20 mentions and 20,000 bytes."""
    return serve(app_of(tiny_triage, ServersLimits(mentions=20, body_bytes=20_000)))


def shown(result: Result | Unscored) -> dict[str, Any]:
    """A result as the HTTP contract has it."""
    if isinstance(result, Unscored):
        return {"id": result.id, "error": {"title": result.title, "detail": result.detail}}
    fields = dataclasses.asdict(result)
    due = result.priority.respond_by
    assert due is None or due.tzinfo is not None
    fields["priority"]["respond_by"] = due and due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    optional = {"truncated": False, "uncertain": False, "tier": None, "why": None}
    return {name: value for name, value in fields.items() if name not in optional or value != optional[name]}


def test_results_are_those_of_the_contract(connect: Connect, server: httpx.Client) -> None:
    author = Author(followers=5_200, lifetime_value=900, purchases=3, satisfaction=0.1)
    mentions = [
        Mention(LEAVING, ["northtel", "skyfone"], "a", "x", SOON, author),
        Mention("word " * 2_000, "northtel", created_at=SOON),
        Mention("", created_at=SOON),
    ]
    sent = [
        {"id": "a", "text": LEAVING, "brand": ["northtel", "skyfone"], "channel": "x", "created_at": SOON.isoformat(),
         "author": dataclasses.asdict(author)},
        {"text": mentions[1].text, "brand": "northtel", "created_at": SOON.isoformat()},
        {"text": "", "created_at": SOON.isoformat()},
    ]  # fmt: skip
    for explain in (False, True):
        answer = server.post("/v1/score", json={"mentions": sent, "explain": explain}).json()
        results = connect(str(server.base_url)).score(mentions, explain)
        assert [result.model for result in results if isinstance(result, Result)] == [answer["model"]] * 3
        for result, expected in zip(results, answer["results"], strict=True):
            ours = shown(result)
            ours.pop("model", None)
            assert _as_json(ours) == expected
    assert isinstance(results[0], Result)
    assert results[0].why
    assert results[0].priority.signals


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    return [_as_json(one) for one in value] if isinstance(value, list | tuple) else value


def test_splitting_does_not_show(connect: Connect, server: httpx.Client) -> None:
    one_target = {"text": LEAVING, "created_at": SOON}
    mentions: list[Any] = [
        one_target,
        "",
        {**one_target, "brand": ["a", "b", "a"]},
        {**one_target, "id": []},
        {"txt": "ok"},
    ] * 3
    whole, *split = (
        connect(str(server.base_url), limits=Limits(mentions=most)).score([*mentions, {**one_target, "id": "last"}])
        for most in (20, 7, 3, 1)
    )
    ids = ["1", "2", "3", "3", "[]", "5", "6", "7", "8", "8", "[]", "10", "11", "12", "13", "13", "[]", "15", "last"]
    assert [result.id for result in whole] == ids
    assert [result.id for result in whole if isinstance(result, Unscored)] == ["2", "5", "7", "10", "12", "15"]
    for results in split:
        assert results == whole


def test_nothing_is_sent_for_nothing(connect: Connect) -> None:
    assert connect("http://127.0.0.1:9").score([]) == []


def test_mention_that_no_request_holds_has_its_error_in_its_place(connect: Connect, server: httpx.Client) -> None:
    many = [f"brand{number}" for number in range(21)]
    mentions: list[Any] = ["ok", Mention("ok", many, id="many"), "ok", {"text": "x" * 30_000, "id": "long"}, "ok"]
    results = connect(str(server.base_url), limits=Limits(mentions=20, body_bytes=20_000)).score(mentions)
    assert [result.id for result in results] == ["1", "many", "3", "long", "5"]
    first, of_many, _, of_long, last = results
    assert isinstance(first, Result)
    assert isinstance(last, Result)
    assert isinstance(of_many, Unscored)
    assert of_many.title == "Malformed request"
    assert "21 mentions, one for each target brand" in of_many.detail
    assert isinstance(of_long, Unscored)
    assert of_long.title == "Request body too large"


@pytest.mark.parametrize(("limits", "status"), [(Limits(body_bytes=20_000), 422), (Limits(mentions=20), 413)])
def test_limits_beyond_the_servers_are_told(
    connect: Connect, server: httpx.Client, limits: Limits, status: int
) -> None:
    with pytest.raises(RefusedError, match="at once") as raised:
        connect(str(server.base_url), limits=limits).score(["ok"] * 21 if status == 422 else ["x" * 8_000] * 3)
    assert raised.value.status == status


def test_key_is_sent_and_its_rate_is_kept_to(
    connect: Connect, tiny_triage: Triage, serve: Serve, app_of: AppOf, tmp_path: Path
) -> None:
    key = new_key(tmp_path / "keys.toml", "crm", per_second=1)
    url = str(serve(app_of(tiny_triage, keys=Keys.load(tmp_path / "keys.toml"))).base_url)
    assert connect(url).ready()  # needs none
    with pytest.raises(NotAuthenticatedError, match="^401 Not authenticated: There is no key") as raised:
        connect(url).score(["ok"])
    assert raised.value.title == "Not authenticated"
    with pytest.raises(NotAuthenticatedError, match="none of this server's"):
        connect(url, "fr_another").model()
    client = connect(url, key, limits=Limits(mentions=1, at_once=1))
    assert len(client.score(["ok", "ok"])) == 2  # the second is refused, and sent again when the server lets it
    with pytest.raises(OverloadedError, match="^429 Too many requests: crm may send 1 requests a second") as overloaded:
        connect(url, key, retries=0, limits=Limits(mentions=1)).score(["ok", "ok"])
    assert overloaded.value.retry_after == 1


def test_model_is_told(connect: Connect, server: httpx.Client, tiny_triage: Triage) -> None:
    info, document = connect(str(server.base_url)).model(), server.get("/v1/model").json()
    told = _as_json(dataclasses.asdict(info))
    assert {name: value for name, value in told.items() if name not in ("policy", "tiers")} == {
        name: document[name] for name in told if name not in ("policy", "tiers")
    }
    assert info.policy.sha256 == document["policy"]["sha256"] == tiny_triage.policy.sha256
    assert info.intents == INTENTS
    assert info.tiers is None


def test_server_that_stops_is_not_ready(connect: Connect, tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    assert connect(str(serve(app_of(tiny_triage)).base_url)).ready() is True
    assert connect(str(serve(app_of(tiny_triage, draining=True)).base_url)).ready() is False
    with pytest.raises(RefusedError, match="^404 Not found"):
        connect(f"{serve(app_of(tiny_triage)).base_url}/elsewhere").ready()


def test_what_nobody_waits_for_any_more_is_dropped(
    connect: Connect, tiny_triage: Triage, serve: Serve, app_of: AppOf
) -> None:
    asked: list[str] = []
    leave = threading.Event()

    class Held(Triage):
        def answer_ready(
            self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False
        ) -> list[list[dict[str, Any]] | MentionError]:
            asked.extend(one.mention.id for one in turn)
            if any(one.mention.id == "held" for one in turn):
                leave.wait(20)
            return super().answer_ready(turn, as_of=as_of, explain=explain)

    server = serve(app_of(Held(tiny_triage.scorer, tiny_triage.policy), threads=1))
    client = connect(str(server.base_url))
    with pytest.raises(TimedOutError):
        client.score([*[Mention("ok", id="held")] * 4, *[Mention("ok", id="dropped")] * 40], timeout=0.5)
    assert until(lambda: "firstreply_requests_in_flight 0.0" in server.get("/metrics").text)
    leave.set()
    assert len(client.score([Mention("ok", id="after")])) == 1
    assert asked[-1] == "after"
    assert "dropped" not in asked


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"url": "127.0.0.1:8080"}, "give one such as"),
        ({"url": "/v1/score"}, "give one such as"),
        ({"url": "http://[::1"}, "is no URL"),
        ({"key": ""}, "key is empty"),
        ({"key": "fr_x\n"}, "characters that no key has"),
        ({"key": "clé"}, "characters that no key has"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"retries": -1}, "retries is -1"),
    ],
)
def test_arguments_that_cannot_be_used_are_told(connect: Connect, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        connect(**{"url": "http://127.0.0.1:8080", **arguments})


@pytest.mark.parametrize("block", range(2))
def test_examples_of_the_readme_run(server: httpx.Client, block: int, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (CLIENT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    exec(blocks[block].replace("http://127.0.0.1:8080", str(server.base_url)), names)
    if block == 0:
        assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
            ["1", "northtel"],
            ["1", "skyfone"],
            ["2", "northtel"],
        ]
    else:
        assert [result.id for result in names["results"]] == ["7"]


def test_client_needs_httpx_and_nothing_else() -> None:
    for file in (CLIENT / "firstreply_client").glob("*.py"):
        assert imported(file) <= {*sys.stdlib_module_names, "httpx", "firstreply_client"}, file
