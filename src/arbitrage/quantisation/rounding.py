"""Low-bit copies of a model: linear weights rounded group-wise to few bits, stored again as ordinary fp32 weights.

The copy stands for a quantised checkpoint in its answers, not in its speed: it runs at full-precision speed.
"""

from pathlib import Path

import torch

from arbitrage.speculation.protocols import EngineError


def round_to_bits(weight: torch.Tensor, bits: int, group_size: int) -> torch.Tensor:
    """`weight` (out, in), each group of `group_size` inputs rounded to the nearest of 2^bits - 1 symmetric levels.

    Raises ValueError if the number of inputs is no multiple of the group size, or bits is not in 2..8.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"bits must be 2..8, got {bits}")
    outputs, inputs = weight.shape
    if inputs % group_size:
        raise ValueError(f"group_size {group_size} does not divide the {inputs} inputs of a layer")
    groups = weight.reshape(outputs, inputs // group_size, group_size)
    top = 2 ** (bits - 1) - 1
    scale = groups.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / top
    rounded: torch.Tensor = (groups / scale).round().clamp(-top, top) * scale
    return rounded.reshape(outputs, inputs)


def quantise_directory(src: Path, dst: Path, bits: int, group_size: int) -> None:
    """Copy the model and tokenizer of `src` to `dst` with the linear weights inside its layers rounded.

    Raises EngineError where a layer cannot be.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(src, dtype=torch.float32)
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and ".layers." in name:
                try:
                    module.weight.copy_(round_to_bits(module.weight, bits, group_size))
                except ValueError as error:
                    raise EngineError(f"{src}: {name}: {error}; change `quantise` of the model") from error
    model.save_pretrained(dst)
    AutoTokenizer.from_pretrained(src).save_pretrained(dst)
