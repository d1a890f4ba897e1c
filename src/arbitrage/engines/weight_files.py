"""Which weight files a checkpoint's directory has, read as its index says.

transformers prefers `model.safetensors` to an index beside it, and vLLM the index: where the two are there and differ,
the engines would run different weights under one name. Such a directory is refused.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from arbitrage.speculation.protocols import EngineError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


def weight_files(directory: Path, pickled: bool = False) -> list[Path]:
    """The safetensors files of a checkpoint, sorted by name; with `pickled`, its `.bin` files where it has none.

    Raises EngineError where there are none, one that the index names is missing, or index and files disagree.
    """
    if (directory / INDEX).is_file():
        files = _indexed(directory, INDEX)
        if (directory / SINGLE).is_file() and directory / SINGLE not in files:
            raise EngineError(
                f"{directory}: holds {SINGLE} and an index of other files ({files[0].name} ...); transformers would "
                f"load the one, vLLM the others. Remove {SINGLE}, or {INDEX} with its files"
            )
        _require_agreement(directory, files)
        return files
    if (directory / SINGLE).is_file():
        _tensors(directory / SINGLE)
        return [directory / SINGLE]
    if pickled and (directory / PICKLED_INDEX).is_file():
        return _indexed(directory, PICKLED_INDEX)
    if pickled and (directory / PICKLED).is_file():
        return [directory / PICKLED]
    raise EngineError(f"{directory}: {_other_files(directory)}")


def weight_bytes(directory: Path, pickled: bool = False) -> int | None:
    """Bytes of the weight files of a directory; None where they are not all here, or disagree with their index."""
    try:
        return sum(file.stat().st_size for file in weight_files(directory, pickled))
    except EngineError:
        return None


def stored_tensors(directory: Path) -> dict[str, Path] | None:
    """The file of every safetensors tensor, by name, as index or file say; None where neither is here.

    Of hub files the index may be here before the others. Raises EngineError as `weight_files` does.
    """
    if (directory / INDEX).is_file():
        return {tensor: directory / file for tensor, file in _weight_map(directory, INDEX).items()}
    if (directory / SINGLE).is_file():
        return dict.fromkeys(_tensors(directory / SINGLE), directory / SINGLE)
    return None


def _indexed(directory: Path, index: str) -> list[Path]:
    names = sorted(set(_weight_map(directory, index).values()))
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise EngineError(f"{directory}: weight files listed in {index} are missing: {missing}; fetch them again")
    return [directory / name for name in names]


def _weight_map(directory: Path, index: str) -> dict[str, str]:
    """Tensor to file, as the index has it. Raises EngineError where it is no index, or leads out of the directory."""
    try:
        content = json.loads((directory / index).read_text(encoding="utf-8"))["weight_map"]
        listed = {str(tensor): str(file) for tensor, file in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{directory}: {index} is no index of weights ({error!r}); fetch it again") from error
    strays = sorted(name for name in set(listed.values()) if Path(name).name != name)
    if strays or not listed:
        raise EngineError(f"{directory}: {index} names {strays or 'no file'}; expected files beside it")
    return listed


def _require_agreement(directory: Path, files: list[Path]) -> None:
    """Raise EngineError where a file lacks a tensor that the index says is in it, or holds one of another file's."""
    listed = _weight_map(directory, INDEX)
    for file in files:
        held = _tensors(file)
        own = {tensor for tensor, name in listed.items() if name == file.name}
        stray = {tensor for tensor in held if listed.get(tensor, file.name) != file.name}
        if wrong := sorted((own - held) | stray):
            raise EngineError(
                f"{directory}: {file.name} and {INDEX} disagree about {wrong[0]} ({len(wrong)} tensors in all), so "
                "they are of different checkpoints; fetch both again"
            )


def _tensors(file: Path) -> set[str]:
    """Names of the tensors in a safetensors file. Raises EngineError where its header and size do not agree."""
    try:
        with safe_open(file, framework="np") as stored:
            return set(stored.keys())
    except SafetensorError as error:
        raise EngineError(
            f"{file}: no whole safetensors file ({error}): cut off, or a pointer that Git LFS leaves; fetch it again"
        ) from error


def _other_files(directory: Path) -> str:
    loose = sorted(path.name for path in directory.glob("*.safetensors"))
    if loose:
        return (
            f"holds {loose}, but neither {SINGLE} nor {INDEX}, which says what is in which; fetch the index, or save "
            "the model anew with save_pretrained"
        )
    others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for path in directory.glob(pattern))
    held = f"it holds {others}, which are not read" if others else "it holds no weights at all"
    return f"no *.safetensors file; {held}. Only safetensors are loaded: convert or train the checkpoint"
