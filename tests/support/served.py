"""A server in the test process: real HTTP, models made of hashes or any others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
from performance.background import running

from arbitrage.server.app import Limits, Service
from arbitrage.server.chat import Offer
from arbitrage.speculation.concurrent_decoder import ConcurrentDecoder
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies import POLICIES

MODEL = "study/pair"
LIMITS = Limits(64)


@dataclass(frozen=True)
class Served:
    """A server that runs, and where. `url`: without `/v1`."""

    service: Service
    url: str

    def openai(self, **options: Any) -> openai.OpenAI:
        """The official client of this server, which tries everything once."""
        return openai.OpenAI(base_url=f"{self.url}/v1", **{"api_key": "any", "max_retries": 0, "timeout": 60} | options)

    def post(self, content: bytes | str, headers: dict[str, str] | None = None) -> httpx2.Response:
        """A body of any kind, sent to the chat completions as JSON."""
        headers = {"content-type": "application/json"} | (headers or {})
        return httpx2.post(f"{self.url}/v1/chat/completions", content=content, headers=headers, timeout=60)

    def idle(self, seconds: float = 20) -> bool:
        """Whether nothing is left under way, within `seconds`."""
        service = self.service
        lanes = service.decoder.lanes.values()
        return wait(
            lambda: service.running == 0 and not service.decoder.awaited and not any(lane.waiting for lane in lanes),
            seconds,
        )

    def at_rest(self) -> bool:
        """Whether, once nothing is left under way, the engines end what they had taken for clients that have gone."""
        lanes = self.service.decoder.lanes.values()
        return self.idle() and wait(lambda: not any(lane._flying or lane._under_way for lane in lanes))


def wait(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether `condition` comes true within `seconds`."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.005)
    return true


@contextmanager
def served(
    models: PairModels,
    limits: Limits = LIMITS,
    policy: str = "router",
    threshold: float | None = 0.5,
    grace_s: int = 5,
) -> Iterator[Served]:
    """Serve `models`, by all policies that they can follow, until the context is left."""
    there = {name for name in ("draft", "target", "prm", "router") if getattr(models, name) is not None}
    policies = {name: each for name, each in POLICIES.items() if each.needs <= there}
    offer = Offer(MODEL, policies, policy, threshold, models.generation.max_tokens, "fp_test")
    service = Service(ConcurrentDecoder(models, seed=7), offer, limits)
    with running(service, grace_s) as url:
        yield Served(service, url)
