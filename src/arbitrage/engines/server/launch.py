"""vLLM servers that a job starts for itself, and stops: `engine: openai` without `server.url`.

A server listens on a Unix socket in a folder that only this user can enter: no port that another process could take
first, and nobody else on the machine can reach it. However the job ends, it ends too (`child_processes`).
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.vllm.options import engine_arguments
from arbitrage.engines.vllm.start import refuse_other_series
from arbitrage.runtime import child_processes, gpus
from arbitrage.speculation.protocols import EngineError

MODULE = "vllm.entrypoints.openai.api_server"
SERVED_NAME = "model"  # a constant: the name is part of the engine's identity
LOG_LINES = 25  # of a dead server, shown in the error
ERROR = re.compile(r"\b\w+(Error|Exception): ")


class LocalServer:
    """A server process of this job."""

    url = "http://localhost/v1"  # by way of `socket`

    def __init__(self, name: str, process: subprocess.Popen[bytes], mark: str, socket: Path, log: Path) -> None:
        self.name, self.process, self.mark, self.socket, self.log = name, process, mark, socket, log

    def check(self) -> None:
        """Raises EngineError, with the end of its log, where the server has died."""
        status = self.process.poll()
        if status is not None:
            raise EngineError(f"{self.name}: its vLLM server ended with status {status}; {self.last_words()}")

    def last_words(self) -> str:
        """Where its log is, the first error in it, and how it ends."""
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if ERROR.search(line)][:1]  # later ones are of processes that miss the first
        shown = [f"see {self.log}. Its first error:", *errors] if errors else [f"see {self.log}."]
        return "\n    ".join([*shown, "Its last lines:", *lines[-LOG_LINES:]])

    def stop(self) -> None:
        """End it and all its processes."""
        child_processes.stop(self.process, self.mark)


@contextmanager
def serve(
    checkpoint: Checkpoint, model: Model, generation: Generation, share: float, folder: Path
) -> Iterator[LocalServer]:
    """Start a vLLM server of `model`, without waiting until it is ready; stopped at the end of the context.

    share: of each GPU's memory that it may take; folder: of its log file.
    Raises EngineError where vLLM is not installed, or is of another series, or the device is not there.
    """
    if importlib.util.find_spec("vllm") is None:
        raise EngineError(
            f"{checkpoint.key}: engine openai without server.url starts a vLLM server, and vLLM is not installed here; "
            "pip install --editable '.[vllm]' in the repository, or give the URL of a server that runs"
        )
    refuse_other_series(checkpoint.key)
    folder.mkdir(parents=True, exist_ok=True)
    mark = f"{child_processes.guard_children()}/{checkpoint.key}"
    log = folder / f"{checkpoint.key}-{os.getpid()}.log"
    with tempfile.TemporaryDirectory(prefix="arbitrage-", ignore_cleanup_errors=True) as private, log.open("wb") as out:
        socket = Path(private) / "vllm.sock"
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", MODULE, *options(checkpoint, model, generation, share), "--uds", str(socket)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | environment(checkpoint.key, model) | {child_processes.MARK: mark},
            start_new_session=True,  # Ctrl-C reaches the job first
        )
        server = LocalServer(checkpoint.key, process, mark, socket, log)
        try:
            yield server
        finally:
            server.stop()


def options(checkpoint: Checkpoint, model: Model, generation: Generation, share: float) -> list[str]:
    """The command line of a server, but for where it listens. Raises EngineError (`vllm_options`)."""
    chosen = engine_arguments(checkpoint, model, generation, share, model.server.concurrency)
    chosen.pop("device_ids", None)  # its environment has its own GPUs only
    chosen |= {"served_model_name": SERVED_NAME, "disable_uvicorn_access_log": True}
    parts: list[str] = []
    for key, value in chosen.items():
        if value is not None and value is not False:
            parts += [f"--{key.replace('_', '-')}", *([] if value is True else [str(value)])]
    return parts


def environment(name: str, model: Model) -> dict[str, str]:
    """Environment variables of the server of `name`: its own GPUs, no network; on a CPU as many threads as torch here.

    Raises EngineError where it has too few GPUs.
    """
    variables = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1"}
    kind, _, first = model.device.partition(":")
    if kind != "cuda":
        if model.vllm.eager is not False:  # else a kernel of the sampler would be compiled all the same
            variables["TORCHDYNAMO_DISABLE"] = "1"
        threads = str(torch.get_num_threads())
        return variables | {gpus.VISIBLE: "", "OMP_NUM_THREADS": threads, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    present = gpus.visible()
    indices = range(int(first or 0), int(first or 0) + model.vllm.tensor_parallel)
    if present is None or len(present) < indices.stop:
        raise EngineError(
            f"{name}: its server needs the GPUs {', '.join(f'cuda:{index}' for index in indices)}, and this job "
            f"sees {len(present or ())}; correct `device` and vllm.tensor_parallel, or ask for more in `resources`"
        )
    return variables | {gpus.VISIBLE: ",".join(present[index] for index in indices)}
