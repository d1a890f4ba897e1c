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


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("10.0.0.1", "http://10.0.0.1/v1", True),
        ("localhost, 10.0.0.0/8", "http://10.7.0.1:8000/v1", True),
        ("10.0.0.0/8", "http://11.0.0.1/v1", False),
        ("10.0.0.0/8", "http://node10.example/v1", False),
        ("10.9.8.7/16", "http://10.9.0.1/v1", True),  # a network by one of its addresses
        ("fd00::/8", "http://[fd12::1]:8000/v1", True),
        ("[fd12::1]:8000", "http://[fd12::1]:8000/v1", True),
        ("10.0.0.0/8", "http://[::ffff:10.0.0.1]/v1", True),
        ("a.example *", "http://b.example/v1", True),
        ("*.example", "http://node17.example/v1", True),
        (".EXAMPLE", "http://node17.Example/v1", True),
        ("ample", "http://node17.example/v1", False),
        ("node17:8000", "http://node17:8000/v1", True),
        ("node17:8000", "http://node17:8001/v1", False),
        ("node17:80", "http://node17/v1", True),
        ("10.0.0.0/99,,", "http://10.0.0.1/v1", False),
    ],
)
def test_what_no_proxy_names_is_asked_directly(
    no_proxy: str, url: str, direct: bool, proxy: _Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    assert (proxy_for(url) is None) is direct


@pytest.mark.parametrize("elsewhere", ["socks5h://gate:1080", "ftp://gate", "http://gate:none"])
def test_a_proxy_that_is_not_to_be_used_does_not_matter(
    elsewhere: str, proxy: _Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, elsewhere)
    server = _Answering(200, '{"data": [{"id": "m"}]}')
    with closing(CompletionsClient("models.draft", Server(url=f"{server.url}/v1", ready_s=5))) as client:
        assert client.wait_ready() == [{"id": "m"}]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("elsewhere", ["socks5://me:secret@gate:1080", "gate:none", "no proxy"])
def test_a_proxy_that_is_none_for_http_is_refused_by_name(
    elsewhere: str, proxy: _Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", elsewhere)
    message = (
        r"^models.draft: the environment has the proxy .* for http://node17/v1; expected http://.* no_proxy=node17"
    )
    with pytest.raises(EngineError, match=message) as caught:
        CompletionsClient("models.draft", Server(url="http://node17/v1"))
    assert "secret" not in str(caught.value)
