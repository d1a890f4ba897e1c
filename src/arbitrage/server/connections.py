"""Single connections: reading a body within bounds, streaming events, and noticing that a client has gone away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import AbstractContextManager, aclosing
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from arbitrage.server.errors import ApiError

MOST_BYTES = 2**20  # of a request's body
BODY_S = 30.0  # in which it has to be there


async def read_json(request: Request) -> bytes:
    """The body of a request that says it is JSON. Raises ApiError, and ClientDisconnect."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the body must be JSON: Content-Type: application/json", "invalid_content_type")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise ApiError(413, f"the body has more than {MOST_BYTES:,} bytes", "request_too_large")
    except TimeoutError:
        raise ApiError(408, f"the body was not there after {BODY_S:g} seconds", "request_timeout") from None
    return bytes(body)


class EventStream(StreamingResponse):
    """Server-sent events; however it ends, its events end, and what was entered for it is left."""

    def __init__(self, events: AsyncGenerator[bytes, None], entered: AbstractContextManager[Any]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._events, self._entered = events, entered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._entered:
            async with aclosing(self._events):
                await super().__call__(scope, receive, send)


async def unless_gone(request: Request, work: Awaitable[None]) -> None:
    """Wait for `work`, but cancel it when the client goes away: ClientDisconnect then. The body must have been read."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(work), asyncio.create_task(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientDisconnect
        tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def event(content: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
