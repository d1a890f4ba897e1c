"""What is noted beside a timing."""

import os
from pathlib import Path

import pytest

from arbitrage.runtime.conditions import Conditions, gpu_conditions

SMI = """#!/bin/sh
case "$1" in
*gpu=uuid*)
echo "GPU-1, H100, 570.1, 1200, 1980, 700.00, 95.5, 41"
echo "GPU-2, H100, 570.1, [N/A], 1980, 700, 90, 40";;
*) echo "GPU-1, 1"; echo "GPU-1, {own}";;
esac
"""


def test_threads_load_and_the_share_of_others_are_noted() -> None:
    with Conditions(threads=1) as conditions:
        sum(number**2 for number in range(10**6))
    assert conditions.noted["threads"] == 1
    assert conditions.noted["cores"] == os.cpu_count()
    assert len(conditions.noted["load"]) == 2
    assert 0 <= conditions.noted["other_cpu_share"] <= 1


def test_gpus_are_noted_with_clocks_power_and_whoever_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI.replace("{own}", str(os.getpid())))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    first, second = gpu_conditions()
    assert first == {
        "name": "H100",
        "driver": 570.1,
        "clock_mhz": 1200.0,
        "highest_clock_mhz": 1980.0,
        "power_cap_w": 700.0,
        "power_w": 95.5,
        "temperature_c": 41.0,
        "other_processes": 1,
    }
    assert (second["clock_mhz"], second["other_processes"]) == (None, 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu["power_w"] for gpu in gpu_conditions()] == [90.0]


def test_a_machine_without_gpus_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_conditions() == []
