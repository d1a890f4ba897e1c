"""What trains the lab's models fastest: the type in which a device multiplies, and the attention kernel beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names, in torch.cpu.get_capabilities, of the instructions by which a CPU multiplies bfloat16 itself."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The type of a training's products (weights and their updates are float32 always), and transformers' kernel."""

    dtype: torch.dtype
    attention: str

    def autocast(self, device: str) -> torch.autocast:
        """The context in which a loss is computed on `device`."""
        kind = torch.device(device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


def arithmetic_for(device: str) -> Arithmetic:
    """The fastest arithmetic on a torch device.

    A CPU without instructions for bfloat16 imitates them at a quarter of float32's rate, and one that has them
    multiplies four times as fast; there, the fused kernel's backward pass would take half a step.
    """
    if torch.device(device).type != "cpu":
        return Arithmetic(torch.bfloat16, "sdpa")
    abilities = torch.cpu.get_capabilities()
    if any(abilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS):
        return Arithmetic(torch.bfloat16, "eager")
    return Arithmetic(torch.float32, "sdpa")
