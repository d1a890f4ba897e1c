"""Models of a study before anything is generated: reachable, tokenizer and template fit, context and memory enough."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbitrage.engines.protocols import EngineError
from arbitrage.preflight.findings import Finding
from arbitrage.preflight.hub import Checkpoint, UnreachableError, checkpoint
from arbitrage.sections.models import Model
from arbitrage.study import Study

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
    owners = [("prm", study.prm.path, study.prm.revision, study.prm.dtype, study.prm.device)]
    if study.router.init:
        owners.append(("router.init", study.router.init, study.router.revision, "float32", study.router.device))
    for subject, path, revision, dtype, device in owners:
        try:
            found = checkpoint(path, revision)
        except UnreachableError as fault:
            yield Finding(subject, "fault", str(fault))
            continue
        yield Finding(subject, "ok", f"{path}: {found.place}")
        config = _config(found.directory)
        yield from _tokenizer_findings(subject, found.directory)
        if found.weights:
            loads.append(Load(subject, device, found.weights, 0))
        if config is not None and dtype != "float32":
            yield Finding(subject, "ok", f"scored in {dtype}")
    yield from _memory(loads)


def _generator(
    study: Study, subject: str, origin: Model, model: Model, problems: Sequence[str], loads: list[Load]
) -> Iterator[Finding]:
    assert origin.path is not None, "a model is quantised from one with a path (checks.py)"
    try:
        found = checkpoint(origin.path, origin.revision)
    except UnreachableError as fault:
        yield Finding(subject, "fault", str(fault))
        return
    yield Finding(subject, "ok", f"{origin.path}: {found.place}")
    try:
        prompts, eos_missing = _prompts(study, found.directory, model, problems)
    except EngineError as fault:
        yield Finding(subject, "fault", str(fault))
        return
    yield Finding(subject, "ok", f"separator {study.generation.separator!r}, chat template and one BOS")
    if eos_missing:
        yield Finding(subject, "warning", "its tokenizer names no end-of-sequence token; solutions end by length only")
    config = _config(found.directory)
    if config is None:
        yield Finding(subject, "fault", f"{found.directory / 'config.json'} cannot be read; fetch the checkpoint again")
        return
    longest = max(prompts, default=0)
    yield _context(study, subject, config, longest)
    loads.append(_load(study, subject, model, found, config, longest))


def _prompts(study: Study, directory: Path, model: Model, problems: Sequence[str]) -> tuple[list[int], bool]:
    """Lengths of all prompts in ids, and whether there is no end-of-sequence token. Raises EngineError."""
    from arbitrage.engines.prompts import Prompter
    from arbitrage.engines.stopping import StopRule

    tokenizer = _tokenizer(directory)
    StopRule(tokenizer, study.generation.separator, ())
    prompter = Prompter(str(directory), tokenizer, model)
    return [len(prompter.prompt_ids(problem)) for problem in problems], tokenizer.eos_token_id is None


def _tokenizer(directory: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as fault:  # every tokenizer class raises its own
        raise EngineError(f"{directory}: the tokenizer cannot be loaded ({fault}); fetch it again") from fault


def _tokenizer_findings(subject: str, directory: Path) -> Iterator[Finding]:
    try:
        _tokenizer(directory)
    except EngineError as fault:
        yield Finding(subject, "fault", str(fault))


def _config(directory: Path) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError):
        return None
    return config.get_text_config(decoder=True)


def _context(study: Study, subject: str, config: Any, longest: int) -> Finding:
    limit = int(getattr(config, "max_position_embeddings", None) or 2**31)
    wanted = longest + study.generation.max_tokens
    if longest >= limit:
        return Finding(subject, "fault", f"the longest prompt has {longest:,} ids, its context {limit:,}; leave it out")
    if wanted > limit:
        return Finding(
            subject,
            "warning",
            f"prompt and solution may take {wanted:,} ids, its context is {limit:,}: such solutions end by length; "
            f"generation.max_tokens of {limit - longest:,} never does",
        )
    return Finding(subject, "ok", f"context {limit:,}, at most {wanted:,} needed")


def _load(study: Study, subject: str, model: Model, found: Checkpoint, config: Any, longest: int) -> Load:
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    token = 2 * int(config.num_hidden_layers) * kv_heads * width * LIVE_BYTES[model.dtype]
    cache = model.batch_size * (longest + study.generation.max_tokens) * token
    return Load(subject, model.device, found.weights or 0, cache)


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
        if total is None:
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
