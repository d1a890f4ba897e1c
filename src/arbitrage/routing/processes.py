"""A training in several processes of one machine, a GPU each: what `torchrun` does, started from a job."""

import logging
import secrets
import traceback
from collections.abc import Callable
from typing import Any

import torch
from accelerate import PartialState
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from arbitrage.errors import UserError
from arbitrage.routing.label_classes import RoutingError
from arbitrage.runtime.child_processes import guard_children

HERE = "127.0.0.1"
LOGGERS = ("agent.server.api", "multiprocessing.api")  # what they say of a failure is in the error raised here


def run_processes(work: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Run `work(*arguments)` in `count` processes, and return when all have ended; they end with this one.

    Each finds its rank where torch and accelerate look for it. work: at the top level of a module. Raises RoutingError
    where one fails, with its reason; the others are ended then.
    """
    guard_children()
    for name in LOGGERS:
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=secrets.token_hex(8),
        rdzv_backend="c10d",
        rdzv_endpoint=f"{HERE}:0",
        local_addr=HERE,
        max_restarts=0,  # Snakemake's retries go on from the last checkpoint
    )
    try:
        elastic_launch(config, _process)(work, arguments, torch.get_num_threads())
    except ChildFailedError as error:
        # Of one that was killed the others only know that it does not answer.
        killed_first = sorted(error.failures.items(), key=lambda each: (each[1].exitcode >= 0, each[1].timestamp))
        rank, failure = killed_first[0]
        told: Any = failure.message  # a dictionary where the process itself has told it
        reason = told if isinstance(told, str) else told["message"]
        raise RoutingError(
            f"process {rank} of the training's {count} failed: {reason}. The others were ended; give the same command "
            "again once the cause is mended, and the training goes on from its last checkpoint"
        ) from None


def _process(work: Callable[..., None], arguments: tuple[Any, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        work(*arguments)
    except UserError:
        raise  # its message says all
    except Exception:
        traceback.print_exc()
        raise
    PartialState().destroy_process_group()
