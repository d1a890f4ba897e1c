"""Every engine in turn, on a scripted checkpoint and on the lab's draft, opened once a session."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import arbitrage.lab
from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.server.generator import OpenAiGenerator
from arbitrage.engines.server.launch import serve
from arbitrage.engines.vllm.generator import VllmGenerator
from arbitrage.speculation.protocols import Generator
from arbitrage.speculation.steps import lumped_entropy
from tests.support.fake_server import FakeServer
from tests.support.tokenizer_kinds import KINDS, build_kind
from tests.unit.engines.conformance.scripted import build_scripted

ENGINES = [
    "transformers",
    "openai, as vLLM talks",
    "openai, as llama.cpp talks",
    pytest.param("a vLLM in this process", marks=pytest.mark.extra),
    pytest.param("openai, a vLLM server", marks=pytest.mark.extra),
]
GENERATION = Generation()
TOP = 20  # most likely tokens that vLLM and servers report
PROBLEMS = [
    f"Start with {first}. {verb} {second}. Multiply by 2. What is the result?"
    for first, second in ((71, 45), (12, 9), (30, 28), (64, 5))
    for verb in ("Add", "Subtract", "Multiply by")
]
Open = Callable[[str], Generator]


@pytest.fixture(scope="session")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    scripted = build_scripted(tmp_path_factory.mktemp("conformance") / "scripted")
    folder = tmp_path_factory.mktemp("kinds")
    kinds: dict[str, Path] = {kind: build_kind(folder / kind, kind) for kind in KINDS}
    return {"scripted": scripted, "draft": Path(arbitrage.lab.__file__).parent / "zoo" / "draft"} | kinds


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, directories: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    """Opens the engine in turn on a checkpoint, by name; the same one when asked again."""
    kind, opened = str(request.param), dict[str, Generator]()
    if "a vLLM" in kind and importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM (docs/engines.md)")
    with ExitStack() as stack:

        def open_(name: str) -> Generator:
            if name not in opened:
                opened[name] = _open(kind, directories[name], stack, tmp_path_factory)
            return opened[name]

        yield open_


def _open(kind: str, path: Path, stack: ExitStack, folders: pytest.TempPathFactory) -> Generator:
    settings = {"path": str(path), "batch_size": 32, "top_logprobs": TOP, "vllm": {"cache_gib": 0.0625, "eager": True}}
    checkpoint = resolve(path, key=f"models.{path.name}")
    if kind == "transformers":
        return TransformersGenerator(checkpoint, Model.model_validate(settings), GENERATION)
    if kind == "a vLLM in this process":
        model = Model.model_validate(settings | {"engine": "vllm"})
        return stack.enter_context(closing(VllmGenerator(checkpoint, model, GENERATION)))
    if kind == "openai, a vLLM server":
        model = Model.model_validate(settings | {"engine": "openai"})
        local = stack.enter_context(serve(checkpoint, model, GENERATION, 0.9, folders.mktemp("logs")))
        return stack.enter_context(closing(OpenAiGenerator(checkpoint, model, GENERATION, local)))
    fake = FakeServer(path, "llama.cpp" if "llama.cpp" in kind else "vllm")
    stack.callback(fake.stop)
    model = Model.model_validate(settings | {"engine": "openai", "server": {"url": fake.url}})
    return stack.enter_context(closing(OpenAiGenerator(checkpoint, model, GENERATION)))


class Plain(NamedTuple):
    """A step by plain decoding. bounds: the entropies of the TOP most likely tokens, the rest one outcome."""

    text: str
    reason: str
    logprobs: list[float]
    entropies: list[float]
    bounds: list[float]


@pytest.fixture(scope="session")
def reference(directories: dict[str, Path]) -> dict[str, list[Plain]]:
    """Three steps to each problem, by forward passes over whole contexts."""
    tokenizer = AutoTokenizer.from_pretrained(directories["draft"])
    model = AutoModelForCausalLM.from_pretrained(directories["draft"], dtype="float32").eval()
    found = {}
    for problem in PROBLEMS:
        message = [{"role": "user", "content": problem}]
        context = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        found[problem] = [_plain_step(tokenizer, model, context) for _ in range(3)]
    return found


@torch.inference_mode()
def _plain_step(tokenizer: Any, model: Any, context: list[int]) -> Plain:
    """The next step of at most 40 tokens; it is appended to the context."""
    ids, text, reason = list(context), "", "length"
    logprobs, entropies, bounds = [], [], []
    for _ in range(40):
        row = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids.append(int(row.argmax()))
        logprobs.append(float(row.max()))
        entropies.append(float(torch.distributions.Categorical(logits=row).entropy()))
        bounds.append(lumped_entropy(row.topk(TOP).values.tolist()))
        text = tokenizer.decode(ids[len(context) :], skip_special_tokens=True)
        if ids[-1] == tokenizer.eos_token_id:
            reason = "eos"
        elif "\n\n" in text:
            reason = "separator"
        if reason != "length":
            break
    context += tokenizer.encode(text, add_special_tokens=False)
    return Plain(text, reason, logprobs, entropies, bounds)
