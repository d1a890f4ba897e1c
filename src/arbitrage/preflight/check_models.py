"""Models of a study before anything is generated: reachable, tokenizer and template fit, context and memory enough."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.config.devices import model_devices
from arbitrage.config.models import Model
from arbitrage.config.study import Study
from arbitrage.engines import checkpoints
from arbitrage.engines.hf.attention import attention_of
from arbitrage.engines.hf.batching import context_limit
from arbitrage.engines.vllm.options import PROMPT_ROOM
from arbitrage.preflight.check_hub import Checkpoint, UnreachableError, checkpoint
from arbitrage.preflight.check_scorers import prm_findings, router_start_findings
from arbitrage.preflight.driver import unusable_gpus
from arbitrage.preflight.findings import Finding, Verdict
from arbitrage.speculation.protocols import EngineError

LIVE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Load:
    """What one model puts on one device, in bytes: weights, and keys and values of its longest batch."""

    subject: str
    device: str
    weights: int
    cache: int


def model_findings(study: Study, problems: Sequence[str]) -> Iterator[Finding]:
    """Findings on every model, the PRM and the router's start, then on the memory of each device.

    problems: questions as they will be asked; the longest decides whether contexts fit.
    """
    loads: list[Load] = []
    for name, model in study.models.items():
        origin = study.models[model.quantise.model] if model.quantise else model
        yield from _generator(study, f"models.{name}", origin, model, problems, loads)
    prm = _checked_files("prm", study.prm.path, study.prm.revision, pickled=study.prm.kind == "value-head")
    yield prm[0]
    if prm[1]:
        yield from prm_findings(study, prm[1].directory)
        loads.append(Load("prm", study.prm.device, prm[1].weights or 0, 0))
    start = prm
    if study.router.init:
        start = _checked_files("router.init", study.router.init, study.router.revision)
        yield start[0]
    if start[1]:
        yield from router_start_findings(study, start[1].directory)
        loads.append(Load("router", study.router.device, start[1].weights or 0, 0))
    yield from _memory(loads)


def _generator(
    study: Study, subject: str, origin: Model, model: Model, problems: Sequence[str], loads: list[Load]
) -> Iterator[Finding]:
    assert origin.path is not None, "a model is quantised from one with a path (config/validate.py)"
    finding, files = _checked_files(subject, origin.path, origin.revision, weights=model.server.url is None)
    yield finding
    if files is None:
        return
    try:
        prompts, reads = _prompts(study, files.directory, model, problems)
    except EngineError as error:
        yield Finding(subject, "fault", str(error))
        return
    yield Finding(subject, "ok", f"separator {study.generation.separator!r}, chat template and one BOS")
    changed = model.vllm.model_dump(exclude_defaults=True)  # what is set: a resolved study gives every key
    if model.engine == "transformers" and changed:
        yield Finding(
            subject,
            "fault",
            f"engine transformers reads no vllm options, got {', '.join(sorted(changed))}: "
            "set engine: vllm, or drop them",
        )
    try:
        config = checkpoints.Checkpoint(origin.path, files.directory).configs()[0].get_text_config(decoder=True)
    except EngineError as error:
        yield Finding(subject, "fault", str(error))
        return
    yield from _turn_end(subject, reads, config)
    if max(reads.ids, default=0) >= int(config.vocab_size):
        yield Finding(
            subject,
            "fault",
            f"a prompt has the id {max(reads.ids)}, its embeddings end at {config.vocab_size - 1}: tokenizer and "
            "weights are not of one model; use the tokenizer it was trained with",
        )
    if attention_of(config) == "eager":
        yield Finding(
            subject, "ok", "caps its attention scores, which eager attention can: slower than the fused kernel"
        )
    longest = max(prompts, default=0)
    yield _context(study, subject, model, config, prompts)
    loads += _loads(study, subject, model, files, config, longest)


@dataclass(frozen=True)
class Reads:
    """What a model's tokenizer makes of prompts and answers. ids: all those in prompts; ends: those that end a text as
    its tokenizer or generation_config.json names them; turn: what its chat template ends an answer with, as a token
    where it is one, and as text."""

    ids: frozenset[int]
    ends: frozenset[int]
    turn: tuple[int | None, str]
    turn_token: str


def _prompts(study: Study, directory: Path, model: Model, problems: Sequence[str]) -> tuple[list[int], Reads]:
    """Lengths of all prompts in ids, and what the tokenizer reads. Raises EngineError."""
    from arbitrage.engines.prompting import Prompter, turn_end
    from arbitrage.engines.step_boundary import StopRule, eos_ids

    files = checkpoints.Checkpoint(str(directory), directory)
    tokenizer = files.tokenizer(chat=True)
    StopRule(tokenizer, study.generation.separator, ())
    prompter = Prompter(str(directory), tokenizer, model)
    prompts = [prompter.prompt_ids(problem) for problem in problems]
    turn = turn_end(tokenizer)
    token = "" if turn[0] is None else str(tokenizer.convert_ids_to_tokens(turn[0]))
    named = eos_ids(tokenizer, *files.configs())
    return [len(ids) for ids in prompts], Reads(frozenset().union(*prompts), frozenset(named), turn, token)


def _turn_end(subject: str, reads: Reads, config: Any) -> Iterator[Finding]:
    """Whether a model can say that its answer is over: by a token that a configuration names, or its template's."""
    index, text = reads.turn
    if index is not None and index not in reads.ends:
        yield Finding(
            subject,
            "warning",
            f"its chat template ends an answer with {reads.turn_token}, which no configuration names as an end; it "
            "ends solutions all the same. An instruct checkpoint names it: is this a base model?",
        )
    elif index is None and text.strip():
        yield Finding(
            subject,
            "warning",
            f"its chat template ends an answer with {text.strip()[:40]!r}, which is no token of its own: solutions end "
            "at its end-of-sequence token or by length, and may go on behind their answer",
        )
    elif not reads.ends and index is None:
        yield Finding(subject, "warning", "its tokenizer names no end-of-sequence token; solutions end by length only")


