"""Models of a study before anything is generated: reachable, tokenizer and template fit, context and memory enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.config.models import Model
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.config.study import Study
from arbitrage.engines import checkpoints
from arbitrage.engines.hf.attention import attention_of
from arbitrage.engines.hf.limits import context_limit
from arbitrage.engines.output_layer import require_output_layer
from arbitrage.preflight.check_hub import Checkpoint, UnreachableError, checkpoint
from arbitrage.preflight.check_scorers import prm_findings, router_start_findings
from arbitrage.preflight.check_text import text_findings
from arbitrage.preflight.findings import Finding, Verdict
from arbitrage.runtime.memory import Shape, shape_in
from arbitrage.speculation.protocols import EngineError


def model_findings(study: Study, problems: Sequence[str], shapes: dict[str, Shape]) -> Iterator[Finding]:
    """Findings on every model, the PRM and the router's start.

    problems: questions as they will be asked; the longest decides whether contexts fit. shapes: filled with the sizes
    of what was found, by subject (`gpu_memory.parts`).
    """
    for name, model in study.models.items():
        yield from _generator(study, f"models.{name}", study.origin(name), model, problems, shapes)
    yield from _unread_options("prm", study.prm)
    yield from _unread_options("router", study.router)
    prm = _checked_files("prm", study.prm.path, study.prm.revision, pickled=study.prm.kind == "value-head")
    yield prm[0]
    if prm[1]:
        yield from prm_findings(study, prm[1], problems)
        shapes["prm"] = shape_in(prm[1].directory, prm[1].weights or 0)
    start = prm
    if study.router.init:
        start = _checked_files("router.init", study.router.init, study.router.revision)
        yield start[0]
    if start[1]:
        yield from router_start_findings(study, start[1], problems)
        shapes["router"] = shape_in(start[1].directory, start[1].weights or 0)


def _unread_options(subject: str, model: Model | Prm | Router) -> Iterator[Finding]:
    changed = model.vllm.model_dump(exclude_defaults=True)  # what is set: a resolved study gives every key
    if model.engine == "transformers" and changed:
        yield Finding(
            subject,
            "fault",
            f"engine transformers reads no vllm options, got {', '.join(sorted(changed))}: "
            "set engine: vllm, or drop them",
        )


def _generator(
    study: Study, subject: str, origin: Model, model: Model, problems: Sequence[str], shapes: dict[str, Shape]
) -> Iterator[Finding]:
    assert origin.path is not None, "a model is quantised from one with a path (config/validate.py)"
    finding, files = _checked_files(subject, origin.path, origin.revision, weights=model.server.url is None)
    yield finding
    if files is None:
        return
    try:
        prompts, reads = _prompts(study, files.directory, model, problems)
        yield from text_findings(subject, reads.tokenizer, problems)
    except EngineError as error:
        yield Finding(subject, "fault", str(error))
        return
    yield Finding(subject, "ok", f"separator {study.generation.separator!r}, chat template and one BOS")
    yield from _unread_options(subject, model)
    try:
        whole = checkpoints.Checkpoint(origin.path, files.directory).configs()[0]
        if model.server.url is None:
            require_output_layer(origin.path, files.directory, whole)
    except EngineError as error:
        yield Finding(subject, "fault", str(error))
        return
    config = whole.get_text_config(decoder=True)
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
    yield _context(study, subject, model, config, prompts)
    shapes[subject] = shape_in(files.directory, files.weights or 0)


@dataclass(frozen=True)
class Reads:
    """A model's tokenizer, and what it makes of prompts and answers. ids: all those in prompts; ends: those that end a
    text as its tokenizer or generation_config.json names them; turn: what its chat template ends an answer with, as a
    token where it is one, and as text."""

    tokenizer: Any
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
    ids = frozenset().union(*prompts)
    return [len(prompt) for prompt in prompts], Reads(tokenizer, ids, frozenset(named), turn, token)


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
            "at its end-of-sequence token or by length, and may go on after their answer",
        )
    elif not reads.ends and index is None:
        yield Finding(subject, "warning", "its tokenizer names no end-of-sequence token; solutions end by length only")


def _context(study: Study, subject: str, model: Model, config: Any, prompts: Sequence[int]) -> Finding:
    """Whether prompts, and solutions after them, fit into the longest context that the engine reads."""
    limit, why = context_limit(config), "its context"
    if model.engine == "vllm" or model.starts_server:
        longest_run = model.vllm.longest(study.generation.max_tokens)
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
            f"prompt and solution may take {needed:,} ids, but {why} is {limit:,}: solutions are cut off there; "
            f"generation.max_tokens of at most {limit - longest:,} avoids that",
        )
    return Finding(subject, "ok", f"{why} {limit:,}, at most {needed:,} needed")


def _checked_files(
    subject: str, path: str, revision: str | None, weights: bool = True, pickled: bool = False
) -> tuple[Finding, Checkpoint | None]:
    """Where a checkpoint is, and itself where it is anywhere, with `weights` that can be read."""
    try:
        files = checkpoint(path, revision, weights, pickled)
    except UnreachableError as error:
        return Finding(subject, "fault", str(error)), None
    return Finding(subject, "ok", f"{path}: {files.location}"), files
