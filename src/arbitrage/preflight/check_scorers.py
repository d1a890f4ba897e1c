"""The PRM and the router's start before anything is generated: their heads, and what their tokenizers can say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import head_in
from arbitrage.engines.factory import kind_by_head, require_engine
from arbitrage.engines.hf.limits import context_limit
from arbitrage.engines.output_layer import require_output_layer
from arbitrage.engines.scoring.labels import CLASSIFIERS, MARKED
from arbitrage.engines.scoring.skywork import check_head
from arbitrage.engines.scoring.step_format import encode
from arbitrage.engines.scoring.templates import TemplateReader
from arbitrage.engines.weight_files import weight_bytes, weight_files
from arbitrage.preflight.check_hub import Checkpoint
from arbitrage.preflight.check_text import text_findings
from arbitrage.preflight.findings import Finding
from arbitrage.speculation.protocols import EngineError

HEADS: dict[str, tuple[str, ...]] = {
    "classifier": CLASSIFIERS,
    "marks": MARKED,
    "token": ("ForCausalLM",),
    "judge": ("ForCausalLM",),
}


def prm_findings(study: Study, checkpoint: Checkpoint, problems: Sequence[str]) -> Iterator[Finding]:
    """What the PRM's configuration, tokenizer and, where they are here, weight files tell.

    problems: questions as they will be asked.
    """
    try:
        yield Finding("prm", "ok", _prm(study, checkpoint))
        yield from _reach("prm", study, checkpoint)
        yield from text_findings("prm", checkpoint.read[1], problems)
    except (EngineError, ValueError) as error:
        yield Finding("prm", "fault", str(error))


def router_start_findings(study: Study, checkpoint: Checkpoint, problems: Sequence[str]) -> Iterator[Finding]:
    """Whether routers can start from `checkpoint`."""
    subject = "router.init" if study.router.init else "prm"
    try:
        _router_start(study, checkpoint)
        yield Finding(subject, "ok", "routers can start from it")
        if study.router.init:
            yield from _reach(subject, study, checkpoint)
            yield from text_findings(subject, checkpoint.read[1], problems)
    except EngineError as error:
        yield Finding(subject, "fault", str(error))


def _prm(study: Study, checkpoint: Checkpoint) -> str:
    prm, directory = study.prm, checkpoint.directory
    config, tokenizer = checkpoint.read
    head = head_in(config)
    kind = kind_by_head(prm.path, head) if prm.kind == "auto" else prm.kind
    require_engine(prm, kind)
    if kind == "value-head":
        _separator(prm.path, tokenizer, study.generation.separator)
        if weight_bytes(directory, pickled=True) is None:
            return "kind value-head; its head is checked when it is converted, before anything is generated"
        check_head(prm.path, weight_files(directory, pickled=True), int(config.hidden_size))
        return "kind value-head"
    if not head.endswith(HEADS[kind]):
        raise EngineError(
            f"{prm.path}: its head is {head}; prm.kind {kind} needs {' or '.join('*' + each for each in HEADS[kind])}. "
            "Set prm.kind to what the checkpoint is, or name another one"
        )
    if kind in ("classifier", "marks") and config.num_labels not in (1, 2):
        raise EngineError(f"{prm.path}: its head has {config.num_labels} labels; a PRM has 1 or 2: name another one")
    if kind == "classifier":
        _separator(prm.path, tokenizer, study.generation.separator)
        return f"kind classifier, labels: {config.num_labels}"
    if head.endswith("ForCausalLM"):
        require_output_layer(prm.path, directory, config)
    reader = TemplateReader(prm.path, tokenizer, prm.resolved_template(kind), study.generation.separator)
    if kind != "marks":
        reader.candidates()
    return f"kind {kind}; its tokenizer has the tokens it needs"


def _router_start(study: Study, checkpoint: Checkpoint) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    path, _ = study.router_init
    config, tokenizer = checkpoint.read
    last = _separator(path, tokenizer, study.generation.separator)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    if pad is None:
        raise EngineError(f"{path}: its tokenizer has neither a padding nor an end-of-sequence token; add one")
    if last == pad:
        raise EngineError(
            f"{path}: the separator ends in the padding token (id {pad}), at which nothing can be scored; "
            "set another padding token in its tokenizer_config.json"
        )
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise EngineError(f"{path}: no router can start from {head_in(config)} ({error}); name another one") from error
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        raise EngineError(
            f"{path}: no router can start from {head_in(config)}; expected a decoder-only model (Llama, Qwen2 ...)"
        )


def _reach(subject: str, study: Study, checkpoint: Checkpoint) -> Iterator[Finding]:
    """A warning where solutions may have more ids than a scorer has positions."""
    limit, longest = context_limit(checkpoint.read[0]), study.generation.max_tokens
    if longest >= limit:
        yield Finding(
            subject,
            "warning",
            f"it reads {limit:,} ids, and a solution may have {longest:,} after its question: the oldest steps of "
            "what is longer are not read (the provenance records count such inputs as `shortened`); lower "
            "generation.max_tokens, or name another checkpoint, if that matters",
        )


def _separator(path: str, tokenizer: Any, separator: str) -> int:
    """The id that closes a step. Raises EngineError where the tokenizer cannot write the separator."""
    ids = encode(tokenizer, separator)
    if not ids or separator not in tokenizer.decode(list(ids), clean_up_tokenization_spaces=False):
        raise EngineError(
            f"{path}: its tokenizer turns generation.separator {separator!r} into {tokenizer.decode(list(ids))!r}; "
            "choose a separator that it can write, or another checkpoint"
        )
    return ids[-1]