def _context(study: Study, subject: str, model: Model, config: Any, prompts: Sequence[int]) -> Finding:
    """Whether prompts, and solutions behind them, fit into the longest context that the engine reads."""
    limit, why = context_limit(config), "its context"
    if model.engine == "vllm" or model.starts_server:
        longest_run = model.vllm.max_context or study.generation.max_tokens + PROMPT_ROOM
        if longest_run < limit:
            limit, why = longest_run, "vllm.max_context" if model.vllm.max_context else "vLLM's context here"
    longest = max(prompts, default=0)
    needed = longest + study.generation.max_tokens
    too_long = sum(length >= limit for length in prompts)
    if too_long:
        verdict: Verdict = "fault" if too_long == len(prompts) else "warning"
        return Finding(
            subject,
            verdict,
            f"{too_long:,} of {len(prompts):,} prompts have as many ids as {why}, {limit:,}, or more (the longest "
            f"{longest:,}): they are left out and counted; shorten the system message or raise the limit",
        )
    if needed > limit:
        return Finding(
            subject,
            "warning",
            f"prompt and solution may take {needed:,} ids, {why} is {limit:,}: such solutions end by length; "
            f"generation.max_tokens of {limit - longest:,} never does",
        )
    return Finding(subject, "ok", f"{why} {limit:,}, at most {needed:,} needed")


def _loads(study: Study, subject: str, model: Model, files: Checkpoint, config: Any, longest: int) -> Iterator[Load]:
    """What a model puts on each of its devices. Servers that run elsewhere load nothing; vLLM's cache takes what is
    left and waits where that is little."""
    if model.engine == "openai" and model.server.url is not None:
        return
    bits = model.quantise.bits if model.quantise and model.quantise.method == "gptq" else None
    weights = (files.weights or 0) * (bits or 16) // 16
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    token = 2 * int(config.num_hidden_layers) * kv_heads * width * LIVE_BYTES[model.dtype]
    paged = model.engine != "transformers"
    cache = 0 if paged else model.batch_size * (longest + study.generation.max_tokens) * token
    devices = model_devices(model)
    for device in devices:
        yield Load(subject, device, weights // len(devices), cache)


def _checked_files(
    subject: str, path: str, revision: str | None, weights: bool = True, pickled: bool = False
) -> tuple[Finding, Checkpoint | None]:
    """Where a checkpoint is, and itself where it is anywhere, with `weights` that can be read."""
    try:
        files = checkpoint(path, revision, weights, pickled)
    except UnreachableError as error:
        return Finding(subject, "fault", str(error)), None
    return Finding(subject, "ok", f"{path}: {files.location}"), files


def _memory(loads: Sequence[Load]) -> Iterator[Finding]:
    """One finding a CUDA device: what its models need, against what it has."""
    devices: dict[str, list[Load]] = defaultdict(list)
    for load in loads:
        if load.device.startswith("cuda"):
            devices[load.device].append(load)
    for device, members in sorted(devices.items()):
        weights = sum(load.weights for load in members) / 2**30
        cache = sum(load.cache for load in members) / 2**30
        names = ", ".join(load.subject for load in members)
        needed = f"{names}: {weights:.1f} GiB of weights, up to {cache:.1f} GiB of keys and values at full batches"
        total = device_memory(device)
        if total is None and (reason := unusable_gpus()):
            yield Finding(f"device {device}", "fault", f"{needed}; {reason}")
        elif total is None:
            yield Finding(f"device {device}", "warning", f"{needed}; this machine does not have it, so unchecked")
        elif weights > 0.95 * total:
            yield Finding(f"device {device}", "fault", f"{needed}; it has {total:.1f} GiB: use another device or dtype")
        elif weights + cache > 0.95 * total:
            yield Finding(f"device {device}", "warning", f"{needed}; it has {total:.1f} GiB: lower `batch_size`")
        else:
            yield Finding(f"device {device}", "ok", f"{needed}; it has {total:.1f} GiB")


def device_memory(device: str) -> float | None:
    """GiB of a CUDA device of this machine; None where it has no such device."""
    import torch

    index = torch.device(device).index or 0
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return None
    return float(torch.cuda.get_device_properties(index).total_memory) / 2**30
