"""What the commands of routers hand on."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from arbitrage.cli.routers import app
from arbitrage.config.load import write_resolved
from tests.support.lab import ROOT, lab_study


@pytest.mark.parametrize(
    ("device", "gpus", "gigabytes", "processes", "sharded"),
    [
        ("cpu", None, None, 1, False),
        ("cuda", None, 4.0, 1, False),
        ("cuda", 3, 80.0, 3, False),
        ("cuda", 3, 4.0, 3, True),  # too little for the whole router
    ],
)
def test_a_router_is_trained_in_a_process_for_each_gpu_of_its_job(
    device: str,
    gpus: int | None,
    gigabytes: float | None,
    processes: int,
    sharded: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    claimed, started = [], []
    monkeypatch.setattr("arbitrage.runtime.gpus.claim", lambda count, share: claimed.append(count) or [])

    def train(dataset: Path, *_: Any, out_dir: Path, **options: Any) -> dict[str, Any]:
        started.append((options["device"], options["processes"], options["sharded"]))
        out_dir.mkdir()
        return {"seconds": 1.0, "updates": 1}

    monkeypatch.setattr("arbitrage.routing.train.train_router", train)
    resources = {"router": {"gpus": gpus}, "gpu_memory_gb": gigabytes}
    study = lab_study(results=str(tmp_path), router={"device": device}, resources=resources)
    (tmp_path / "data").mkdir()
    words = ["router", "--study", write_resolved(study), "--dataset", tmp_path / "data", "--out", tmp_path / "out"]
    CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert started == [("cuda:0" if device == "cuda" else "cpu", processes, sharded)]
    assert claimed == [processes if device == "cuda" else 0]
