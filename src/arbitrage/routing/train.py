"""Train a router: a checkpoint with a new classification head, on balanced steps (paper: section 4.2, Table C.1).

    train_router("results/lab/router/small/default/dataset", resolve("zoo/prm"), Router().training, seed=42, ...)

A killed training resumes from its last checkpoint, kept in a work directory beside the output; the output directory
appears last and whole. It holds model.safetensors, config.json, the tokenizer, router.json (how to read the logits:
classes, boundary, ordinal, and the input format: annotate, separator) and training.json (losses, times, settings, and
how many tokens were read). Steps of one question are read together (`engines.hf.packed`), by one process or several
(`processes`).
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from arbitrage.config.router import Loss, RouterTraining
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.hf.limits import context_limit
from arbitrage.engines.hf.packed import pack_questions
from arbitrage.io.atomic import whole_directory
from arbitrage.io.tables import read_frame
from arbitrage.routing.frozen_layers import computed_once
from arbitrage.routing.head import fit_head
from arbitrage.routing.hf_trainer import (
    Judged,
    Progress,
    RouterTrainer,
    Saving,
    Sealing,
    seal_of,
)
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.losses import loss_function, targets_of
from arbitrage.routing.processes import run_processes
from arbitrage.routing.router_model import freeze_below, new_model
from arbitrage.routing.sharded import AS_THEY_ARE, FSDP, whole_weights
from arbitrage.runtime import gpus
from arbitrage.runtime.paths import REPORT, TRAIN
from arbitrage.runtime.provenance import digest
from arbitrage.speculation.protocols import EngineError

SETTINGS, REPORT_OF_TRAINING = "settings.json", "training.json"


def train_router(
    dataset_dir: str | Path,
    init: Checkpoint,
    training: RouterTraining,
    *,
    seed: int,
    device: str,
    out_dir: str | Path,
    processes: int = 1,
    sharded: bool = False,
) -> dict[str, Any]:
    """Train a router (section 4.2, Table C.1) on `dataset_dir`/train.parquet, from checkpoint `init`, into `out_dir`.

    device: cpu or cuda. processes: that share every update's work, on a GPU each; losses and weights are those of one,
    up to rounding. sharded: whether each has a part of weights, gradients and moments (FSDP), not all.
    CUDA_VISIBLE_DEVICES picks the GPUs. On a CPU one seed and one number of threads and processes give the same
    weights, byte for byte, whether or not the training was interrupted. Returns what training.json holds. Raises
    EngineError where no router can start from `init` or the device is not there, RoutingError where the data or the
    batch sizes do not fit or a process ends early, TableError where the training part cannot be read.
    """
    dataset_dir, out_dir = Path(dataset_dir), Path(out_dir)
    report = json.loads((dataset_dir / REPORT).read_text(encoding="utf-8"))
    settings = {
        "init": init.path,
        "revision": init.revision,
        "init_fingerprint": init.fingerprint(),
        "data_sha256": hashlib.sha256((dataset_dir / TRAIN).read_bytes()).hexdigest(),
        "classes": report["classes"],
        "ordinal": report["ordinal"],
        "loss": report["loss"],
        "seed": seed,
        "device": device,
        "processes": processes,
        "sharded": sharded,
        "threads": torch.get_num_threads(),
        "optimizer": "AdamW, linear warm-up and decay, gradients clipped at norm 1",
        **training.model_dump(),
    }
    work = out_dir.with_name(f".{out_dir.name}.training")
    job = (dataset_dir, init, training, settings, work, _checkpoint_of(work, settings), out_dir)
    if processes == 1:
        if device != "cpu":
            gpus.keep_first()
        _train(*job)
    else:
        run_processes(_train, job, processes)
    shutil.rmtree(work)
    told: dict[str, Any] = json.loads((out_dir / REPORT_OF_TRAINING).read_text(encoding="utf-8"))
    return told


def _train(
    dataset_dir: Path,
    init: Checkpoint,
    training: RouterTraining,
    settings: dict[str, Any],
    work: Path,
    checkpoint: Path | None,
    out_dir: Path,
) -> None:
    """Train in this process, one of `settings["processes"]`; the first of them writes `out_dir`."""
    report = json.loads((dataset_dir / REPORT).read_text(encoding="utf-8"))
    arguments = _arguments(work, training, settings["seed"], settings["device"], settings["sharded"])
    transformers_logging.disable_progress_bar()  # training tells its own progress
    tokenizer = init.tokenizer()
    model = new_model(init, tokenizer, report, settings["seed"]).to(arguments.device)
    columns = training.micro_batch_tokens
    rows, tokens = judged_rows(dataset_dir, report["loss"], model.config, columns)
    loss = loss_function(report["loss"], report["ordinal"])
    if training.top_layers is not None:
        freeze_below(model, training.top_layers)
    with computed_once(model, rows, columns, training.bf16) as read:
        if training.head_first and checkpoint is None:
            fit_head(model, read, loss, columns, training.bf16)
        trainer = RouterTrainer(
            loss,
            training.batch_size,
            columns,
            model=model,
            args=arguments,
            train_dataset=read,
            callbacks=[Progress(), Saving(), Sealing()],
        )
        trainer.remove_callback(PrinterCallback)
        result = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    weights = whole_weights(model)
    if not trainer.is_world_process_zero():
        return
    training_report = settings | {
        "examples": sum(len(row.labels) for row in rows),
        "rows": len(rows),
        "tokens": tokens,
        "parameters": model.num_parameters(),
        "updates": trainer.state.global_step,
        "resumed_after": 0 if checkpoint is None else _updates(checkpoint),
        "seconds": round(result.metrics["train_runtime"], 1),
        "losses": [
            {"update": entry["step"], "loss": entry["loss"]} for entry in trainer.state.log_history if "loss" in entry
        ],
    }
    model.config.use_cache = True  # Trainer turned it off; the live decoder keeps a cache
    with whole_directory(out_dir) as directory:
        model.save_pretrained(directory, state_dict=weights)
        tokenizer.save_pretrained(directory)
        router = {key: report[key] for key in ("classes", "boundary", "ordinal", "annotate", "separator")}
        (directory / "router.json").write_text(json.dumps(router, indent=2) + "\n", encoding="utf-8")
        (directory / REPORT_OF_TRAINING).write_text(json.dumps(training_report, indent=2) + "\n", encoding="utf-8")


def _arguments(work: Path, training: RouterTraining, seed: int, device: str, sharded: bool) -> TrainingArguments:
    on_cpu = device == "cpu"
    if not on_cpu and device not in ("cuda", "cuda:0"):
        raise EngineError(f"router.device {device!r}: training knows cpu and cuda; pick a GPU by CUDA_VISIBLE_DEVICES")
    if not on_cpu and not torch.cuda.is_available():
        raise EngineError(f"router.device {device!r}: no CUDA device here; use cpu")
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=training.epochs,
        gradient_accumulation_steps=1,  # `RouterTrainer` cuts an update into micro batches itself
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        optim="adamw_torch",
        lr_scheduler_type="linear",
        warmup_steps=min(training.warmup_share, 0.999),  # a share; 1 would mean one update
        max_grad_norm=1.0,
        bf16=training.bf16,
        gradient_checkpointing=training.recompute,
        gradient_checkpointing_kwargs={"use_reentrant": False} if training.recompute else None,
        use_cpu=on_cpu,
        ddp_find_unused_parameters=False,
        seed=seed,
        save_strategy="no",  # `Saving` says when
        save_total_limit=2,  # one may be half written when the kill comes
        logging_strategy="steps",
        logging_steps=0.02,
        logging_nan_inf_filter=False,  # `Progress` wants to see them
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=not on_cpu,
        **(FSDP if sharded else {}),
    )
    if sharded:
        arguments.fsdp_plugin_args["mixed_precision_policy"] = AS_THEY_ARE
    if arguments.n_gpu > 1:  # DataParallel would make every update that many times as large
        raise EngineError(
            f"router.device {device!r}: {arguments.n_gpu} GPUs are visible and CUDA has started, so training would use "
            f"them all, with updates {arguments.n_gpu} times as large; set CUDA_VISIBLE_DEVICES to one of them"
        )
    return arguments


def _checkpoint_of(work: Path, settings: dict[str, Any]) -> Path | None:
    """The last whole checkpoint in `work`, None for a fresh start.

    Half written and damaged ones go, and all of other settings or data.
    """
    written = work / SETTINGS
    text = json.dumps(settings, indent=2, sort_keys=True)
    if not written.is_file() or written.read_text(encoding="utf-8") != text:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        written.write_text(text, encoding="utf-8")
        return None
    for checkpoint in sorted(work.glob("checkpoint-*"), key=_updates, reverse=True):
        seal = seal_of(checkpoint)
        if seal.is_file() and seal.read_text(encoding="utf-8") == digest(checkpoint):
            return checkpoint
        print(f"router: {checkpoint} is half written or damaged, and passed over", file=sys.stderr, flush=True)
        shutil.rmtree(checkpoint)
    return None


def _updates(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def judged_rows(dataset_dir: Path, loss: Loss, config: Any, columns: int) -> tuple[list[Judged], dict[str, int]]:
    """The training part, the examples of a question together in rows of at most `columns` ids (`pack_questions`).

    Also tells how many ids the inputs have, and how many are read of them an epoch. Raises RoutingError where the model
    of `config` cannot tell an input's end from padding, or inputs are longer than it reads correctly; EngineError where
    it has layers without attention.
    """
    frame = read_frame(dataset_dir / TRAIN, "examples")
    pad_token_id = config.get_text_config().pad_token_id
    padded = sum(int(ids[-1] == pad_token_id) for ids in frame["input_ids"])
    if padded:
        raise RoutingError(
            f"{dataset_dir / TRAIN}: {padded} inputs end in the padding token (id {pad_token_id}), and would be scored "
            "at another token; use a tokenizer whose padding token is no other's, or another generation.separator"
        )
    longest, limit = max(map(len, frame["input_ids"])), context_limit(config)
    if longest > limit:
        raise RoutingError(
            f"{dataset_dir / TRAIN}: the longest input has {longest} tokens, and the router's start reads {limit}; "
            f"lower dataset.max_length to {limit}, or name another router.init"
        )
    targets = targets_of(frame, loss)
    trees = pack_questions(frame["input_ids"].tolist(), frame["question_id"].tolist(), columns)
    rows = [Judged(tree, targets[tree.members]) for tree in trees]
    return rows, {"inputs": sum(map(len, frame["input_ids"])), "read": sum(len(row.tree) for row in rows)}
