"""Checkpoints: resolved to a directory once, loaded safely, and identified by a hash of what is in them.

Only safetensors are read and no code of a checkpoint is run. A local directory never needs the network; a hub id needs
a pinned revision and comes from the hub's cache where it is there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
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
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from arbitrage.engines.hf.attention import attention_of
from arbitrage.engines.scoring.qwen_prm import Qwen2ForProcessRewardModel
from arbitrage.engines.weight_files import weight_bytes, weight_files
from arbitrage.io.hashes import sha256_of
from arbitrage.speculation.protocols import EngineError

SMALL_FILES = ["*.json", "*.jinja", "merges.txt", "vocab.txt", "*.model"]
HUB_FILES = ["model*.safetensors", *SMALL_FILES]
PICKLED_FILES = "pytorch_model*.bin"
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


@dataclass(frozen=True)
class Checkpoint:
    """A model directory in Hugging Face's layout: weights, tokenizer and configuration, at one revision.

    path: as the study names it, local directory or hub id; directory: where its files are; revision: commit of the hub
    repository, if any; key: what it is for, the study's key that names it (`models.draft`, `prm`).
    """

    path: str
    directory: Path
    revision: str | None = None
    key: str = ""

    def tokenizer(self, *, chat: bool = False) -> Any:
        """Its tokenizer. Raises EngineError where it cannot be loaded or, with `chat`, has no chat template."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.directory, trust_remote_code=False, local_files_only=True)
            if _rebuilt(tokenizer, self.directory):
                tokenizer = PreTrainedTokenizerFast.from_pretrained(self.directory, local_files_only=True)
        except Exception as error:  # every tokenizer class raises its own
            raise EngineError(f"{self.path}: the tokenizer cannot be loaded ({error})") from error
        if chat and not tokenizer.chat_template:
            raise EngineError(
                f"{self.path}: the tokenizer has no chat template, so no prompt can be rendered; "
                "use an instruct checkpoint or put a chat_template.jinja beside the weights"
            )
        return tokenizer

    def configs(self) -> tuple[Any, Any]:
        """Its configuration, and its generation configuration or None. Raises EngineError."""
        try:
            config = AutoConfig.from_pretrained(self.directory, trust_remote_code=False, local_files_only=True)
            if not (self.directory / "generation_config.json").is_file():
                return config, None
            return config, GenerationConfig.from_pretrained(self.directory, local_files_only=True)
        except (ValueError, OSError) as error:
            raise EngineError(f"{self.path}: config.json or generation_config.json cannot be read ({error})") from error

    @property
    def head(self) -> str:
        """The class name it was saved as, for example `LlamaForCausalLM`. Raises EngineError."""
        return head_in(self.configs()[0])

    def require_head(self, heads: tuple[Head, ...]) -> Head:
        """The one of `heads` that it was saved with. Raises EngineError where it was with another."""
        name = self.head
        head = next((head for head in heads if name.endswith(head)), None)
        if head is None:
            raise EngineError(
                f"{self.path}: its head is {name}; expected one of {', '.join('*' + head for head in heads)}"
            )
        return head

    def load(self, dtype: str, device: str, heads: tuple[Head, ...]) -> Any:
        """Its model in evaluation mode, in `dtype` on `device`, with one of `heads`.

        Raises EngineError where it was saved with another head, lacks weights, or cannot be read.
        """
        head, name = self.require_head(heads), self.head
        transformers_logging.disable_progress_bar()  # stages show their own progress; a bar a checkpoint says nothing
        try:
            model, info = HEADS[head].from_pretrained(
                self.directory,
                trust_remote_code=False,
                local_files_only=True,
                use_safetensors=True,
                dtype=getattr(torch, dtype),
                attn_implementation=attention_of(self.configs()[0]),
                output_loading_info=True,
            )
            model = model.to(device).eval().requires_grad_(False)
        except Exception as error:  # safetensors, torch and transformers raise their own, and none names the remedy
            raise EngineError(
                f"{self.path}: {name} cannot be loaded in {dtype} on {device} ({type(error).__name__}: {error}); "
                "check that the files are complete and the device is there"
            ) from error
        missing = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
        if missing:
            raise EngineError(
                f"{self.path}: the checkpoint lacks weights that {name} needs: {missing[:4]}; it is not what it says"
            )
        return model

    def fingerprint(self, dtype: str = "float32", engine: str = "transformers", *, weights: bool = True) -> str:
        """Hash (64 hex digits) over weights, tokenizer, configuration, `dtype` and `engine`, not over times and paths.

        weights: False where a server elsewhere has them.
        """
        others = [self.directory / name for name in (*TOKENIZER_FILES, *CONFIG_FILES)]
        hashed = hashlib.sha256(f"{engine}\n{dtype}\n".encode())
        files = weight_files(self.directory) if weights else []
        for file in [*files, *(other for other in others if other.is_file())]:
            hashed.update(f"{file.name}\n{sha256_of(file)}\n".encode())
        return hashed.hexdigest()


def resolve(
    path: str | Path, revision: str | None = None, key: str = "", *, weights: bool = True, pickled: bool = False
) -> Checkpoint:
    """The checkpoint at `path`: a local directory, or the hub's snapshot of the repository `path` at `revision`.

    key: the study's key that names it; weights: whether they are needed here too; not where a server elsewhere has
    them; pickled: whether `.bin` weights will do, where it has no others (for a value head, which is converted).
    Raises EngineError where the directory or one of its necessary files is missing, or the hub cannot be reached.
    """
    directory = Path(path)
    if not directory.is_dir():
        directory = _snapshot(str(path), revision, weights, pickled)
    if not (directory / "config.json").is_file():
        raise EngineError(f"{path}: no config.json in {directory}; expected a Hugging Face model directory")
    if weights:
        weight_files(directory, pickled)
    if not any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise EngineError(
            f"{path}: no tokenizer in {directory} (tokenizer.json, tokenizer.model or vocab.json); "
            "save the tokenizer beside the weights with tokenizer.save_pretrained"
        )
    return Checkpoint(str(path), directory, revision, key)


@lru_cache(maxsize=64)  # the hub is asked once a process
def _snapshot(path: str, revision: str | None, weights: bool, pickled: bool) -> Path:
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
        directory = Path(
            snapshot_download(path, revision=revision, allow_patterns=HUB_FILES if weights else SMALL_FILES)
        )
        if weights and pickled and weight_bytes(directory) is None:
            snapshot_download(path, revision=revision, allow_patterns=[PICKLED_FILES])
        return directory
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise EngineError(
            f"{path}@{revision}: not a local directory, and not to be had from the hub ({error}); "
            "check id and revision, or download it once where there is a network"
        ) from error


def head_in(config: Any) -> str:
    """The class name a configuration was saved with."""
    return str((config.architectures or ["none"])[0])


def _rebuilt(tokenizer: Any, directory: Path) -> bool:
    """Whether transformers has put a tokenizer of SentencePiece's kind in place of a byte-level tokenizer.json.

    It does where tokenizer_config.json names a Llama class (DeepSeek's checkpoints): spaces are lost without a word.
    """
    file, backend = directory / "tokenizer.json", getattr(tokenizer, "backend_tokenizer", None)
    if not file.is_file() or type(getattr(backend, "pre_tokenizer", None)).__name__ != "Metaspace":
        return False
    written = json.loads(file.read_text(encoding="utf-8")).get("pre_tokenizer")
    return '"ByteLevel"' in json.dumps(written)
