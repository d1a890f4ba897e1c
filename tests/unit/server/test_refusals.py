"""Whatever a client sends, it is told what is wrong with it: a 4xx with one object, never a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from arbitrage.server.app import Limits
from arbitrage.server.chat import ChatRequest
from arbitrage.server.connections import MOST_BYTES
from arbitrage.server.errors import invalid
from tests.support.fakes import fake_models
from tests.support.served import MODEL, Served, served

QUESTION = [{"role": "user", "content": "Why?"}]
GOOD = {"model": MODEL, "messages": QUESTION}
REFUSED: dict[str, tuple[Any, int, str, str]] = {
    "no-json": (b"{", 400, "invalid_json", "the body is no JSON"),
    "no-utf8": (b'{"model": "\xff"}', 400, "invalid_json", "the body is no JSON"),
    "deep": (b"[" * 100_000, 400, "invalid_json", "the body is no JSON"),
    "list": ([], 400, "invalid_value", "object"),
    "no-messages": ({"model": MODEL}, 400, "invalid_value", "messages: Field required"),
    "none": (GOOD | {"messages": []}, 400, "invalid_value", "messages: List should have at least 1 item"),
    "type": (GOOD | {"stream": "yes"}, 400, "invalid_value", "stream: Input should be a valid boolean"),
    "unknown-model": (GOOD | {"model": "gpt"}, 404, "model_not_found", f"no model 'gpt'; this server has '{MODEL}'"),
    "unknown-policy": (GOOD | {"policy": "best"}, 400, "invalid_value", "policy 'best' is not served; expected one of"),
    "threshold-text": (GOOD | {"threshold": "0.5"}, 400, "invalid_value", "threshold: Input should be a valid number"),
    "threshold-nan": (GOOD | {"threshold": float("nan")}, 400, "invalid_value", "finite number"),
    "threshold-huge": (
        json.dumps(GOOD).encode()[:-1] + b', "threshold": 1e999}',
        400,
        "invalid_value",
        "finite number",
    ),
    "other-policys": (
        GOOD | {"policy": "rsd"},
        400,
        "invalid_value",
        "'rsd' needs a threshold",
    ),
    "tokens": (
        GOOD | {"max_tokens": 0},
        400,
        "invalid_value",
        "Input should be greater than or equal to 1",
    ),
    "sampling": (GOOD | {"temperature": 0.7}, 400, "invalid_value", "decoding is greedy; expected 0, or leave it out"),
    "several": (GOOD | {"n": 2}, 400, "invalid_value", "n: decoding is greedy; expected 1"),
    "unknown-field": (GOOD | {"tools": []}, 400, "unknown_parameter", "tools: this server does not know it"),
    "system": (
        GOOD | {"messages": [{"role": "system", "content": "Rhyme."}, *QUESTION]},
        *(400, "invalid_value", "the prompt is the study's"),
    ),
    "assistant-last": (
        GOOD | {"messages": [*QUESTION, {"role": "assistant", "content": "So"}]},
        *(400, "invalid_value", "the last one is the question; expected a user's"),
    ),
    "empty": (GOOD | {"messages": [{"role": "user", "content": " "}]}, 400, "invalid_value", "with some text"),
    "picture": (
        GOOD | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        *(400, "invalid_value", "Input should be 'text'"),
    ),
    "too-large": (b" " * (MOST_BYTES + 1), 413, "request_too_large", "more than 1,048,576 bytes"),
}


@pytest.mark.parametrize(("body", "status", "code", "words"), REFUSED.values(), ids=REFUSED)
def test_a_faulty_request_is_told_what_is_wrong(server: Served, body: Any, status: int, code: str, words: str) -> None:
    reply = server.post(body if isinstance(body, bytes) else json.dumps(body))
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert words in error["message"] and len(error["message"]) < 400
    assert server.idle()


def test_a_question_that_fills_the_context_is_refused_with_its_length() -> None:
    models = fake_models()
    for engine in (models.draft, models.target):
        engine.max_context = 30  # type: ignore[misc]
    models.__post_init__()
    with served(models) as server, pytest.raises(openai.BadRequestError, match="31 tokens fill") as refused:
        server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x" * 30}])
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/", 404),
        ("GET", "/v1/models/x", 404),
    ],
)
def test_a_wrong_address_is_told_as_an_object_too(server: Served, method: str, path: str, status: int) -> None:
    reply = httpx2.request(method, server.url + path)
    assert reply.status_code == status and reply.json()["error"]["type"] == "invalid_request_error"


def test_a_form_of_another_page_is_no_request(server: Served) -> None:
    """A browser sends text/plain anywhere without asking; JSON it may send only where it is allowed to."""
    assert server.post(json.dumps(GOOD), {"content-type": "text/plain"}).status_code == 415


words = st.sampled_from(["user", "system", "Why?", "text", MODEL, "router", "rsd", "0.5", "", "\ud800", "\x00"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
messages = st.lists(st.fixed_dictionaries({"role": words, "content": values}), max_size=3)
bodies = st.fixed_dictionaries(
    {"model": words | values, "messages": messages | values},
    optional=dict.fromkeys([name for name in ChatRequest.model_fields if name not in GOOD], values),
)


@settings(max_examples=300, deadline=None)
@given(body=bodies | values)
def test_any_body_is_a_request_or_is_told_what_is_wrong(body: Any) -> None:
    text = json.dumps(body)
    try:
        request = ChatRequest.model_validate_json(text)
    except ValidationError as error:
        told = invalid(error)
        assert told.status == 400 and told.body["error"]["message"]
    else:
        assert request.question.strip() and request.limit(10) in range(1, 11)
        assert request.threshold is None or abs(request.threshold) < float("inf")


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=50) | bodies.map(json.dumps).map(str.encode))
def test_the_server_answers_any_bytes(server: Served, body: bytes) -> None:
    assert server.post(body).status_code in (200, 400, 404)


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    with served(fake_models(), Limits(64, key="s3cret-ü")) as running:
        yield running


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer s3cret", "Basic s3cret-ü", "Bearer s3cret-üx"])
def test_without_the_key_nothing_but_the_health_is_told(locked: Served, header: str | None) -> None:
    headers: Any = {} if header is None else {"authorization": header.encode()}
    for path in ("/v1/models", f"/v1/models/{MODEL}", "/metrics"):
        reply = httpx2.get(locked.url + path, headers=headers)
        assert reply.status_code == 401 and reply.json()["error"]["code"] == "invalid_api_key"
    reply = httpx2.post(locked.url + "/v1/chat/completions", json={"model": "?"}, headers=headers)
    assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
    assert httpx2.get(locked.url + "/health").status_code == 200


def test_with_the_key_all_is_open(locked: Served) -> None:
    headers = {"authorization": "Bearer s3cret-ü".encode()}
    for path in ("/v1/models", "/metrics"):
        assert httpx2.get(locked.url + path, headers=headers).status_code == 200
    reply = httpx2.post(locked.url + "/v1/chat/completions", json=GOOD, headers=headers)
    assert reply.status_code == 200


def test_on_the_loopback_a_foreign_name_is_refused() -> None:
    with served(fake_models(), Limits(64, hosts=("localhost", "127.0.0.1"))) as server:
        assert httpx2.get(f"{server.url}/health").status_code == 200
        assert httpx2.get(f"{server.url}/health", headers={"host": "evil.example"}).status_code == 400
