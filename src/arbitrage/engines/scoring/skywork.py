"""Skywork-o1-Open-PRM's value head as a standard one-label classifier: the same map under the names transformers knows.

The checkpoint is a causal Qwen2 with a linear `v_head.summary` (hidden -> 1) on the last hidden states. That is what
a token-classification head with one label computes, so only names and config.json change; no number does.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from arbitrage.engines.checkpoints import TOKENIZER_FILES, Checkpoint
from arbitrage.engines.weight_files import weight_files
from arbitrage.io.atomic import whole_directory
from arbitrage.speculation.protocols import EngineError

HEAD = "v_head.summary."
PICKLED = ".bin"
WRAPPER = re.compile(r"^pretrained_model\.")  # as TRL's value-head wrapper may have saved it
DROPPED = re.compile(r"^lm_head\.")
NO_CONFIG = ("auto_map", "num_labels")  # `id2label` says how many labels


def convert_value_head(checkpoint: Checkpoint, out_dir: str | Path) -> None:
    """Write the PRM `checkpoint` (section 5: Skywork's) to `out_dir` as *ForTokenClassification with one label.

    A weight file is converted at a time, in the stored types; `.bin` files as tensors alone. Raises EngineError where
    there is no such head, it has another shape than [1, hidden], or a file holds more than tensors.
    """
    path, source = checkpoint.path, checkpoint.directory
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    files = weight_files(source, pickled=True)
    has_bias = check_head(path, files, int(config.get("hidden_size") or 0))
    configuration = _configuration(path, config)
    with whole_directory(Path(out_dir)) as directory:
        index: dict[str, str] = {}
        size = 0
        for number, file in enumerate(files, start=1):
            name = "model.safetensors" if len(files) == 1 else f"model-{number:05}-of-{len(files):05}.safetensors"
            tensors = _converted(file)
            if "score.weight" in tensors and not has_bias:
                tensors["score.bias"] = tensors["score.weight"].new_zeros(1)  # the standard head has one
            save_file(tensors, directory / name, metadata={"format": "pt"})
            index |= dict.fromkeys(tensors, name)
            size += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        if len(files) > 1:
            written = {"metadata": {"total_size": size}, "weight_map": index}
            (directory / "model.safetensors.index.json").write_text(json.dumps(written, indent=2), encoding="utf-8")
        (directory / "config.json").write_text(json.dumps(configuration, indent=2), encoding="utf-8")
        for name in TOKENIZER_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, directory / name)


def _converted(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a weight file by their new names, without the language model's head."""
    tensors: dict[str, torch.Tensor] = {}
    with _stored(file) as stored:
        for key, tensor in stored:
            name = WRAPPER.sub("", key)
            if name.startswith(HEAD):
                tensors[name.replace(HEAD, "score.")] = tensor()
            elif not DROPPED.match(name):
                tensors[name] = tensor()
    return tensors


@contextmanager
def _stored(file: Path) -> Iterator[Iterator[tuple[str, Callable[[], torch.Tensor]]]]:
    """Names of a weight file's tensors, and what reads each. Raises EngineError where a `.bin` holds more."""
    if file.suffix == PICKLED:
        tensors = _unpickled(file)
        yield ((key, tensor.contiguous) for key, tensor in tensors.items())
        return
    with safe_open(file, framework="pt") as stored:
        names = list(stored.keys())
        yield ((name, partial(stored.get_tensor, name)) for name in names)


def _unpickled(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a `.bin` file, mapped and not read; no code in it is run."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # pickle's, zip's and torch's own
        reason = str(error).partition("\n")[0]
        raise EngineError(
            f"{file}: cannot be read as tensors alone ({type(error).__name__}: {reason}), and nothing else is "
            "read from such a file, for safety; get it again, or a checkpoint with safetensors"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise EngineError(
            f"{file}: holds a {type(content).__name__}, expected tensors by name; get the checkpoint again"
        )
    return content


def check_head(path: str, files: list[Path], hidden: int) -> bool:
    """Whether the head has a bias. Raises EngineError where there is no head, or it is of another shape."""
    shapes: dict[str, list[int]] = {}
    for file in files:
        with _stored(file) as stored:
            shapes |= {WRAPPER.sub("", key): list(tensor().shape) for key, tensor in stored if HEAD in key}
    weight = shapes.get(f"{HEAD}weight")
    if weight is None:
        raise EngineError(
            f"{path}: no {HEAD}weight in its weights, so it is no PRM with a value head; expected "
            "Skywork-o1-Open-PRM's kind. Leave prm.kind out for a classifier, or set it to what the model is"
        )
    if weight != [1, hidden]:
        raise EngineError(f"{path}: {HEAD}weight has the shape {weight}; expected [1, {hidden}], one value a token")
    return f"{HEAD}bias" in shapes


def _configuration(path: str, config: dict[str, Any]) -> dict[str, Any]:
    """config.json of the classifier. The architecture is that of the causal model the head sits on."""
    architectures = {"qwen2": "Qwen2", "llama": "Llama"}
    family = architectures.get(str(config.get("model_type")))
    if family is None:
        raise EngineError(
            f"{path}: model_type {config.get('model_type')!r}; a value head is converted for {', '.join(architectures)}"
        )
    kept = {key: value for key, value in config.items() if key not in NO_CONFIG}
    labels = {"id2label": {"0": "right"}, "label2id": {"right": 0}}
    return kept | labels | {"architectures": [f"{family}ForTokenClassification"]}
