"""A proxy in the environment: passed over for servers on this machine, and named where it answers for another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from arbitrage.config.backends import Server
from arbitrage.engines.server.client import CompletionsClient
from arbitrage.engines.server.proxy import is_loopback, proxy_for
from arbitrage.speculation.protocols import EngineError


class _Answering(ThreadingHTTPServer):
    """Answers every request with one status and text, and counts them."""

    def __init__(self, status: int, text: str) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *arguments: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = asked
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Answering]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = _Answering(403, "this proxy serves no such host")
    monkeypatch.setenv("http_proxy", server.url.replace("://", "://user:secret@"))
    yield server
    server.shutdown()
    server.server_close()


def test_a_server_on_this_machine_is_asked_directly(proxy: _Answering) -> None:
    server = _Answering(200, '{"data": [{"id": "m"}]}')
    with closing(CompletionsClient("models.draft", Server(url=f"{server.url}/v1", ready_s=5))) as client:
        assert client.wait_ready() == [{"id": "m"}]
    assert proxy.asked == []
    server.shutdown()
    server.server_close()


def test_a_proxy_that_answers_for_another_machine_is_named_without_its_password(proxy: _Answering) -> None:
    server = Server(url="http://node17.example:8000/v1", ready_s=5)
    message = r"through the proxy http://\.\.\.@127\.0\.0\.1:.*export no_proxy=node17\.example"
    with (
        closing(CompletionsClient("models.draft", server)) as client,
        pytest.raises(EngineError, match=message) as caught,
    ):
        client.wait_ready()
    assert "secret" not in str(caught.value) and proxy.asked


def test_which_way_a_url_goes(proxy: _Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("http://localhost/v1", "http://127.9.0.1:1/v1", "http://[::1]:80/v1", "http://x.localhost/v1"):
        assert is_loopback(url) and proxy_for(url) is None
    for url in ("http://127.1/v1", "http://0.0.0.0:8000/v1", "http://localhost.:80/v1", "http://[::ffff:127.0.0.1]/v1"):
        assert is_loopback(url) and proxy_for(url) is None
    assert not is_loopback("http://10.0.0.1/v1") and proxy_for("http://10.0.0.1/v1")
    assert proxy_for("https://10.0.0.1/v1") is None  # http_proxy is for http
    monkeypatch.setenv("no_proxy", "10.0.0.1")
    assert proxy_for("http://10.0.0.1/v1") is None
