"""Weights sharded over processes on a CPU: torch does it, accelerate for GPUs alone, unless its state is told."""

from __future__ import annotations

from typing import Any

from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from arbitrage.routing import train
from arbitrage.routing.hf_trainer import RouterTrainer, Sealing

_create, _train, _seal = RouterTrainer.create_accelerator_and_postprocess, train._train, Sealing.on_save


def train_sharded(*job: Any) -> None:
    """`train._train` in one of several processes on a CPU, with `settings["sharded"]`."""
    RouterTrainer.create_accelerator_and_postprocess = _told  # type: ignore[method-assign]
    _train(*job)


def train_to_a_checkpoint(*job: Any) -> None:
    """As `train_sharded`, but ends with an error as soon as a checkpoint is whole."""
    Sealing.on_save = _sealed_and_over  # type: ignore[method-assign]
    train_sharded(*job)


def _told(trainer: RouterTrainer) -> None:
    _create(trainer)
    state = trainer.accelerator.state
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    state.distributed_type, trainer.is_fsdp_enabled = DistributedType.FSDP, True


def _sealed_and_over(*arguments: Any, **options: Any) -> None:
    _seal(*arguments, **options)
    raise RuntimeError("over")
