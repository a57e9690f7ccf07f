from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import Any

import httpx
import hypothesis
import pytest
from fastapi import FastAPI
from hypothesis import strategies as st

from data.schema import Mention, MentionError
from model.pipeline import TURN, usable_cores
from model.triage import Ready, Triage
from serving.contract import EXAMPLE_REQUEST, ModelInfo, Problem, ScoreResponse
from serving.limits import Limits
from tests.processes import until

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]
Answers = list[list[dict[str, Any]] | MentionError]

TEXTS = [
    "Third outage this week. I am leaving @northtel for @skyfone.",
    "@northtel does the family plan include roaming?",
    "Thank you @northtel, the technician was great 😀",
    "ok",
    "Où est ma commande ? @northtel " + "toujours rien. " * 400,
]


def mentions(*texts: str) -> list[dict[str, Any]]:
    return [{"id": str(number), "text": text, "brand": "northtel"} for number, text in enumerate(texts)]


def scored(client: httpx.Client, values: list[Any], **envelope: Any) -> list[dict[str, Any]]:
    response = client.post("/v1/score", json={"mentions": values, **envelope})
    assert response.status_code == 200, response.text
    ScoreResponse.model_validate_json(response.content)
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def assert_problem(response: httpx.Response, status: int, detail: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content)
    assert problem.status == status
    assert detail in problem.detail
    assert problem.instance == response.url.raw_path.decode()


def post(client: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    return client.post("/v1/score", content=body, headers={"Content-Type": "application/json", **headers})


def test_answer_is_that_of_triage(client: httpx.Client, tiny_triage: Triage) -> None:
    response = client.post("/v1/score", json=EXAMPLE_REQUEST)
    assert response.json()["model"] == tiny_triage.name
    for given, result in zip(EXAMPLE_REQUEST["mentions"], response.json()["results"], strict=True):
        reading = tiny_triage.scorer.read(given["text"], given["brand"])
        assert result["id"] == given["id"]
        assert list(result["probabilities"].values()) == pytest.approx(reading.probabilities, abs=1e-6)


def test_probabilities_are_the_same_alone_in_a_batch_and_beside_others(client: httpx.Client) -> None:
    values = mentions(*TEXTS * 4)
    alone = {value["id"]: scored(client, [value])[0] for value in values}
    shuffled = random.Random(7).sample(values, len(values))
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: scored(client, shuffled), range(4)))
    for batch in batches:
        assert [result["id"] for result in batch] == [value["id"] for value in shuffled]
        assert all(result["probabilities"] == alone[result["id"]]["probabilities"] for result in batch)


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(data=st.data())
def test_results_are_the_same_however_mentions_are_sent(client: httpx.Client, data: st.DataObject) -> None:
    """In any order, in requests of any sizes, by any number of clients at once."""
    alone = [scored(client, mentions(text))[0]["probabilities"] for text in TEXTS]
    sent = data.draw(st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=40), label="mentions")
    cuts = sorted(data.draw(st.sets(st.integers(1, 40), max_size=6), label="requests end at"))
    requests = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True) if sent[start:end]]
    with ThreadPoolExecutor(data.draw(st.integers(1, 8), label="clients")) as pool:
        answers = list(pool.map(lambda places: scored(client, mentions(*(TEXTS[i] for i in places))), requests))
    for places, results in zip(requests, answers, strict=True):
        assert [result["probabilities"] for result in results] == [alone[place] for place in places]


def test_each_target_brand_has_a_result(client: httpx.Client) -> None:
    results = scored(client, [{"text": TEXTS[0], "brand": ["northtel", "skyfone"]}, {"text": "ok"}])
    assert [(result["id"], result["brand"]) for result in results] == [
        ("1", "northtel"),
        ("1", "skyfone"),
        ("2", None),
    ]


def test_long_text_is_marked_and_short_text_is_not(client: httpx.Client) -> None:
    short, long = scored(client, mentions("ok", "word " * 2000))
    assert long["truncated"] is True
    assert "truncated" not in short


def test_explain_gives_words_of_the_text_for_each_label(client: httpx.Client) -> None:
    for value, result in zip(mentions(*TEXTS[:4]), scored(client, mentions(*TEXTS[:4]), explain=True), strict=True):
        assert list(result["why"]) == result["labels"]
        for word in [word for words in result["why"].values() for word in words]:
            assert value["text"][word["start"] : word["end"]] == word["word"]
    assert "why" not in scored(client, mentions("ok"), explain=False)[0]


