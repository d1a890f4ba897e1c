"""Main memory that a job is asked for: bounds from files of checkpoints, without loading one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arbitrage.config.load import validate_config
from arbitrage.config.study import Study
from arbitrage.runtime import memory, resources

SHAPE = {  # of Qwen2.5-1.5B
    "num_hidden_layers": 28,
    "hidden_size": 1536,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "dtype": "bfloat16",
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A configuration, and a weight file that is as long as 1.54 billion weights in bfloat16, and takes no disk."""
    (tmp_path / "config.json").write_text(json.dumps(SHAPE))
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(3_090_000_000)
    memory.shape.cache_clear()
    return str(tmp_path)


def study(path: str, **changes: Any) -> Study:
    model = {"path": path, "dtype": "bfloat16", "batch_size": 16}
    config: dict[str, Any] = {
        "study": "s",
        "models": {"d": model, "t": model},
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": {"path": path, "dtype": "bfloat16"},
        "benchmarks": {"b": {"source": "lab500"}},
        "generation": {"max_tokens": 1000},
    }
    return validate_config(config | changes)


def test_models_on_a_cpu_need_weights_and_caches(checkpoint: str) -> None:
    needed = memory.models_gb(study(checkpoint), "label", "p")
    caches = 2 * 16 * 1512 * (2 * 28 * 2 * 128) * 2 / 1e9  # two models, 16 contexts, keys and values of 28 layers
    assert needed == pytest.approx(3 * 3.09 + caches + 3 * 2 + 3, abs=0.2)  # and of three models what is beside
    assert resources.resources(study(checkpoint), "label", "p")["mem_mb"] == pytest.approx(1000 * needed, abs=1)
    swept = memory.models_gb(study(checkpoint), "sweep", "p")
    assert swept > needed + 2 * 3.09  # a router from the PRM, in float32


def test_training_needs_sixteen_bytes_a_weight(checkpoint: str) -> None:
    assert memory.models_gb(study(checkpoint), "router", None) == pytest.approx(16 * 1.545 + 3, abs=0.1)
    assert memory.models_gb(study(checkpoint), "heldout", None) == pytest.approx(4 * 1.545 + 2 + 3, abs=0.5)


def test_of_a_configuration_that_names_its_sizes_otherwise_only_the_weights_are_known(checkpoint: str) -> None:
    (Path(checkpoint) / "config.json").write_text(json.dumps({"dtype": "bfloat16", "n_layer": 12}))
    assert memory.shape(checkpoint, None) == memory.Shape(parameters=1_545_000_000)
    (Path(checkpoint) / "config.json").write_text("[")
    assert memory.shape_in(Path(checkpoint), 5) == memory.Shape()


def test_what_is_small_elsewhere_or_unknown_counts_nothing(checkpoint: str) -> None:
    on_gpus = {name: {"path": checkpoint, "device": "cuda:0", "dtype": "bfloat16"} for name in ("d", "t")}
    prm = {"path": checkpoint, "device": "cuda:0"}
    assert memory.models_gb(study(checkpoint, models=on_gpus, prm=prm), "label", "p") == 0.0
    assert memory.models_gb(study("owner/name"), "label", "p") == 0.0
    assert memory.models_gb(study(checkpoint), "curves", None) == 0.0
    assert resources.resources(study("owner/name"), "label", "p")["mem_mb"] == 8000


def test_the_peak_is_that_of_this_process(tmp_path: Path) -> None:
    before = memory.peak_gb()
    held = np.ones(int(before * 1e9) + 100_000_000, dtype=np.uint8)
    assert memory.peak_gb() >= held.nbytes / 1e9 > before
