"""The openai engine against a server that misbehaves; that it writes the right steps is in `conformance`."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.server.generator import OpenAiGenerator
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import Sampling
from tests.support.fake_server import Dialect, FakeServer
from tests.unit.engines.conformance.scripted import build_scripted, context_of


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_scripted(tmp_path_factory.mktemp("openai") / "scripted")


@pytest.fixture(scope="module")
def shared(directory: Path) -> Iterator[FakeServer]:
    fake = FakeServer(directory)
    yield fake
    fake.stop()


@pytest.fixture
def fake(shared: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    monkeypatch.setattr("arbitrage.engines.server.client.PAUSE_S", 0.01)
    shared.bodies.clear()
    shared.headers.clear()
    shared.faults.clear()
    shared.token_s, shared.dropped, shared.most_at_once = 0.0, 0, 0
    return shared


def connect(directory: Path, url: str, separator: str = "\n\n", dtype: str = "float32", **server: Any) -> Any:
    settings = {"path": str(directory), "engine": "openai", "dtype": dtype, "server": {"url": url, **server}}
    model = Model.model_validate(settings)
    return closing(OpenAiGenerator(resolve(directory, key="models.target"), model, Generation(separator=separator)))


@pytest.mark.parametrize("faults", [[429, 500, 503], ["drop", 502], ["hang"]])
def test_what_may_pass_is_tried_again(fake: FakeServer, directory: Path, faults: list[int | str]) -> None:
    with connect(directory, fake.url, timeout_s=1.0) as generator:
        fake.bodies.clear()
        fake.faults.extend(faults)
        (step,) = generator.generate([context_of(generator.tokenizer, "across")], [9])
        assert step.text == "g\n\n" and len(fake.bodies) == len(faults) + 1


def test_a_server_that_goes_on_failing_is_given_up_and_named(fake: FakeServer, directory: Path) -> None:
    with connect(directory, fake.url, retries=2) as generator:
        fake.faults.extend([500] * 3)
        with pytest.raises(EngineError, match=rf"models\.target: the server at {fake.url} failed 3 times.*fault 500"):
            generator.generate([context_of(generator.tokenizer, "eos")], [9])
        assert generator.generate([context_of(generator.tokenizer, "eos")], [9])[0].text == "h"


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(400, "takes prompts as token ids"), (401, "give the key's variable"), (404, "correct server.url")],
)
def test_a_refusal_is_final_and_says_what_to_do(fake: FakeServer, directory: Path, status: int, remedy: str) -> None:
    with connect(directory, fake.url) as generator:
        fake.bodies.clear()
        fake.faults.append(status)
        with pytest.raises(EngineError, match=rf"refuses the request with {status} .*fault {status}.*{remedy}"):
            generator.generate([context_of(generator.tokenizer, "eos")], [9])
        assert len(fake.bodies) == 1


def test_a_refusal_ends_the_other_requests_at_once(fake: FakeServer, directory: Path) -> None:
    with connect(directory, fake.url) as generator:
        fake.token_s = 0.05
        fake.faults.append(400)
        start = time.monotonic()
        with pytest.raises(EngineError, match="refuses"):
            generator.generate(
                [context_of(generator.tokenizer, "endless", 2 + number) for number in range(8)], [900] * 8
            )
        assert time.monotonic() - start < 10


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
def test_a_server_that_dies_in_mid_run_is_an_error(
    directory: Path, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbitrage.engines.server.client.PAUSE_S", 0.01)
    fake = FakeServer(directory, dialect)
    with connect(directory, fake.url, retries=2) as generator:
        fake.token_s = 0.02
        death = threading.Timer(0.3, fake.die)
        death.start()
        with pytest.raises(EngineError, match=r"failed 3 times, at last with (ConnectError|Read|Remote).*see its log"):
            generator.generate([context_of(generator.tokenizer, "endless")] * 4, [900] * 4)


def test_a_server_that_never_comes_up_is_an_error(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(
            EngineError, match=rf"models\.target: no server answers at {url} after 0\.5 s.*ConnectError"
        ):
            connect(directory, url, ready_s=0.5)
    assert f"waiting for the server at {url}" in capsys.readouterr().err


def test_requests_under_way_are_as_many_as_allowed(fake: FakeServer, directory: Path) -> None:
    with connect(directory, fake.url, concurrency=3) as generator:
        fake.token_s = 0.01
        generator.generate([context_of(generator.tokenizer, "endless", 2 + number) for number in range(12)], [5] * 12)
        assert fake.most_at_once == 3


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_closes_the_requests_under_way(fake: FakeServer, directory: Path) -> None:
    with connect(directory, fake.url) as generator:
        fake.token_s = 0.01
        interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            generator.generate(
                [context_of(generator.tokenizer, "endless", 2 + number) for number in range(4)], [900] * 4
            )
        deadline = time.monotonic() + 5
        while fake.dropped < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert fake.dropped == 4


def test_a_key_is_sent_and_a_missing_one_is_named(
    fake: FakeServer, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="environment variable TEST_KEY is not set"):
        connect(directory, fake.url, api_key_variable="TEST_KEY")
    monkeypatch.setenv("TEST_KEY", "abc")
    with connect(directory, fake.url, api_key_variable="TEST_KEY") as generator:
        assert fake.headers[-1]["Authorization"] == "Bearer abc" and "abc" not in generator.identity


def test_a_server_that_tells_no_ids_is_refused(directory: Path) -> None:
    fake = FakeServer(directory, "text")
    with pytest.raises(EngineError, match=r"does not tell the ids of the tokens it writes; expected `token_ids`"):
        connect(directory, fake.url)
    fake.stop()


def test_a_server_with_another_tokenizer_is_found_out(fake: FakeServer, directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in directory.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    content = json.loads((other / "tokenizer.json").read_text())
    ids = content["model"]["vocab"]
    ids[".ĊĊ"], ids["x"] = ids["x"], ids[".ĊĊ"]
    (other / "tokenizer.json").write_text(json.dumps(content))
    with (
        connect(other, fake.url) as generator,
        pytest.raises(
            EngineError, match=r"ended a step \(stop, '\\n\\n'\) that reads 'bx' .*expected the tokenizer of"
        ),
    ):
        generator.generate([context_of(generator.tokenizer, "inside")], [9])


def test_of_several_models_one_has_to_be_named(directory: Path) -> None:
    fake = FakeServer(directory, models=("a", "b"))
    with pytest.raises(EngineError, match=r"lists the models \['a', 'b'\]; expected one: give one of them as server"):
        connect(directory, fake.url)
    with pytest.raises(EngineError, match="expected c"):
        connect(directory, fake.url, model="c")
    with connect(directory, fake.url, model="b") as generator:
        generator.generate([context_of(generator.tokenizer, "eos")], [3])
        assert fake.bodies[-1]["model"] == "b"
    fake.stop()


def test_identity_is_what_steps_depend_on_and_not_how_they_are_fetched(fake: FakeServer, directory: Path) -> None:
    def identity(url: str = fake.url, **settings: Any) -> str:
        with connect(directory, url, **settings) as generator:
            return str(generator.identity)

    elsewhere = FakeServer(directory)
    same = {identity(), identity(concurrency=2), identity(timeout_s=5.0, retries=0), identity(elsewhere.url)}
    elsewhere.models = ("renamed",)
    others = {identity(elsewhere.url), identity(dtype="bfloat16"), identity(separator="\n")}
    elsewhere.dialect, elsewhere.models = "llama.cpp", ("fake",)
    others.add(identity(elsewhere.url))
    elsewhere.stop()
    assert len(same) == 1 and len(others | same) == 5


def test_sampling_is_the_models_own_distribution_with_a_seed_for_each_context(
    fake: FakeServer, directory: Path
) -> None:
    with connect(directory, fake.url) as generator:
        contexts = [context_of(generator.tokenizer, script) for script in ("eos", "across")]

        def sent(sample: int) -> list[dict[str, Any]]:
            fake.bodies.clear()
            generator.generate(contexts, [9, 9], Sampling(0.7, seed=4, sample=sample))
            return sorted(fake.bodies, key=lambda body: body["prompt"] == list(contexts[1]))

        first, again, second = sent(1), sent(1), sent(2)
        seeds = [body["seed"] for body in first + second]
        assert len(set(seeds)) == 4 and [body["seed"] for body in again] == seeds[:2]
        assert {body["temperature"] for body in first} == {0.7}
        assert (first[0]["top_p"], first[0]["repetition_penalty"], first[0]["stop"]) == (1.0, 1.0, ["\n\n"])
        assert set(generator.stop.eos_ids) == set(first[0]["stop_token_ids"]) and len(first[0]["stop_token_ids"]) == 2


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
def test_a_live_step_is_streamed_with_its_salt_and_timed_to_its_first_token(
    directory: Path, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arbitrage.engines.server.client.PAUSE_S", 0.01)
    fake = FakeServer(directory, dialect)
    with connect(directory, fake.url) as generator:
        context = context_of(generator.tokenizer, "special")
        (expected,) = generator.generate([context], [9])
        fake.token_s = 0.1
        start = time.perf_counter()
        step, first_s = generator.write_one(context, 9, "salt")
        assert step == expected and 0.1 <= first_s < time.perf_counter() - start - 0.25
        assert (fake.bodies[-1]["cache_salt"], fake.bodies[-1]["stream"]) == ("salt", True)
        fake.faults.extend([503, "drop"])
        assert generator.write_one(context, 9, "salt")[0] == expected
    fake.stop()
