"""Trainings multiply in the type that the device has instructions for."""

import pytest
import torch

from arbitrage.lab.arithmetic import BFLOAT16_INSTRUCTIONS, Arithmetic, arithmetic_for


@pytest.mark.parametrize("name", BFLOAT16_INSTRUCTIONS)
def test_a_cpu_with_instructions_for_bfloat16_uses_them(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, name: True})
    assert arithmetic_for("cpu") == Arithmetic(torch.bfloat16, "eager")


def test_a_cpu_without_them_multiplies_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    arithmetic = arithmetic_for("cpu")
    assert arithmetic == Arithmetic(torch.float32, "sdpa")
    left = torch.randn(4, 4)
    with arithmetic.autocast("cpu"):
        assert (left @ left).dtype == torch.float32


def test_a_gpu_multiplies_bfloat16_with_the_fused_kernel() -> None:
    assert arithmetic_for("cuda:0") == Arithmetic(torch.bfloat16, "sdpa")
