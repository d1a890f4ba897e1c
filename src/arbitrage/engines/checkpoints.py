"""Checkpoints on disk: find them, load them safely, and give each the hash that tells it from every other.

Only safetensors are read and no code of a checkpoint is run. A local directory never needs the network; a hub id needs
a pinned revision and comes from the hub's cache where it is there.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.utils import logging as transformers_logging

from arbitrage.engines.scoring.qwen_prm import Qwen2ForProcessRewardModel
from arbitrage.speculation.protocols import EngineError

SMALL_FILES = ["*.json", "*.jinja", "merges.txt", "vocab.txt", "*.model"]
HUB_FILES = ["*.safetensors", *SMALL_FILES]
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
CONFIG_FILES = ("config.json", "generation_config.json")
HEADS: dict[str, Any] = {
    "ForCausalLM": AutoModelForCausalLM,
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForProcessRewardModel": Qwen2ForProcessRewardModel,
}
Head = Literal["ForCausalLM", "ForSequenceClassification", "ForTokenClassification", "ForProcessRewardModel"]


def resolve(path: str | Path, revision: str | None = None, *, weights: bool = True) -> Path:
    """The local directory of a checkpoint: `path` itself, or the hub's snapshot of `path` at `revision`.

    weights: whether they are needed here too; not where a server elsewhere has them.
    Raises EngineError where the directory or one of its necessary files is missing, or the hub cannot be reached.
    """
    directory = Path(path)
    if not directory.is_dir():
        directory = _snapshot(str(path), revision, weights)
    if not (directory / "config.json").is_file():
        raise EngineError(f"{path}: no config.json in {directory}; expected a Hugging Face model directory")
    if weights:
        weight_files(directory)
    if not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise EngineError(
            f"{path}: no tokenizer in {directory} (tokenizer.json, tokenizer.model or vocab.json); "
            "save the tokenizer beside the weights with tokenizer.save_pretrained"
        )
    return directory


@lru_cache(maxsize=64)  # the hub is asked once a process
def _snapshot(path: str, revision: str | None, weights: bool) -> Path:
    if path.count("/") != 1 or path.startswith((".", "/", "~")):
        raise EngineError(
            f"{path}: no such model directory, and not a hub id (owner/name); "
            "correct the path (paths are relative to the directory the study runs in). For models like the lab's, "
            "run `make zoo` and give the study those of results/lab/zoo"
        )
    if revision is None:
        raise EngineError(
            f"{path}: no such model directory; as a hub id it needs a pinned commit: give its `revision` in the study"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        wanted = HUB_FILES if weights else SMALL_FILES
        return Path(snapshot_download(path, revision=revision, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise EngineError(
            f"{path}@{revision}: not a local directory, and not to be had from the hub ({error}); "
            "check id and revision, or download it once where there is a network"
        ) from error


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a checkpoint, by name. Raises EngineError where there are none, or one is missing."""
    found = sorted(directory.glob("*.safetensors"))
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        listed = {directory / name for name in json.loads(index.read_text())["weight_map"].values()}
        missing = sorted(path.name for path in listed if not path.is_file())
        if missing:
            raise EngineError(
                f"{directory}: weight files listed in {index.name} are missing: {missing}; fetch them again"
            )
    if not found:
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.gguf") for path in directory.glob(pattern))
        held = f"it holds {others}, which are not read" if others else "it holds no weights at all"
        raise EngineError(
            f"{directory}: no *.safetensors file; {held}. Only safetensors are loaded: convert or train the checkpoint"
        )
    return found


def fingerprint(
    path: str | Path,
    revision: str | None = None,
    dtype: str = "float32",
    engine: str = "transformers",
    *,
    weights: bool = True,
) -> str:
    """Hash (64 hex digits) over weights, tokenizer, configuration, `dtype` and `engine`, not over times and places.

    Raises EngineError as `resolve` does.
    """
    directory = resolve(path, revision, weights=weights)
    others = [directory / name for name in (*TOKENIZER_FILES, *CONFIG_FILES)]
    digest = hashlib.sha256(f"{engine}\n{dtype}\n".encode())
    for file in [*(weight_files(directory) if weights else ()), *(other for other in others if other.is_file())]:
        status = file.stat()
        digest.update(f"{file.name}\n{_file_hash(file, status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _file_hash(file: Path, size: int, mtime_ns: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_tokenizer(path: str | Path, revision: str | None = None, *, chat: bool = False, weights: bool = True) -> Any:
    """The tokenizer of a checkpoint; with `chat`, EngineError where it has no chat template."""
    directory = resolve(path, revision, weights=weights)
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # every tokenizer class raises its own
        raise EngineError(f"{path}: the tokenizer cannot be loaded ({error})") from error
    if chat and not tokenizer.chat_template:
        raise EngineError(
            f"{path}: the tokenizer has no chat template, so no prompt can be rendered; "
            "use an instruct checkpoint or put a chat_template.jinja beside the weights"
        )
    return tokenizer


def load_configs(path: str | Path, revision: str | None = None, *, weights: bool = True) -> tuple[Any, Any]:
    """A checkpoint's configuration, and its generation configuration or None."""
    directory = resolve(path, revision, weights=weights)
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
        if not (directory / "generation_config.json").is_file():
            return config, None
        return config, GenerationConfig.from_pretrained(directory, local_files_only=True)
    except (ValueError, OSError) as error:
        raise EngineError(f"{path}: config.json or generation_config.json cannot be read ({error})") from error


def head_of(path: str | Path, revision: str | None = None) -> str:
    """The class name a checkpoint was saved as, for example `LlamaForCausalLM`."""
    return head_in(load_configs(path, revision)[0])


def head_in(config: Any) -> str:
    """The class name a configuration was saved with."""
    return str((config.architectures or ["none"])[0])


def check_head(path: str | Path, revision: str | None, heads: tuple[Head, ...]) -> Head:
    """The one of `heads` that the checkpoint was saved with. Raises EngineError where it was with another."""
    name = head_of(path, revision)
    head = next((head for head in heads if name.endswith(head)), None)
    if head is None:
        raise EngineError(f"{path}: its head is {name}; expected one of {', '.join('*' + head for head in heads)}")
    return head


def load_model(path: str | Path, revision: str | None, dtype: str, device: str, heads: tuple[Head, ...]) -> Any:
    """The model of a checkpoint in evaluation mode, in `dtype` on `device`, with one of `heads`.

    Raises EngineError where the checkpoint was saved with another head, lacks weights, or cannot be read.
    """
    head, name = check_head(path, revision, heads), head_of(path, revision)
    transformers_logging.disable_progress_bar()  # stages show their own progress; a bar a checkpoint says nothing
    try:
        model, info = HEADS[head].from_pretrained(
            resolve(path, revision),
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            dtype=getattr(torch, dtype),
            attn_implementation="sdpa",
            output_loading_info=True,
        )
        model = model.to(device).eval().requires_grad_(False)
    except Exception as error:  # safetensors, torch and transformers raise their own, and none names the remedy
        raise EngineError(
            f"{path}: {name} cannot be loaded in {dtype} on {device} ({type(error).__name__}: {error}); "
            "check that the files are complete and the device is there"
        ) from error
    faults = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if faults:
        raise EngineError(
            f"{path}: the checkpoint lacks weights that {name} needs: {faults[:4]}; it is not what it says"
        )
    return model
