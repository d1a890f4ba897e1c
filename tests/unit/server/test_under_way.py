"""Requests at work: too many are told to wait, those whose client goes away end, faults reach those they concern."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import psutil
import pytest

from arbitrage.server.app import Limits
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Sampling
from tests.support.fakes import FakeGenerator, fake_models
from tests.support.served import MODEL, Served, served, wait

SOAK_S = 300.0


class Slow(FakeGenerator):
    """Takes `seconds` a call, and waits while `open` is not set; fails where it is asked about "fail"."""

    def __init__(self, name: str, seconds: float = 0.0) -> None:
        super().__init__(name)
        self.seconds, self.open, self.begun = seconds, threading.Event(), threading.Event()
        self.open.set()

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        self.begun.set()
        assert self.open.wait(60)
        time.sleep(self.seconds)
        if any("fail" in "".join(map(chr, ids)) for ids in contexts):
            raise EngineError("/secret/path: out of order")
        return super().generate(contexts, limits, sampling)


def slow_models(seconds: float = 0.0) -> tuple[PairModels, Slow]:
    models, draft = fake_models(), Slow("draft", seconds)
    models.draft = draft
    models.__post_init__()
    return models, draft


def body(problem: str = "Why?", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": problem}]} | more


def test_one_too_many_is_told_when_to_come_again_and_then_served() -> None:
    models, draft = slow_models()
    draft.open.clear()
    with served(models, Limits(concurrency=2)) as server, ThreadPoolExecutor(2) as threads:
        chat = server.openai().chat.completions
        replies = [threads.submit(chat.create, **body(f"{number}?")) for number in range(2)]
        assert wait(lambda: server.service.running == 2)
        with pytest.raises(openai.RateLimitError, match="as many as this server takes") as refused:
            chat.create(**body())
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
        draft.open.set()
        assert all(reply.result().choices for reply in replies)
        assert chat.create(**body()).choices


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_leaves_nothing_under_way(stream: bool) -> None:
    models, draft = slow_models()
    draft.open.clear()
    with served(models) as server:
        kept = ThreadPoolExecutor(1).submit(server.openai().chat.completions.create, **body("Kept?"))
        assert wait(draft.begun.is_set)
        with pytest.raises((httpx2.ReadTimeout, openai.APITimeoutError)):
            list(server.openai(timeout=0.3).chat.completions.create(**body("Gone?", stream=stream)))
        assert wait(lambda: server.service.running == 1)
        assert wait(lambda: server.service.decoder.lanes["draft"].waiting == 0)
        assert len(server.service.decoder.awaited) == 1
        draft.open.set()
        assert kept.result().choices
        assert server.idle()
        assert 'arbitrage_requests_total{outcome="cancelled"} 1.0' in httpx2.get(f"{server.url}/metrics").text


def test_what_an_engine_has_taken_goes_on_when_its_client_has_gone_and_is_forgotten_when_it_ends() -> None:
    models, draft = slow_models()
    draft.open.clear()
    with served(models) as server:
        with pytest.raises(openai.APITimeoutError):
            server.openai(timeout=0.3).chat.completions.create(**body("Gone?"))
        assert server.idle() and server.service.decoder.lanes["draft"]._under_way
        draft.open.set()
        assert server.at_rest()


def test_a_stream_that_is_left_after_its_first_step_ends() -> None:
    models, _ = slow_models(seconds=0.05)
    with served(models, policy="draft_only", threshold=None) as server:
        problem = next(each for each in map("What is {}?".format, range(50)) if steps_of(server, each) > 3)
        stream = server.openai().chat.completions.create(**body(problem), stream=True)
        assert next(iter(stream)).choices[0].delta.content
        stream.close()
        assert server.idle()
        assert 'outcome="cancelled"} 1.0' in httpx2.get(f"{server.url}/metrics").text


def steps_of(server: Served, problem: str) -> int:
    reply: Any = server.openai().chat.completions.create(**body(problem))
    return len(reply.model_extra["arbitrage"]["steps"])


def test_a_fault_of_a_model_is_a_500_without_details_and_shows_in_the_health() -> None:
    models, _ = slow_models()
    with served(models) as server:
        client = server.openai()
        with pytest.raises(openai.InternalServerError) as whole:
            client.chat.completions.create(**body("fail"))
        assert "secret" not in str(whole.value) and whole.value.code == "model_failed"
        health = httpx2.get(f"{server.url}/health")
        assert (health.status_code, health.json()["failing"]) == (503, ["draft"])
        with pytest.raises(openai.APIError, match="a model failed on this request"):
            list(client.chat.completions.create(**body("fail"), stream=True))
        assert client.chat.completions.create(**body()).choices
        assert httpx2.get(f"{server.url}/health").status_code == 200
        assert 'outcome="failed"} 2.0' in httpx2.get(f"{server.url}/metrics").text


def test_asked_to_stop_the_server_lets_running_requests_end() -> None:
    models, _ = slow_models(seconds=0.1)
    with ThreadPoolExecutor(1) as threads:
        with served(models) as server:
            reply = threads.submit(server.openai().chat.completions.create, **body())
            assert wait(lambda: server.service.running == 1)
        assert reply.result().choices[0].message.content
    with pytest.raises(openai.APIConnectionError):
        server.openai().models.list()


def test_what_has_not_ended_after_the_grace_is_cut_off() -> None:
    models, _ = slow_models(seconds=0.5)
    with ThreadPoolExecutor(1) as threads:
        with served(models, policy="draft_only", threshold=None, grace_s=0) as server:
            reply = threads.submit(server.openai().chat.completions.create, **body())
            assert wait(lambda: server.service.running == 1)
        assert server.idle()
        with pytest.raises(openai.APIError):
            reply.result()


def soak(seconds: float) -> None:
    """Clients that come and go as they like for `seconds`; then nothing is under way, and nothing has grown."""
    models, _ = slow_models(seconds=0.002)
    draw = random.Random(5)
    with served(models, Limits(concurrency=16)) as server, ThreadPoolExecutor(12) as threads:
        patient = server.openai()

        def one(number: int) -> str:
            patience = draw.choice([0.001, 0.01, 0.05, 5.0])
            client = patient.with_options(timeout=patience)
            problem = f"What is {number % 40}?"
            policy = draw.choice(list(server.service.offer.policies))
            request = body(problem, stream=draw.random() < 0.5, extra_body={"policy": policy, "threshold": 0.4})
            try:
                reply = client.chat.completions.create(**request)
                if isinstance(reply, openai.Stream):
                    for read, _ in enumerate(reply):
                        if draw.random() < 0.2 * read:
                            reply.close()
                            return "left"
            except (openai.APITimeoutError, httpx2.TimeoutException):
                return "left"
            except openai.RateLimitError:
                return "refused"
            return "read"

        def some(least_s: float) -> set[str]:
            end, results = time.monotonic() + least_s, set[str]()
            while time.monotonic() < end:
                results |= set(threads.map(one, range(60)))
            patient.models.list()  # by its answer the server has read what hasty clients had sent before
            return results

        process = psutil.Process()  # of server and clients alike
        warm = some(0.2 * seconds)
        assert server.idle()
        files, memory = process.num_fds(), process.memory_info().rss
        assert {"left", "read"} <= warm | some(0.8 * seconds)
        assert server.at_rest()
        assert wait(lambda: process.num_fds() <= files + 5)
        assert process.memory_info().rss - memory < 30 * 2**20


def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    soak(3.0)


@pytest.mark.extra
@pytest.mark.timeout(2 * SOAK_S)
def test_clients_that_come_and_go_for_five_minutes_leave_nothing_behind() -> None:
    soak(SOAK_S)
