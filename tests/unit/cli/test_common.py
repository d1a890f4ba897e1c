"""What surrounds a stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arbitrage.cli import common
from arbitrage.config.load import write_resolved
from tests.conftest import World
from tests.support.fake_nvml import FakeGpu, FakeLibrary, library


def test_torch_gets_the_studys_threads_where_models_run_and_is_not_imported_elsewhere(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(common, "use_threads", given.append)
    monkeypatch.delenv("ARBITRAGE_RUN_PID", raising=False)
    study, out = [write_resolved(world.study.model_copy(update={"threads": 3}))], tmp_path / "out"
    for name, models in (("steps", False), ("label", True)):
        with common.stage(name, study, [], [out], models=models, pair="small"):
            out.write_text("x")
        assert given == [3] * models


def test_the_record_of_a_job_with_gpus_says_what_they_did_and_no_other(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARBITRAGE_RUN_PID", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    scored = world.study.model_copy(update={"prm": world.study.prm.model_copy(update={"device": "cuda:0"})})
    told = {}
    with library(FakeLibrary([FakeGpu("GPU-a"), FakeGpu("GPU-b", used=7 * 10**9)])):
        for name, study in (("gpu", scored), ("cpu", world.study)):
            out = tmp_path / name
            with common.stage("label", [write_resolved(study)], [], [out], models=True, pair="small"):
                out.write_text("x")
            told[name] = json.loads(out.with_name(f"{name}.provenance.json").read_text())
    (gpu,) = told["gpu"]["gpu_use"]
    assert (gpu["uuid"], gpu["peak_memory_gb"]) == ("GPU-b", 7.0)
    assert "gpu_use" not in told["cpu"]
