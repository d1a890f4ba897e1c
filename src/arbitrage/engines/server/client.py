"""The HTTP side of an OpenAI-compatible completions server: requests, time-outs, retries, and what its replies say.

A reply is read for the ids of the tokens that were written and their log-probabilities, never for its text: servers
differ in what they cut from the text and in how they name the end of it, and ids mean the same everywhere.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2

from arbitrage.config.backends import Server
from arbitrage.engines.server.launch import LocalServer
from arbitrage.engines.server.proxy import proxy_for, without_password
from arbitrage.speculation.protocols import EngineError

Result = TypeVar("Result")
Json = dict[str, Any]
Token = tuple[int, float, list[float]]  # id, log-probability at temperature 1, those of the most likely tokens

RETRIED = {408, 425, 429, 500, 502, 503, 504}
PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # of the first retry, doubled with each; drawn between nothing and that
CONNECT_S = 10.0
READY_POLL_S = 0.25
VERSIONS = {"version": "version", "server_info": "version", "get_server_info": "version", "props": "build_info"}


class _RetriableError(Exception):
    """A reply that may be another one next time."""


class CompletionsClient:
    """One server, seen from this process. It has an event loop of its own, which runs only while something is asked."""

    def __init__(self, subject: str, server: Server, local: LocalServer | None = None) -> None:
        """subject: what errors call the model; local: the server where the job has started it, else `server.url` is.

        Raises EngineError where the API key's variable is not set, or the environment's proxy is none for HTTP.
        """
        self.subject, self.url = subject, (local.url if local else str(server.url)).rstrip("/")
        self._server, self._local = server, local
        headers = {}
        if server.api_key_variable:
            key = os.environ.get(server.api_key_variable)
            if not key:
                raise EngineError(
                    f"{subject}: the API key's environment variable {server.api_key_variable} is not set; "
                    "export it, or remove server.api_key_variable"
                )
            headers["Authorization"] = f"Bearer {key}"
        self._headers = headers
        self._runner = asyncio.Runner()
        try:
            self._proxy = None if local else proxy_for(self.url)
        except ValueError as error:
            raise EngineError(f"{subject}: {error}") from error
        self._by_proxy = (
            f". It was asked through the proxy {without_password(self._proxy)}, as the environment says: if the server "
            f"is not to be reached by that, export no_proxy={httpx2.URL(self.url).host}"
            if self._proxy
            else ""
        )
        self._http = self._connections()

    def _connections(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers=self._headers,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),  # the whole request is timed in `_retried`
            transport=httpx2.AsyncHTTPTransport(  # given, so that the environment's proxies are not read once more
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self._server.concurrency),
                uds=str(self._local.socket) if self._local else None,
                proxy=self._proxy,
            ),
        )

    @asynccontextmanager
    async def on_this_loop(self) -> AsyncIterator[None]:
        """Talk to the server from the running event loop, by connections of its own, as long as the context lasts."""
        own, self._http = self._http, self._connections()
        try:
            yield
        finally:
            theirs, self._http = self._http, own
            await theirs.aclose()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` to its end; interrupted, it is cancelled, and with it every request under way."""
        return self._runner.run(work)

    def close(self) -> None:
        """Close all connections."""
        self._runner.run(self._http.aclose())
        self._runner.close()

    def wait_ready(self) -> list[Json]:
        """The models the server lists, once it does, at most `ready_s` seconds from now. Raises EngineError."""
        return self.run(self._wait_ready())

    async def _wait_ready(self) -> list[Json]:
        deadline = time.monotonic() + self._server.ready_s
        reported = False
        while True:
            self._check_alive()
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0.1)):
                    reply = await self._http.get(f"{self.url}/models")
                    return list(self._checked(reply)["data"])
            except (_RetriableError, httpx2.TransportError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    remedy = self._local.last_words() if self._local else "start it, or correct server.url"
                    raise EngineError(
                        f"{self.subject}: no server answers at {self.url} after {self._server.ready_s:g} s "
                        f"({_named(error)}); raise server.ready_s, or {remedy}{self._by_proxy}"
                    ) from error
            if not reported:
                print(f"{self.subject}: waiting for the server at {self.url}", file=sys.stderr, flush=True)
                reported = True
            await asyncio.sleep(READY_POLL_S)

    async def version(self) -> str:
        """What the server calls its version; `unknown` where it tells none of the known ways."""
        root = self.url.removesuffix("/v1")
        for path, key in VERSIONS.items():
            try:
                async with asyncio.timeout(CONNECT_S):
                    reply = await self._http.get(f"{root}/{path}")
                if reply.is_success and isinstance(version := reply.json().get(key), str):
                    return version
            except (httpx2.TransportError, TimeoutError, ValueError, AttributeError):
                continue
        return "unknown"

    async def complete(self, body: Json) -> Json:
        """The reply to a request, sent again where that may help. Raises EngineError."""

        async def send() -> Json:
            return self._checked(await self._http.post(f"{self.url}/completions", json=body))

        return await self._retried(send)

    async def stream(self, body: Json, begin: Callable[[], Callable[[Json], bool]]) -> None:
        """Hand every event of a streamed reply to what `begin` returns until it says True; the rest is not waited for.

        Sent again, `begin` is called again. Raises EngineError.
        """

        async def send() -> None:
            take = begin()
            async with self._http.sse(f"{self.url}/completions", method="POST", json=body | {"stream": True}) as events:
                if not events.response.is_success:
                    await events.response.aread()
                    self._checked(events.response)
                async for event in events:
                    content = {} if event.data == "[DONE]" else event.json()
                    if not isinstance(content, dict) or "error" in content:
                        raise _RetriableError(event.data[:500])
                    if not content or take(content):
                        return
            raise _RetriableError("a stream that breaks off")

        await self._retried(send)

    async def _retried(self, send: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        tries = 0
        while True:
            try:
                async with asyncio.timeout(self._server.timeout_s):
                    return await send()
            except (_RetriableError, httpx2.TransportError, TimeoutError) as error:
                self._check_alive()
                tries += 1
                if tries > self._server.retries:
                    raise EngineError(
                        f"{self.subject}: the server at {self.url} failed {tries} times, at last with "
                        f"{_named(error)}; see its log, or raise server.retries or server.timeout_s "
                        f"({self._server.timeout_s:g} s){self._by_proxy}"
                    ) from error
            await asyncio.sleep(random.uniform(0, min(PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)))

    def _check_alive(self) -> None:
        """Raises EngineError where the server is the job's own, and has died."""
        if self._local:
            self._local.check()

    def _checked(self, reply: httpx2.Response) -> Json:
        """The JSON of a good reply. Raises EngineError, or _RetriableError for what may pass."""
        if reply.is_success:
            try:
                content: Json = reply.json()
            except ValueError as error:
                raise _RetriableError(f"a reply that is no JSON: {reply.text[:200]!r}") from error
            return content
        response = f"{reply.status_code} {reply.text[:500]!r}"
        if reply.status_code in RETRIED:
            raise _RetriableError(response)
        remedy = {
            401: "give the key's variable as server.api_key_variable",
            403: "give the key's variable as server.api_key_variable",
            404: "correct server.url (it ends in /v1) and server.model",
        }.get(reply.status_code, "expected a server that takes prompts as token ids, and contexts as long as these")
        raise EngineError(
            f"{self.subject}: the server at {self.url} refuses the request with {response}; {remedy}{self._by_proxy}"
        )


def written_tokens(choice: Json) -> list[Token] | None:
    """The tokens that a choice, or an event's share of it, says were written; None where it tells no ids.

    vLLM and SGLang: `token_ids` beside `logprobs.token_logprobs` and `logprobs.top_logprobs`. llama.cpp:
    `logprobs.content`. Raises ValueError where they contradict each other.
    """
    logprobs = choice.get("logprobs") or {}
    if "content" in logprobs:
        return [
            (int(each["id"]), float(each["logprob"]), [float(top["logprob"]) for top in each.get("top_logprobs") or ()])
            for each in logprobs["content"]
        ]
    ids = choice.get("token_ids")
    if ids is None:
        return None
    numbers = logprobs.get("token_logprobs", [])
    tops = logprobs.get("top_logprobs") or [None] * len(numbers)
    return [
        (int(token), float(number), [float(each) for each in (top or {}).values()])
        for token, number, top in zip(ids, numbers, tops, strict=True)
    ]


def _named(error: BaseException) -> str:
    return str(error) if isinstance(error, _RetriableError) else f"{type(error).__name__} {error}".strip()
