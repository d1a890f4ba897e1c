"""The server itself: routes, who may ask, how much at a time, and what becomes of a request whose client goes away."""

from __future__ import annotations

import hmac
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from arbitrage.server.chat import ChatRequest, Offer
from arbitrage.server.connections import EventStream, event, read_json, unless_gone
from arbitrage.server.errors import ApiError, broken, invalid
from arbitrage.server.metrics import Metrics
from arbitrage.server.replies import Reply
from arbitrage.speculation.concurrent_decoder import ConcurrentDecoder, Decoding
from arbitrage.speculation.protocols import ContextMemoryError, EngineError
from arbitrage.speculation.tree import Question

LONGEST_RETRY_S = 60
log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Limits:
    """concurrency: requests under way at a time; key: what clients must know; hosts: names they may call it by."""

    concurrency: int
    key: str | None = None
    hosts: tuple[str, ...] = ("*",)


@dataclass
class Account:
    """What has become of a request so far."""

    outcome: str = "cancelled"  # what it is where nothing else is said


class Service:
    """One decoder, and those who ask it."""

    def __init__(self, decoder: ConcurrentDecoder, offer: Offer, limits: Limits) -> None:
        self.decoder, self.offer, self.limits = decoder, offer, limits
        self.running = 0
        self.metrics = Metrics(decoder, lambda: self.running)
        self._started = int(time.time())
        self._usual_s = 1.0  # a request takes: a moving mean, for Retry-After

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        self._authorise(request)
        try:
            asked = ChatRequest.model_validate_json(await read_json(request))
        except ValidationError as error:
            raise invalid(error) from None
        policy, threshold = self.offer.chosen(asked)
        limit = asked.limit(self.offer.max_tokens)
        decoding = self.decoder.begin(Question("live", asked.question), policy, threshold, limit)
        reply = Reply(self.offer, policy, threshold, self._prompt_tokens(decoding))
        with ExitStack() as stack:
            account = stack.enter_context(self._admitted(reply))
            if asked.stream:
                usage = asked.stream_options is not None and asked.stream_options.include_usage
                return EventStream(self._events(decoding, reply, account, usage), stack.pop_all())
            await unless_gone(request, self._follow(decoding, reply, account))
        return JSONResponse(reply.whole)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models` and `GET /v1/models/<name>`."""
        self._authorise(request)
        offer = self.offer
        own = {
            "policies": list(offer.policies),
            "policy": offer.policy,
            "threshold": offer.threshold,
            "max_tokens": offer.max_tokens,
        }
        model = {"id": offer.model, "object": "model", "created": self._started, "owned_by": "arbitrage"}
        model["arbitrage"] = own
        name = request.path_params.get("name")
        if name is None:
            return JSONResponse({"object": "list", "data": [model]})
        if name != offer.model:
            raise ApiError(404, f"there is no model {name[:80]!r}; this server has {offer.model!r}", "model_not_found")
        return JSONResponse(model)

    async def health(self, request: Request) -> Response:
        """`GET /health`: 503 where a model's last call failed."""
        failing = [name for name, lane in self.decoder.lanes.items() if lane.failure is not None]
        status = {"status": "failing" if failing else "ok", "failing": failing, "running": self.running}
        return JSONResponse(status, 503 if failing else 200)

    async def prometheus(self, request: Request) -> Response:
        """`GET /metrics`."""
        self._authorise(request)
        return Response(self.metrics.text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _authorise(self, request: Request) -> None:
        if self.limits.key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), self.limits.key.encode())
        if scheme.lower() != "bearer" or not right:
            headers = {"www-authenticate": "Bearer"}
            raise ApiError(
                401, "a valid API key is missing: Authorization: Bearer ...", "invalid_api_key", None, headers
            )

    @staticmethod
    def _prompt_tokens(decoding: Decoding) -> int:
        try:
            tokens, fits = decoding.prompt_tokens, decoding.fits
        except EngineError as error:
            log.warning("refused a question: %s", error)
            raise ApiError(
                400, "the question makes no prompt: special tokens in it?", "invalid_value", "messages"
            ) from None
        if not fits:
            message = f"the prompt's {tokens:,} tokens fill the context of the draft or the target; shorten it"
            raise ApiError(400, message, "context_length_exceeded", "messages")
        return tokens

    @contextmanager
    def _admitted(self, reply: Reply) -> Iterator[Account]:
        """Count a request as under way, and what became of it. Raises ApiError where there are too many."""
        if self.running >= self.limits.concurrency:
            self.metrics.ended("refused", 0.0)
            wait = min(LONGEST_RETRY_S, max(1, math.ceil(self._usual_s)))
            message = f"{self.running} requests are under way, as many as this server takes; try again in {wait} s"
            raise ApiError(429, message, "rate_limit_exceeded", None, {"retry-after": str(wait)})
        account, start = Account(), time.perf_counter()
        self.running += 1
        try:
            yield account
        finally:
            self.running -= 1
            seconds = time.perf_counter() - start
            if account.outcome == "completed":
                self._usual_s += 0.1 * (seconds - self._usual_s)
            self.metrics.ended(account.outcome, seconds)
            self.metrics.written(reply)

    async def _follow(self, decoding: Decoding, reply: Reply, account: Account) -> None:
        try:
            async with aclosing(decoding.visits()) as visits:
                async for visit in visits:
                    reply.add(visit)
        except Exception as error:
            raise self._failed(error, account) from error
        account.outcome = "completed"

    async def _events(
        self, decoding: Decoding, reply: Reply, account: Account, usage: bool
    ) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(decoding.visits()) as visits:
                async for visit in visits:
                    yield event(reply.add(visit))
        except Exception as error:
            yield event(self._failed(error, account).body)
            return
        account.outcome = "completed"
        yield event(reply.last_chunk)
        if usage:
            yield event(reply.usage_chunk)
        yield b"data: [DONE]\n\n"

    def _failed(self, error: Exception, account: Account) -> ApiError:
        account.outcome = "failed"
        if isinstance(error, ContextMemoryError):
            return ApiError(400, "the solution takes more memory than there is", "context_length_exceeded", "messages")
        log.error("a request failed: %s", error, exc_info=None if isinstance(error, EngineError) else error)
        return broken()


def create_app(service: Service, ready: Callable[[], None] = lambda: None) -> Starlette:
    """The application; its decoder works from start to stop. ready: called once it does."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        async with service.decoder:
            ready()
            yield

    def told(request: Request, error: Exception) -> Response:
        if isinstance(error, ApiError):
            return error.response
        if isinstance(error, HTTPException):
            return ApiError(error.status_code, error.detail, headers=error.headers).response
        if isinstance(error, ClientDisconnect):
            return Response(status_code=499)  # to nobody
        return broken().response

    routes = [
        Route("/v1/chat/completions", service.chat, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/v1/models/{name:path}", service.models),
        Route("/health", service.health),
        Route("/metrics", service.prometheus),
    ]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(service.limits.hosts), www_redirect=False)
    handlers: Any = dict.fromkeys((ApiError, HTTPException, ClientDisconnect, Exception), told)
    return Starlette(routes=routes, middleware=[trusted], exception_handlers=handlers, lifespan=lifespan)