def test_as_of_is_the_moment_of_the_request(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    moments = []

    class Recording(Triage):
        def answer_ready(self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False) -> Answers:
            moments.extend([as_of] * len(turn))
            return super().answer_ready(turn, as_of=as_of, explain=explain)

    client = serve(app_of(Recording(tiny_triage.scorer, tiny_triage.policy)))
    before = datetime.now(UTC)
    scored(client, mentions("ok", "ok"))
    assert before < moments[-1] < datetime.now(UTC)
    assert moments[-1] == moments[-2]


@pytest.mark.parametrize(
    ("bad", "identifier", "title"),
    [
        ('{"id": "a"}', "a", "Missing field"),
        ('{"id": 7, "text": ""}', "7", "Invalid mention"),
        ('{"id": {}, "text": "x"}', "2", "Invalid mention"),
        ('{"id": null, "text": 5}', "2", "Invalid mention"),
        ('{"text": "x", "brnad": "y"}', "2", "Unknown field"),
        ('{"text": "x", "brand": [1]}', "2", "Invalid mention"),
        ('{"text": "x", "created_at": "yesterday"}', "2", "Invalid mention"),
        ('{"text": "x", "author": {"followers": NaN}}', "2", "Invalid mention"),
        ('{"text": "x", "author": {"followers": 1e999}}', "2", "Invalid mention"),
        ('{"text": "x", "author": {"satisfaction": 1.5}}', "2", "Invalid mention"),
        ('{"text": "x", "author": {"rank": "\\ud83d"}}', "2", "Unknown field"),
        (f'{{"text": "{"x" * 100_001}"}}', "2", "Invalid mention"),
        (f'{{"text": "x", "brand": ["y", "{"é" * 1_001}"]}}', "2", "Invalid mention"),
        ("null", "2", "Invalid mention"),
        ("[]", "2", "Invalid mention"),
        ("NaN", "2", "Invalid mention"),
    ],
)
def test_bad_mention_has_its_error_in_its_place(client: httpx.Client, bad: str, identifier: str, title: str) -> None:
    response = post(client, f'{{"mentions": [{{"text": "ok"}}, {bad}, {{"text": "ok"}}]}}'.encode())
    ScoreResponse.model_validate_json(response.content)
    first, error, last = response.json()["results"]
    assert error["id"] == identifier
    assert error["error"]["title"] == title
    assert error["error"]["detail"]
    assert first["probabilities"] == last["probabilities"]


@pytest.mark.parametrize("text", ["half \\ud83d a pair", "\\ud83d", "\\u0000", "e\\u0301 \\u202e \\uffff", "😀" * 300])
def test_odd_characters_are_answered_and_given_back(client: httpx.Client, text: str) -> None:
    body = f'{{"mentions": [{{"id": "{text}", "text": "x {text}", "brand": "y{text}"}}, {{"text": "ok"}}]}}'
    response = post(client, body.encode())
    assert response.status_code == 200
    assert [result["id"] for result in response.json()["results"]] == [json.loads(f'"{text}"'), "2"]
    assert "probabilities" in response.json()["results"][1]


def test_ids_may_repeat(client: httpx.Client) -> None:
    assert [result["id"] for result in scored(client, [{"id": "a", "text": "ok"}] * 3)] == ["a"] * 3


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "not JSON"),
        (b"mentions", "not JSON"),
        (b'{"mentions": [{"text": "ok"}]', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"mentions": [' + b"9" * 5000 + b"]}", "not JSON"),
        (b"[" * 150_000, "nested"),
        (b"[]", "must be an object"),
        (b"null", "must be an object"),
        (b"{}", "mentions"),
        (b'{"mentions": {"text": "ok"}}', "mentions"),
        (b'{"mentions": []}', "at least one"),
        (b'{"mentions": [{"text": "ok"}], "explan": true}', "explan"),
        (b'{"mentions": [{"text": "ok"}], "\\ud83d": true}', "not a field"),
        (b'{"mentions": [{"text": "ok"}], "explain": "yes"}', "explain"),
        (b'{"mentions": [' + b",".join([b'{"text": "ok"}'] * 51) + b"]}", "at most 50"),
        (
            b'{"mentions": [{"text": "ok", "brand": [' + b",".join(b'"b%d"' % n for n in range(51)) + b"]}]}",
            "at most 50",
        ),
    ],
)
def test_malformed_envelope_is_422(client: httpx.Client, body: bytes, detail: str) -> None:
    assert_problem(post(client, body), 422, detail)


