"""From a study to a server that runs: behind `arbitrage serve`."""

from __future__ import annotations

import hashlib
import ipaddress
import signal
import socket
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from arbitrage.config.policies import Need
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.errors import UserError
from arbitrage.runtime.placement import placed
from arbitrage.server.app import Limits, Service, create_app
from arbitrage.server.chat import Offer
from arbitrage.speculation.concurrent_decoder import ConcurrentDecoder
from arbitrage.speculation.pair import PairModels, missing_router
from arbitrage.speculation.policies import POLICIES
from arbitrage.stages.solve import refusal

KEY_VARIABLE = "ARBITRAGE_API_KEY"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class ServerError(UserError):
    """A server that cannot be started; the message says what is in the way."""


@dataclass(frozen=True)
class Listening:
    """Where a server listens, whom it lets in, and how it ends.

    port: 0 for any that is free. key: what clients must know, None for nobody asks. concurrency: requests under way at
    a time. grace_s: seconds that running requests have once the server is asked to stop.
    """

    host: str
    port: int
    key: str | None
    concurrency: int
    grace_s: int

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may call it by. On the loopback without a key only its own names: a page that somebody looks at
        in a browser may have a name of its own point here (DNS rebinding)."""
        return LOCAL_NAMES if self.key is None else ("*",)

    def bound(self) -> socket.socket:
        """A socket at this address, on which nobody listens yet. Raises ServerError."""
        if self.key is None and not _loopback(self.host):
            raise ServerError(
                f"--host {self.host}: others can reach it; set {KEY_VARIABLE} to a key that clients have to send, or "
                "listen on 127.0.0.1"
            )
        bound = None
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            bound = socket.socket(family, kind, protocol)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError as error:
            if bound is not None:
                bound.close()
            raise ServerError(f"--host {self.host} --port {self.port}: {error}; choose others, or port 0") from error
        return bound


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def as_interrupt(number: signal.Signals) -> Iterator[None]:
    """Have a signal end what runs as Ctrl-C does, so that what was started is stopped, while models load, too."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def open_models(study: Study, pair: str, needs: Collection[Need], routers: Sequence[Path]) -> Iterator[PairModels]:
    """Draft and target of `pair`, the PRM where it is in `needs`, and routers (directories); stopped at the end.

    They are on the GPUs that `placement.latency` says. Raises EngineError.
    """
    factory.routers_by_kind(routers)  # whether they are there, before large models are loaded
    study = placed(study.speculating(()), "latency", pair)
    with (
        factory.open_pair(study, pair) as (draft, target),
        factory.open_scorers(study, pair, "latency", routers, prm="prm" in needs) as (prm, classifier, scalar_routers),
    ):
        yield PairModels(draft, target, prm, classifier, study.generation, scalar_routers)


def offer(study: Study, pair: str, models: PairModels, policy: str, threshold: float | None) -> Offer:
    """What these models can be asked: every policy that has its models here, and whose engines report what it reads."""
    engines = {name: getattr(models, name) for name in ("draft", "target", "prm", "router")}
    there = {name: engine for name, engine in engines.items() if engine is not None}
    policies = {
        name: each
        for name, each in POLICIES.items()
        if each.needs <= there.keys()
        and missing_router(each, models.scalar_routers) is None
        and refusal(study, pair, name) is None
    }
    told = [*(f"{name} {engine.identity}" for name, engine in there.items()), study.generation.model_dump_json()]
    fingerprint = "fp_" + hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
    return Offer(f"{study.study}/{pair}", policies, policy, threshold, study.generation.max_tokens, fingerprint)


def serve(
    study: Study,
    pair: str,
    policies: list[str],
    threshold: float | None,
    routers: Sequence[Path],
    listening: Listening,
) -> None:
    """Serve until SIGTERM or SIGINT; then let running requests end, for `grace_s`, and stop what was started.

    policies: those whose models are loaded; the first decides, at `threshold`, where a request does not say. Raises
    EngineError, ServerError.
    """
    needs = {need for name in policies for need in POLICIES[name].needs}
    with listening.bound() as bound, as_interrupt(signal.SIGTERM), open_models(study, pair, needs, routers) as models:
        offered = offer(study, pair, models, policies[0], threshold)
        limits = Limits(listening.concurrency, listening.key, listening.names)
        in_turn = all(each.device == "cpu" for each in study.loaded(pair))
        service = Service(ConcurrentDecoder(models, study.seed, in_turn), offered, limits)

        def ready() -> None:
            at = "" if threshold is None else f" at threshold {threshold:g}"
            host = f"[{listening.host}]" if ":" in listening.host else listening.host
            print(
                f"serving {offered.model}: http://{host}:{bound.getsockname()[1]}/v1, {offered.policy}{at} where a "
                f"request does not say; also {', '.join(name for name in offered.policies if name != offered.policy)}",
                file=sys.stderr,
                flush=True,
            )

        config = uvicorn.Config(
            create_app(service, ready),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=listening.grace_s,
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal that ended it again, when it has ended
            uvicorn.Server(config).run(sockets=[bound])
    print("stopped", file=sys.stderr)
