"""A server beside whoever asks it, in one process: for the benchmark, and for tests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from arbitrage.server.app import Service, create_app


@contextmanager
def running(service: Service, grace_s: int = 5) -> Iterator[str]:
    """Serve in a thread of this process until the context is left; the server's URL.

    grace_s: seconds that requests under way have then.
    """
    options = {"http": "h11", "ws": "none", "lifespan": "on", "log_level": "critical"}
    config = uvicorn.Config(create_app(service), **options, timeout_graceful_shutdown=grace_s)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
