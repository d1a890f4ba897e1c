"""Which GPUs, and how much of their memory, each stage opens its models with: engines are only noted, none starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.placement import Placement
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.io.tables import write_table
from arbitrage.stages.label import label
from arbitrage.stages.solve import open_decoder
from arbitrage.stages.sweep import sweep
from tests.support.paper_shapes import write


class OpenedError(Exception):
    """Instead of loading a PRM, once draft and target have been opened."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By subject: the device, and of a model on vLLM the share of memory."""
    noted: dict[str, Any] = {"closed": 0}

    class Engine:
        def __init__(self, checkpoint: Checkpoint, model: Any, generation: Any, share: float) -> None:
            noted[checkpoint.key] = (model.device, share)

        def close(self) -> None:
            noted["closed"] += 1

    def load_prm(study: Study, share: float) -> None:
        noted["prm"] = study.prm.device
        raise OpenedError

    monkeypatch.setattr(factory, "VllmGenerator", Engine)
    monkeypatch.setattr(factory, "load_prm", load_prm)
    monkeypatch.setattr(
        factory, "resolve", lambda path, revision, key, weights=True: Checkpoint(str(path), Path(path), key=key)
    )
    return noted


@pytest.fixture
def study(tmp_path: Path) -> Study:
    names = {"draft": "meta-llama/Llama-3.2-1B-Instruct", "target": "meta-llama/Llama-3.1-8B-Instruct"}
    common = {"engine": "vllm", "dtype": "bfloat16"}
    models = {
        role: common | {"path": str(write(tmp_path / role, name)), "device": f"cuda:{index}"}
        for index, (role, name) in enumerate(names.items())
    }
    prm = str(write(tmp_path / "prm", "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B"))
    return Study.model_validate(
        {
            "study": "s",
            "results": str(tmp_path / "results"),
            "models": models,
            "pairs": {"p": {"draft": "draft", "target": "target"}},
            "prm": {"path": prm, "dtype": "bfloat16", "device": "cuda:2"},
            "router": {"dtype": "bfloat16", "device": "cuda:3"},
            "sweep": {"policies": ["draft_only", "rsd"], "shards": 1},
            "steps": {"shards": 1},
            "benchmarks": {"b": {"source": "math500"}},
            "resources": {"gpu_memory_gb": 80},
        }
    )


def run_label(study: Study, questions: Path, out: Path) -> None:
    label(study, "p", 0, questions, out)


def run_sweep(study: Study, questions: Path, out: Path) -> None:
    sweep(study, "p", "b", 0, questions, [], None, out)


@pytest.mark.parametrize("run", [run_label, run_sweep])
def test_labelling_and_the_sweep_have_all_models_on_one_gpu_with_room_for_the_prm(
    run: Callable[[Study, Path, Path], None], study: Study, opened: dict[str, Any], tmp_path: Path
) -> None:
    write_table(tmp_path / "questions.parquet", "questions", [])
    with pytest.raises(OpenedError):
        run(study, tmp_path / "questions.parquet", tmp_path / "out.parquet")
    (draft_device, draft_share), (target_device, target_share) = opened["models.draft"], opened["models.target"]
    assert {draft_device, target_device, opened["prm"]} == {"cuda:0"} and opened["closed"] == 2
    assert target_share > 3 * draft_share > 3 * 2.47 / 80
    assert draft_share + target_share < 0.9 - 3.09 / 80


def test_a_live_decoder_has_each_model_on_the_gpu_it_names_or_all_together(
    study: Study, opened: dict[str, Any]
) -> None:
    with pytest.raises(OpenedError), open_decoder(study, "p", []):
        pass
    assert opened["models.draft"] == ("cuda:0", pytest.approx(0.9))
    assert opened["models.target"] == ("cuda:1", pytest.approx(0.9)) and opened["prm"] == "cuda:2"
    together = study.model_copy(update={"placement": Placement(latency="together")})
    with pytest.raises(OpenedError), open_decoder(together, "p", []):
        pass
    assert {opened["models.draft"][0], opened["models.target"][0], opened["prm"]} == {"cuda:0"}
    assert opened["models.draft"][1] + opened["models.target"][1] < 0.9 - 2 * 3.09 / 80
