"""What a server tells Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from arbitrage.server.replies import AUTHORS, Reply
from arbitrage.speculation.concurrent_decoder import ConcurrentDecoder

OUTCOMES = ("completed", "cancelled", "failed", "refused")
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)


class Metrics:
    """Counters of one server. `refused`: with 429; what is wrong with a request is not counted."""

    def __init__(self, decoder: ConcurrentDecoder, running: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("arbitrage_requests", "Requests by outcome", ["outcome"], registry=registry)
        self._seconds = Histogram("arbitrage_request_seconds", "Of completed ones", buckets=SECONDS, registry=registry)
        self._steps = Counter("arbitrage_steps", "Steps of solutions, by author", ["author"], registry=registry)
        self._tokens = Counter("arbitrage_tokens", "Written, rejected ones too", ["model"], registry=registry)
        Gauge("arbitrage_requests_running", "Requests under way", registry=registry).set_function(running)
        registry.register(Lanes(decoder))
        for outcome in OUTCOMES:
            self._requests.labels(outcome)
        for author in AUTHORS:
            self._steps.labels(author)
            self._tokens.labels(author)

    @property
    def text(self) -> bytes:
        """The page `/metrics`."""
        return generate_latest(self._registry)

    def ended(self, outcome: str, seconds: float) -> None:
        """A request has ended, `seconds` after it came."""
        self._requests.labels(outcome).inc()
        if outcome == "completed":
            self._seconds.observe(seconds)

    def written(self, reply: Reply) -> None:
        """What a reply, whole or broken off, took."""
        for author, tokens in reply.usage["by_model"].items():
            self._tokens.labels(author).inc(tokens["written"])
        for visit in reply.visits:
            self._steps.labels(visit.author).inc()


class Lanes(Collector):
    """What the engines' lanes count themselves."""

    def __init__(self, decoder: ConcurrentDecoder) -> None:
        self._decoder = decoder

    def collect(self) -> Iterator[Metric]:
        """The metrics, as they are now."""
        calls = CounterMetricFamily("arbitrage_model_batches", "Times a model took requests", labels=["model"])
        asked = CounterMetricFamily("arbitrage_model_requests", "Requests a model took", labels=["model"])
        busy = CounterMetricFamily("arbitrage_model_busy_seconds", "Seconds with work", labels=["model"])
        waiting = GaugeMetricFamily("arbitrage_model_waiting", "Requests that wait for a model", labels=["model"])
        for name, lane in self._decoder.lanes.items():
            calls.add_metric([name], lane.takes)
            asked.add_metric([name], lane.taken)
            busy.add_metric([name], lane.busy_s)
            waiting.add_metric([name], lane.waiting)
        yield from (calls, asked, busy, waiting)
