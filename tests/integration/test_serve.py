"""`arbitrage serve` on the lab's models: the texts of `solve`, at once, and an end without leftovers."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from performance.pairs import lab_models, lab_questions, router_from_prm

from arbitrage.config.study import Study
from arbitrage.speculation.pair import PairModels
from arbitrage.stages.solve import open_decoder, solve
from tests.support.lab import ROOT, lab_study
from tests.support.served import MODEL, served, wait

pytestmark = pytest.mark.models

SETTINGS = [("router", 0.5), ("rsd", 0.5), ("oracle", 0.0), ("target_likelihood", 0.5)]


@dataclass
class Lab:
    """The lab's study with a router, and its models."""

    study: Study
    router: Path
    models: PairModels

    def problems(self, count: int) -> list[str]:
        """Questions of both benchmarks, in turns."""
        pairs = zip(*(lab_questions(self.study, name, count // 2) for name in ("lab500", "labolympiad")), strict=True)
        return [question.problem for pair in pairs for question in pair]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    study = lab_study()
    router = router_from_prm(
        Path(study.prm.path), study.generation.separator, tmp_path_factory.mktemp("lab") / "router"
    )
    return Lab(study, router, lab_models(study, "small", router))


def compare(lab: Lab, count: int) -> None:
    """`count` questions at once, streamed or not, give what `solve` gives one by one."""
    asked = [(problem, *SETTINGS[at % len(SETTINGS)], at % 3 == 0) for at, problem in enumerate(lab.problems(count))]
    with served(lab.models) as server, ThreadPoolExecutor(count) as threads:
        client = server.openai(timeout=600)

        def ask(problem: str, policy: str, threshold: float, stream: bool) -> str:
            reply: Any = client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": problem}],
                extra_body={"policy": policy, "threshold": threshold},
                stream=stream,
            )
            if stream:
                return "".join(chunk.choices[0].delta.content or "" for chunk in reply)
            content: str = reply.choices[0].message.content
            return content

        texts = list(threads.map(lambda each: ask(*each), asked))
        lanes = server.service.decoder.lanes
        assert lanes["draft"].taken >= 2 * lanes["draft"].takes  # batched across requests
    with open_decoder(lab.study, "small", [lab.router]) as decoder:
        expected = [solve(decoder, problem, policy, threshold).text for problem, policy, threshold, _ in asked]
    assert texts == expected and all(texts)


@pytest.mark.timeout(900)
def test_sixteen_at_once_are_written_as_one_by_one(lab: Lab) -> None:
    compare(lab, 16)


@pytest.mark.extra  # for the time it takes
@pytest.mark.timeout(3600)
def test_sixty_four_at_once_are_written_as_one_by_one(lab: Lab) -> None:
    compare(lab, 64)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_asked_to_stop_it_ends_well_with_all_it_started(lab: Lab, end: signal.Signals) -> None:
    command = [
        sys.executable,
        "-c",
        "from arbitrage.cli import main; main()",
        "serve",
        "--policy",
        "target_only",
        "--port",
        "0",
    ]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert server.stderr is not None
        first = server.stderr.readline()
        found = re.match(r"serving lab/small: (http://127\.0\.0\.1:\d+/v1), target_only where", first)
        assert found, first
        client = openai.OpenAI(base_url=found[1], api_key="any", max_retries=0, timeout=300)
        messages: Any = [{"role": "user", "content": lab.problems(2)[1]}]
        stream = client.chat.completions.create(model="lab/small", messages=messages, stream=True)
        next(iter(stream))
        started = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(end)
        rest = list(stream)  # the request that is under way goes on to its end
        assert rest[-1].choices[0].finish_reason == "stop"
        assert server.wait(60) == 0
        assert "stopped" in server.stderr.read()
        assert wait(lambda: not any(child.is_running() for child in started))
    finally:
        server.kill()
        server.wait()
