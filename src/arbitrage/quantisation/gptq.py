"""GPTQ copies of a model (the paper's 4-bit Llama), made by llm-compressor and read by vLLM and transformers alike.

llm-compressor wants an older transformers than the rest of the pipeline: `envs/gptq.yaml`, or an environment of its own
with `pip install --editable '.[gptq]'`. The copy is packed: it is small and fast where the engine has kernels for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arbitrage.speculation.protocols import EngineError

CALIBRATION_TOKENS = 1024  # of one calibration text; longer ones are cut


def quantise_gptq(src: Path, dst: Path, bits: int, group_size: int, texts: Sequence[str], seed: int) -> None:
    """Quantise the linear weights of `src` but the output layer's to `bits`, symmetric, `group_size` weights a scale.

    texts: what the layers are calibrated on, questions with their solutions. Raises EngineError where llm-compressor
    is missing, or a layer's inputs are no multiple of the group size.
    """
    try:
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
        from llmcompressor import oneshot
        from llmcompressor.modifiers.gptq import GPTQModifier
    except ImportError as error:
        raise EngineError(
            f"quantise.method gptq needs llm-compressor ({error}); run this rule in envs/gptq.yaml (--sdm conda), or "
            "once by hand in an environment with `pip install --editable '.[gptq]'`"
        ) from error
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(src, dtype="auto", use_safetensors=True, trust_remote_code=False)
    odd = {
        name: module.in_features
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".layers." in name and module.in_features % group_size
    }
    if odd:
        name, inputs = next(iter(odd.items()))
        raise EngineError(f"{src}: quantise.group_size {group_size} does not divide the {inputs} inputs of {name}")
    tokenizer = AutoTokenizer.from_pretrained(src, trust_remote_code=False)
    rows = [tokenizer(text, truncation=True, max_length=CALIBRATION_TOKENS)["input_ids"] for text in texts]
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(num_bits=bits, type="int", symmetric=True, strategy="group", group_size=group_size),
    )
    oneshot(
        model=model,
        dataset=Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}),
        recipe=GPTQModifier(config_groups={"weights": scheme}, ignore=["lm_head"]),
        max_seq_length=CALIBRATION_TOKENS,
        num_calibration_samples=len(rows),
        shuffle_calibration_samples=False,
    )
    model.save_pretrained(dst, save_compressed=True)
    tokenizer.save_pretrained(dst)
