"""Checkpoints of the paper's sizes without their weights: their config.json, and how large their files are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from arbitrage.config.study import Study
from arbitrage.runtime.memory import Shape, shape_in

# Layers, hidden size, heads, heads of keys and values, ids in the vocabulary, positions, parameters.
SIZES = {
    "meta-llama/Llama-3.2-1B-Instruct": (16, 2048, 32, 8, 128256, 131072, 1_235_814_400),
    "meta-llama/Llama-3.1-8B-Instruct": (32, 4096, 32, 8, 128256, 131072, 8_030_261_248),
    "meta-llama/Llama-3.1-70B-Instruct": (80, 8192, 64, 8, 128256, 131072, 70_553_706_496),
    "Qwen/Qwen2.5-0.5B-Instruct": (24, 896, 14, 2, 151936, 32768, 494_032_768),
    "Qwen/Qwen2.5-Math-1.5B-Instruct": (28, 1536, 12, 2, 151936, 4096, 1_543_714_304),
    "Qwen/Qwen2.5-Math-7B-Instruct": (28, 3584, 28, 4, 152064, 4096, 7_615_616_512),
}
ALIKE = {  # in size
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B": "Qwen/Qwen2.5-Math-1.5B-Instruct",
    "HuggingFaceH4/Qwen2.5-Math-1.5B-Instruct-PRM-0.2": "Qwen/Qwen2.5-Math-1.5B-Instruct",
}


def write(folder: Path, name: str) -> Path:
    """The directory of a checkpoint of `name`'s size: its config.json, and a sparse weight file that takes no disk."""
    layers, width, heads, kept, vocabulary, positions, parameters = SIZES[ALIKE.get(name, name)]
    config: dict[str, Any] = {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kept,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "tie_word_embeddings": parameters < 2e9,
        "dtype": "bfloat16",
    }
    directory = folder / name.replace("/", "--")
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    with (directory / "model.safetensors").open("wb") as file:
        file.truncate(2 * parameters)
    return directory


def shapes_of(study: Study, folder: Path) -> dict[str, Shape]:
    """Shapes of a study's models, PRM and router start by subject, read from directories written into `folder`."""
    paths = {f"models.{name}": study.origin(name).path for name in study.models}
    paths |= {"prm": study.prm.path, "router": study.router.init or study.prm.path}
    shapes = {}
    for subject, path in paths.items():
        directory = write(folder / subject, str(path))
        shapes[subject] = shape_in(directory, (directory / "model.safetensors").stat().st_size)
    return shapes