@pytest.mark.parametrize("header", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_by_any_spelling_is_taken(client: httpx.Client, header: str) -> None:
    body = json.dumps({"mentions": mentions("ok"), "explain": None}).encode()
    assert post(client, body, **{"Content-Type": header}).status_code == 200


def test_byte_order_mark_is_taken(client: httpx.Client) -> None:
    assert post(client, b"\xef\xbb\xbf" + json.dumps({"mentions": mentions("ok")}).encode()).status_code == 200


def test_other_media_types_are_415(client: httpx.Client) -> None:
    body = json.dumps({"mentions": mentions("ok")}).encode()
    for header in ("application/x-www-form-urlencoded", "text/plain", "application/jsonl", ""):
        assert_problem(post(client, body, **{"Content-Type": header}), 415, "application/json")
    assert_problem(client.post("/v1/score", content=body), 415, "no type")
    assert_problem(post(client, body, **{"Content-Encoding": "gzip"}), 415, "compressed")


_HEAD = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def _raw(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10)


def test_declared_oversize_is_413_before_any_of_it_is_sent(client: httpx.Client) -> None:
    with _raw(client) as connection:
        connection.sendall(_HEAD + b"Content-Length: 99999999999\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_chunked_oversize_is_413_while_it_is_sent(client: httpx.Client) -> None:
    with _raw(client) as connection:
        connection.sendall(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(21):
            connection.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")  # the body never ended


def test_connection_is_good_after_an_oversized_body(client: httpx.Client) -> None:
    assert_problem(post(client, b" " * 200_001), 413, "200,000 bytes")
    assert_problem(
        client.post(
            "/v1/score", content=(b" " * 9_000 for _ in range(50)), headers={"Content-Type": "application/json"}
        ),
        413,
        "200,000 bytes",
    )
    assert scored(client, mentions("ok"))


def test_body_of_the_limit_is_taken(client: httpx.Client) -> None:
    body = json.dumps({"mentions": mentions("ok")}).encode()
    assert post(client, body.ljust(200_000)).status_code == 200


def test_client_that_leaves_halfway_harms_nobody(client: httpx.Client) -> None:
    with _raw(client) as connection:
        connection.sendall(_HEAD + b"Content-Length: 1000\r\n\r\n{")
    assert scored(client, mentions("ok"))


def test_unknown_addresses_and_methods_are_problems(client: httpx.Client) -> None:
    assert_problem(client.get("/nothing here"), 404, "nothing at this address")
    assert_problem(client.post("/v1/score/", json={}), 404, "nothing at this address")
    assert_problem(client.get("/static-offline-docs/nothing.js"), 404, "nothing at this address")
    response = client.get("/v1/score")
    assert_problem(response, 405, "another method")
    assert response.headers["allow"] == "POST"


def test_model_is_told(client: httpx.Client, tiny_triage: Triage) -> None:
    info = ModelInfo.model_validate_json(client.get("/v1/model").content)
    assert info.model == tiny_triage.name
    assert info.cut in info.thresholds


def test_health_of_a_ready_server(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_not_ready_before_the_lifespan_has_warmed_it_up(tiny_triage: Triage, app_of: AppOf) -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(app_of(tiny_triage))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/livez")).status_code == 200
            for response in (await client.get("/readyz"), await client.post("/v1/score", json=EXAMPLE_REQUEST)):
                assert_problem(response, 503, "try again")
                assert response.headers["retry-after"] == "1"

    asyncio.run(ask())


def test_too_many_requests_in_flight_are_429(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(Triage):
        def answer_ready(self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False) -> Answers:
            if turn and turn[0].mention.id == "slow":
                entered.set()
                leave.wait(10)
            return super().answer_ready(turn, as_of=as_of, explain=explain)

    client = serve(app_of(Slow(tiny_triage.scorer, tiny_triage.policy), Limits(requests=1)))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(scored, client, [{"id": "slow", "text": "ok"}])
        assert entered.wait(10)
        response = client.post("/v1/score", json=EXAMPLE_REQUEST)
        assert_problem(response, 429, "in flight")
        assert response.headers["retry-after"] == "1"
        assert client.get("/readyz").status_code == 200
        leave.set()
        assert slow.result()[0]["id"] == "slow"
    for _ in range(3):  # what was in flight is counted down, whether it was answered or refused
        assert_problem(post(client, b"{}"), 422, "mentions")
    assert scored(client, mentions("ok"))


class Held(Triage):
    """Answers the mention "slow" when it is let, and keeps the ids of what it is asked."""

    def __init__(self, triage: Triage) -> None:
        super().__init__(triage.scorer, triage.policy)
        self.asked: list[str] = []
        self.entered, self.leave = threading.Semaphore(0), threading.Event()

    def answer_ready(self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False) -> Answers:
        """As its parent does, but held up."""
        self.asked += [one.mention.id for one in turn]
        if any(one.mention.id == "slow" for one in turn):
            self.entered.release()
            self.leave.wait(20)
        return super().answer_ready(turn, as_of=as_of, explain=explain)


def test_what_nobody_waits_for_any_more_is_not_scored(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    held = Held(tiny_triage)
    client = serve(app_of(held))
    slow = usable_cores()
    with ThreadPoolExecutor(slow) as pool:
        waiting = [pool.submit(scored, client, [{"id": "slow", "text": "ok"}]) for _ in range(slow)]
        for _ in waiting:
            assert held.entered.acquire(timeout=10)
        body = json.dumps({"mentions": [{"id": "left", "text": "ok"}] * 40}).encode()
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as leaving:
            head = (
                f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            )
            leaving.sendall(head.encode() + b"\r\n\r\n" + body)
            time.sleep(0.5)
        time.sleep(1.5)
        held.leave.set()
        for one in waiting:
            one.result()
    scored(client, [{"id": "last", "text": "ok"}])
    assert "last" in held.asked
    assert "left" not in held.asked


def test_more_mentions_than_may_wait_are_429(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    held = Held(tiny_triage)
    client = serve(app_of(held, Limits(tokens=2_000, mentions=20)))
    slow = usable_cores()
    largest = {"mentions": mentions(*["word " * 200] * 20)}  # 96 tokens each
    with ThreadPoolExecutor(slow + 2) as pool:
        waiting = [pool.submit(scored, client, [{"id": "slow", "text": "ok"}]) for _ in range(slow)]
        for _ in waiting:
            assert held.entered.acquire(timeout=10)
        two = [pool.submit(client.post, "/v1/score", json=largest) for _ in range(2)]
        refused = next(as_completed(two)).result()
        assert_problem(refused, 429, "As many mentions wait")
        assert int(refused.headers["retry-after"]) > 0
        held.leave.set()
        assert sorted(one.result().status_code for one in two) == [200, 429]
        for one in waiting:
            one.result()
    for _ in range(3):  # what was refused holds no room
        assert client.post("/v1/score", json=largest).status_code == 200


def in_flight(client: httpx.Client) -> int:
    found = re.search(r"^firstreply_requests_in_flight (\d+)", client.get("/metrics").text, re.MULTILINE)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("text", ["ok", "word " * 100])
def test_large_requests_are_answered_as_they_came_and_single_ones_at_once(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, text: str
) -> None:
    held = Held(tiny_triage)
    client = serve(app_of(held))
    slow, large = usable_cores(), 10
    with ThreadPoolExecutor(slow + large + 1) as pool:
        requests = [[{"id": "slow", "text": "ok"}]] * slow
        requests += [[{"id": str(number), "text": text}] * 9 for number in range(large)]
        requests += [[{"id": "single", "text": "ok"}]]
        waiting = []
        for number, values in enumerate(requests, start=1):
            waiting.append(pool.submit(scored, client, values))
            assert until(lambda number=number: in_flight(client) == number)  # type: ignore[misc]
        held.leave.set()
        for one in waiting:
            one.result()
    assert held.asked.index("single") <= slow + (4 + slow) * TURN
    ends = [len(held.asked) - held.asked[::-1].index(str(number)) for number in range(large)]
    for number in range(large):
        begun = held.asked.index(str(number))
        assert sum(end <= begun for end in ends) >= number - 3  # four at a time


def test_texts_that_are_slow_to_read_do_not_hold_up_another_large_request(
    tiny_triage: Triage, serve: Serve, app_of: AppOf
) -> None:
    class Slow(Triage):
        def prepare(self, mention: Mention) -> Ready:
            until = time.thread_time() + 0.15 * mention.text.startswith("slow")
            while time.thread_time() < until:
                pass
            return super().prepare(mention)

    client = serve(app_of(Slow(tiny_triage.scorer, tiny_triage.policy)))
    texts = ["slow" + " word" * 5_000] * 8
    with ThreadPoolExecutor(5) as pool:
        hostile = [pool.submit(scored, client, mentions(*texts)) for _ in range(5)]
        assert until(lambda: in_flight(client) == len(hostile))
        scored(client, mentions(*["word " * 100] * 9))
        assert sum(one.done() for one in hostile) <= 1


def test_many_targets_of_one_mention_are_shared_out(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    held = Held(tiny_triage)
    brands = [f"brand{number}" for number in range(40)]
    results = scored(serve(app_of(held)), [{"id": "many", "text": "ok", "brand": brands}, {"id": "one", "text": "ok"}])
    assert [(result["id"], result["brand"]) for result in results] == [
        *(("many", brand) for brand in brands),
        ("one", None),
    ]
    assert held.asked.count("many") == 40
    urgent = {"followers": 1e9, "lifetime_value": 1e9, "purchases": 1e9, "satisfaction": 0}
    late = {"text": "leaving, help", "brand": brands, "created_at": "9999-12-31T23:59:59Z", "author": urgent}
    (error,) = scored(serve(app_of(tiny_triage)), [late])
    assert "out of range" in error["error"]["detail"]


def test_one_unknown_field_is_enough(client: httpx.Client) -> None:
    fields = {f"field{number}": number for number in range(50)}
    for mention in ({"text": "ok", **fields}, {"text": "ok", "author": fields}):
        (error,) = scored(client, [mention])
        assert error["error"]["title"] == "Unknown field"
        assert "field0 is not a field" in error["error"]["detail"]


def test_a_scoring_thread_that_dies_is_told_and_nobody_waits(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    class Dying(Triage):
        def answer_ready(self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False) -> Answers:
            if any(one.mention.text == "die" for one in turn):
                raise SystemExit
            return super().answer_ready(turn, as_of=as_of, explain=explain)

    client = serve(app_of(Dying(tiny_triage.scorer, tiny_triage.policy)))
    assert client.get("/readyz").status_code == 200
    assert_problem(client.post("/v1/score", json={"mentions": mentions("die")}), 503, "a scoring thread has died")
    assert_problem(client.get("/readyz"), 503, "restart the server")
    assert_problem(client.post("/v1/score", json={"mentions": mentions("ok")}), 503, "restart the server")
    assert_problem(client.get("/livez"), 503, "restart the server")


def test_unforeseen_error_is_500_and_gives_nothing_away(
    tiny_triage: Triage, serve: Serve, caplog: pytest.LogCaptureFixture, app_of: AppOf
) -> None:
    class Failing(Triage):
        def answer_ready(self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False) -> Answers:
            if any("secret" in one.mention.text for one in turn):
                raise RuntimeError(f"cannot read {turn[0].mention.text}")
            return super().answer_ready(turn, as_of=as_of, explain=explain)

    client = serve(app_of(Failing(tiny_triage.scorer, tiny_triage.policy)))
    response = client.post("/v1/score", json={"mentions": mentions("ok", *["my secret"] * 20)})
    assert_problem(response, 500, "failed")
    assert "Traceback" not in response.text
    assert "secret" not in response.text
    assert "RuntimeError" in caplog.text
    assert "my secret" not in caplog.text
    assert scored(client, mentions("ok"))


def test_openapi_describes_bodies_and_its_references_resolve(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    components = document["components"]["schemas"]
    operation = document["paths"]["/v1/score"]["post"]
    request = operation["requestBody"]["content"]["application/json"]
    assert request["examples"]["two mentions"]["value"] == EXAMPLE_REQUEST
    assert components["ScoreRequest"]["properties"]["mentions"]["maxItems"] == 50
    assert {"200", "401", "408", "413", "415", "422", "429", "500", "503", "504"} == set(operation["responses"])
    assert {"Mention", "Author", "Result", "Unscored", "Problem", "ModelInfo"} <= set(components)

    def references(node: Any) -> list[str]:
        children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node["$ref"]] if isinstance(node, dict) and "$ref" in node else []
        return own + [reference for child in children for reference in references(child)]

    found = references(document)
    assert found
    assert all(reference.removeprefix("#/components/schemas/") in components for reference in found)


def test_documentation_example_is_a_valid_answer(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"]["/v1/score"]["post"]["responses"]["200"]["content"]["application/json"]
    ScoreResponse.model_validate_json(json.dumps(content["example"]))


def test_documentation_needs_no_internet(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "://" not in page.replace("http://www.w3.org", "")
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
