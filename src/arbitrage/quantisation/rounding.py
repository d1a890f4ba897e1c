"""Low-bit copies of a model: linear weights rounded group-wise to few bits, stored again as ordinary fp32 weights.

The copy stands for a quantised checkpoint in its answers, not in its speed: it runs at full-precision speed.
"""

import argparse
from pathlib import Path

import torch

from arbitrage.engines.protocols import EngineError


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
                except ValueError as fault:
                    raise EngineError(f"{src}: {name}: {fault}; change `quantise` of the model") from fault
    model.save_pretrained(dst)
    AutoTokenizer.from_pretrained(src).save_pretrained(dst)


def main() -> None:
    """Write a low-bit copy of a model."""
    parser = argparse.ArgumentParser(prog="python -m arbitrage.quantisation.rounding", description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model directory to copy")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--bits", type=int, required=True, help="2..8")
    parser.add_argument("--group-size", type=int, default=32, help="inputs that share a scale")
    arguments = parser.parse_args()
    quantise_directory(arguments.model, arguments.out, arguments.bits, arguments.group_size)


if __name__ == "__main__":
    main()
