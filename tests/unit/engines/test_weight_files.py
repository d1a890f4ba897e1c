"""Which weights a directory has: those of its index, and none where index and files tell different stories."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from arbitrage.engines.weight_files import weight_bytes, weight_files
from arbitrage.speculation.protocols import EngineError

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    save_file({"a": torch.ones(3)}, tmp_path / FIRST)
    save_file({"b": torch.ones(3)}, tmp_path / SECOND)
    write_index(tmp_path, {"a": FIRST, "b": SECOND})
    return tmp_path


def write_index(directory: Path, weight_map: object) -> None:
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def names(directory: Path, pickled: bool = False) -> list[str]:
    return [file.name for file in weight_files(directory, pickled)]


def test_what_the_index_lists_is_read_and_sized_and_nothing_else(sharded: Path) -> None:
    size = weight_bytes(sharded)
    save_file({"x": torch.ones(1000)}, sharded / "consolidated.safetensors")
    save_file({"x": torch.ones(1000)}, sharded / "adapter_model.safetensors")
    assert names(sharded) == [FIRST, SECOND] and weight_bytes(sharded) == size


def test_beside_a_single_file_others_do_not_count(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "model.safetensors")
    save_file({"a": torch.ones(3)}, tmp_path / "consolidated.safetensors")
    assert names(tmp_path) == ["model.safetensors"]
    write_index(tmp_path, {"a": "model.safetensors"})
    assert names(tmp_path) == ["model.safetensors"]


def _swap(directory: Path) -> None:
    write_index(directory, {"a": SECOND, "b": FIRST})


def _old_shard(directory: Path) -> None:
    save_file({"a": torch.zeros(3), "b": torch.zeros(3)}, directory / FIRST)


def _pointer(directory: Path) -> None:
    (directory / SECOND).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")


def _short_shard(directory: Path) -> None:
    save_file({"c": torch.zeros(3)}, directory / SECOND)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: save_file({"a": torch.zeros(3)}, d / "model.safetensors"), "transformers would load the one, vLLM"),
        (lambda d: (d / SECOND).unlink(), r"listed in .* are missing: \['model-00002.*fetch them again"),
        (lambda d: (d / "model.safetensors.index.json").unlink(), "holds .* but neither model.safetensors nor"),
        (lambda d: write_index(d, {"a": "../other/model.safetensors"}), "expected files beside it"),
        (lambda d: write_index(d, {}), "names no file"),
        (lambda d: write_index(d, [1]), "is no index of weights"),
        (lambda d: (d / "model.safetensors.index.json").write_text("{"), "is no index of weights"),
        (_pointer, f"{SECOND}: no whole safetensors file .*a pointer that Git LFS leaves; fetch it again"),
        (_swap, f"{FIRST} and .* disagree about a"),
        (_old_shard, f"{FIRST} and .* disagree about b"),
        (_short_shard, f"{SECOND} and .* disagree about b"),
    ],
)
def test_a_directory_that_disagrees_with_its_index_is_refused(
    sharded: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(sharded)
    with pytest.raises(EngineError, match=message) as caught:
        weight_files(sharded)
    assert str(sharded) in str(caught.value) and weight_bytes(sharded) is None


def test_bin_files_are_taken_only_where_asked_for_and_only_without_safetensors(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EngineError, match=r"'pytorch_model\.bin'\], which are not read\. Only safetensors"):
        weight_files(tmp_path)
    assert names(tmp_path, pickled=True) == ["pytorch_model.bin"]
    save_file({"a": torch.ones(3)}, tmp_path / "model.safetensors")
    assert names(tmp_path, pickled=True) == ["model.safetensors"]
