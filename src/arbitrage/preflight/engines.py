"""What the engines and tools of a study need beside models: packages, programs, servers, keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.error import URLError
from urllib.request import Request, urlopen

from arbitrage.engines.protocols import EngineError
from arbitrage.preflight.findings import Finding
from arbitrage.quantisation.gguf import require_tools
from arbitrage.sections.models import Model
from arbitrage.study import Study

ANSWER_S = 5.0


def engine_findings(study: Study) -> Iterator[Finding]:
    """Findings on the engine of every model, and on the tools that make models."""
    for name, model in study.models.items():
        subject = f"models.{name}"
        if model.engine == "vllm" or model.starts_server:
            if find_spec("vllm") is None:
                yield Finding(
                    subject, "fault", "its engine needs vLLM, which is not installed here: pip install '.[vllm]'"
                )
            else:
                yield Finding(subject, "ok", "vLLM is installed")
        elif model.engine == "openai":
            yield _server(subject, model)
        if model.quantise and model.quantise.method == "gptq" and find_spec("llmcompressor") is None:
            yield Finding(
                subject,
                "warning",
                "llm-compressor is not installed here; the rule quantise_gptq needs it: run with --sdm conda "
                "(envs/gptq.yaml), or make the directory once where `pip install '.[gptq]'` was done",
            )
        if model.quantise and model.quantise.method == "gguf":
            yield _gguf(subject)


def _server(subject: str, model: Model) -> Finding:
    variable = model.server.api_key_variable
    key = os.environ.get(variable) if variable else None
    if variable and not key:
        return Finding(subject, "fault", f"server.api_key_variable {variable} is not set; export it")
    url = f"{str(model.server.url).rstrip('/')}/models"
    request = Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})  # noqa: S310 - as the study says
    try:
        with urlopen(request, timeout=ANSWER_S):  # noqa: S310
            return Finding(subject, "ok", f"{url} answers")
    except (URLError, OSError, ValueError) as fault:
        return Finding(
            subject, "warning", f"{url} does not answer ({fault}); start it before the first job that asks it"
        )


def _gguf(subject: str) -> Finding:
    try:
        require_tools()
    except EngineError as fault:
        return Finding(subject, "fault", str(fault))
    return Finding(subject, "ok", "llama.cpp's tools and the package gguf are here")
