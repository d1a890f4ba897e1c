"""Whether torch can use the GPUs that the machine's driver knows."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

# The oldest driver (its branch) that runs a CUDA version, by NVIDIA's table of minor-version compatibility.
OLDEST_DRIVER = {"11": 450, "12": 525, "13": 580}


@cache
def driver_versions() -> tuple[str, ...]:
    """The driver's version, once a GPU that it lists; empty where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in listed.stdout.splitlines() if line.strip())


def unusable_gpus() -> str | None:
    """Why torch sees none of the GPUs that the driver lists, and what to do; None where it does, or there are none."""
    import torch

    versions = driver_versions()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if not versions or hidden or torch.cuda.is_available():
        return None
    there = f"the NVIDIA driver {versions[0]} lists {len(versions)} GPUs, of which torch {torch.__version__} sees none"
    cuda = torch.version.cuda
    if cuda is None:
        return f"{there}: it is torch's build for CPUs; install the build for CUDA (docs/engines.md)"
    needed = OLDEST_DRIVER.get(cuda.partition(".")[0])
    branch = versions[0].partition(".")[0]
    if needed and branch.isdigit() and int(branch) < needed:
        return f"{there}: its CUDA {cuda} needs a driver of the {needed} series or newer; update the driver"
    return f"{there}, though its CUDA is {cuda}; see `nvidia-smi` and `python -c 'import torch; torch.cuda.init()'`"
