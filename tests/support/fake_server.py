"""A completions server inside the test process: real HTTP, a real model, decoding of its own, faults on demand.

It speaks as vLLM does (`token_ids` in whole replies) or as llama.cpp does (ids only beside log-probabilities, and of a
stop string none unless streamed).
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

Dialect = Literal["vllm", "llama.cpp", "text"]


class FakeServer:
    """faults: what becomes of the next completions: a status, `drop` (the connection) or `hang`."""

    def __init__(self, directory: Path, dialect: Dialect = "vllm", models: tuple[str, ...] = ("fake",)) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype="float32").eval()
        eos = GenerationConfig.from_pretrained(directory).eos_token_id
        self.eos = eos if isinstance(eos, list) else [eos]
        self.dialect, self.models = dialect, models
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: deque[int | str] = deque()
        self.most_at_once = self.at_once = 0
        self.token_s = 0.0
        self.dead = False
        self.dropped = 0  # requests whose client went away
        self._lock = threading.Lock()
        fake = self

        class Handler(_Handler):
            server_of = fake

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def die(self) -> None:
        """Stop answering in the middle of what is under way."""
        self.dead = True
        self.stop()

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @torch.inference_mode()
    def write(self, body: dict[str, Any]) -> Iterator[tuple[int, float, str | None, Any, dict[int, float]]]:
        """Greedy tokens, whatever is asked for: id, log-probability, why it is the last, what it stopped at.

        And the log-probabilities of the most likely tokens, as many as the request asks for.
        """
        ids, written = list(body["prompt"]), []
        assert ids and all(isinstance(each, int) for each in ids)
        while True:
            with self._lock:
                logprobs = self.model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
            token = int(logprobs.argmax())
            top = logprobs.topk(int(body.get("logprobs") or 1))
            most_likely = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
            ids.append(token)
            written.append(token)
            time.sleep(self.token_s)
            reason, at = None, None
            stops = [stop for stop in body.get("stop", ()) if stop in self.decode(written)]
            if token in self.eos or token in body.get("stop_token_ids", ()):
                reason, at = "stop", None if token == self.eos[0] else token
            elif stops:
                reason, at = "stop", stops[0]
            elif len(written) == body["max_tokens"]:
                reason = "length"
            yield token, float(logprobs[token]), reason, at, most_likely
            if reason:
                return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: FakeServer

    def log_message(self, *arguments: Any) -> None: ...

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionAbortedError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.server_of.dropped += 1

    def do_GET(self) -> None:
        fake = self.server_of
        if self.path == "/v1/models":
            owner = "llamacpp" if fake.dialect == "llama.cpp" else fake.dialect
            self._json(200, {"data": [{"id": name, "owned_by": owner} for name in fake.models]})
        elif self.path == ("/props" if fake.dialect == "llama.cpp" else "/version"):
            self._json(200, {"version": "1.2.3", "build_info": "b123"})
        else:
            self._json(404, {"error": "no such page"})

    def do_POST(self) -> None:
        fake = self.server_of
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake.bodies.append(body)
        fake.headers.append(dict(self.headers))
        fault = fake.faults.popleft() if fake.faults else None
        if isinstance(fault, int):
            return self._json(fault, {"error": f"fault {fault}"})
        if fault == "hang":
            time.sleep(3)
        if fault in ("drop", "hang"):
            self.close_connection = True
            return self.connection.close()
        fake.at_once += 1
        fake.most_at_once = max(fake.most_at_once, fake.at_once)
        try:
            (self._stream if body.get("stream") else self._whole)(body)
        finally:
            fake.at_once -= 1

    def _whole(self, body: dict[str, Any]) -> None:
        tokens = []
        for token in self.server_of.write(body):
            self._check_client()
            tokens.append(token)
        choice = self._choice(tokens)
        if self.server_of.dialect == "llama.cpp" and isinstance(tokens[-1][3], str):
            choice["logprobs"]["content"] = choice["logprobs"]["content"][:-1]
        count = len(body["prompt"])
        self._json(200, {"choices": [choice], "usage": {"prompt_tokens": count, "completion_tokens": len(tokens)}})

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for token in self.server_of.write(body):
            self._check_client()
            self.wfile.write(b"data: " + json.dumps({"choices": [self._choice([token])]}).encode() + b"\n\n")
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def _check_client(self) -> None:
        """Raises ConnectionResetError where the client has closed the connection, or the server is to die."""
        if self.server_of.dead:
            self.close_connection = True
            raise ConnectionAbortedError
        if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
            self.close_connection = True
            raise ConnectionResetError

    def _choice(self, tokens: list[tuple[int, float, str | None, Any, dict[int, float]]]) -> dict[str, Any]:
        fake, (*_, reason, at, _) = self.server_of, tokens[-1]
        choice: dict[str, Any] = {
            "index": 0,
            "text": fake.decode([each[0] for each in tokens]),
            "finish_reason": reason,
        }
        if fake.dialect == "vllm":
            choice |= {"stop_reason": at, "token_ids": [each[0] for each in tokens]}
            choice["logprobs"] = {
                "token_logprobs": [each[1] for each in tokens],
                "top_logprobs": [{fake.decode([id_]): value for id_, value in each[4].items()} for each in tokens],
            }
        elif fake.dialect == "llama.cpp":
            choice["logprobs"] = {
                "content": [
                    {
                        "id": each[0],
                        "logprob": each[1],
                        "top_logprobs": [{"id": id_, "logprob": value} for id_, value in each[4].items()],
                    }
                    for each in tokens
                ]
            }
        return choice

    def _json(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
