"""What the commands of stages hand on."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from arbitrage.cli.stages import app
from arbitrage.config.load import write_resolved
from tests.support.lab import ROOT, lab_study


@pytest.mark.parametrize(("device", "gpus", "processes"), [("cpu", None, 1), ("cuda", None, 1), ("cuda", 3, 3)])
def test_a_router_is_trained_in_a_process_for_each_gpu_of_its_job(
    device: str, gpus: int | None, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    claimed, started = [], []
    monkeypatch.setattr("arbitrage.runtime.gpus.claim", lambda count, share: claimed.append(count))

    def train(dataset: Path, *_: Any, out_dir: Path, **options: Any) -> dict[str, Any]:
        started.append((options["device"], options["processes"]))
        out_dir.mkdir()
        return {"seconds": 1.0, "updates": 1}

    monkeypatch.setattr("arbitrage.routing.train.train_router", train)
    study = lab_study(results=str(tmp_path), router={"device": device}, resources={"router": {"gpus": gpus}})
    (tmp_path / "data").mkdir()
    words = ["router", "--study", write_resolved(study), "--dataset", tmp_path / "data", "--out", tmp_path / "out"]
    CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert started == [("cuda:0" if device == "cuda" else "cpu", processes)]
    assert claimed == [processes if device == "cuda" else 0]
