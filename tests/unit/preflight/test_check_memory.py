"""Whether a study's models fit on GPUs of a size: the committed studies on 24 to 80 GB, from sizes alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from arbitrage.cli.check import _memory_table
from arbitrage.config.load import read_study
from arbitrage.config.placement import Placement
from arbitrage.config.resources import Resources
from arbitrage.config.study import Study
from arbitrage.preflight.check_memory import Need, memory_findings, needs
from arbitrage.preflight.driver import driver_versions
from arbitrage.runtime import gpu_memory, gpus
from arbitrage.runtime.memory import Shape
from tests.support.paper_shapes import shapes_of

STUDIES = Path(__file__).resolve().parents[3] / "studies"


def on(name: str, gigabytes: float | None, **changes: object) -> Study:
    """A committed study, on GPUs of so many GB."""
    study = read_study([STUDIES / f"{name}.yaml"])
    resources = study.resources.model_copy(update={"gpu_memory_gb": gigabytes})
    return study.model_copy(update={"resources": resources, **changes})


def verdicts(study: Study, folder: Path) -> dict[str, str]:
    needed = list(needs(study, shapes_of(study, folder)))
    return {finding.subject.split()[2]: finding.verdict for finding in memory_findings(study, needed)}


@pytest.mark.parametrize(
    ("name", "gigabytes", "faults"),
    [
        ("llama3-1b-8b", 80, set()),
        ("llama3-1b-8b", 48, set()),
        ("llama3-1b-8b", 40, set()),
        ("llama3-1b-8b", 24, {"label", "sweep", "router"}),
        ("llama3-8b-70b", 80, set()),
        ("llama3-8b-70b", 48, {"label", "sweep", "latency"}),
        ("qwen25-math-3bit-7b", 80, set()),
        ("qwen25-math-3bit-7b", 40, {"label", "sweep"}),  # two models of 7B in 16 bits
        ("qwen25-small", 24, set()),
    ],
)
def test_what_does_not_fit_is_a_fault_of_that_stage(
    name: str, gigabytes: float, faults: set[str], tmp_path: Path
) -> None:
    found = verdicts(on(name, gigabytes), tmp_path)
    assert {stage for stage, verdict in found.items() if verdict == "fault"} == faults
    assert set(found.values()) <= {"ok", "fault"}


@pytest.mark.parametrize(("gigabytes", "faults"), [(24, {"router"}), (40, set()), (48, set())])
def test_apart_the_smaller_pair_fits_on_small_gpus(gigabytes: float, faults: set[str], tmp_path: Path) -> None:
    found = verdicts(on("llama3-1b-8b", gigabytes, placement=Placement(label="apart", sweep="apart")), tmp_path)
    assert {stage for stage, verdict in found.items() if verdict == "fault"} == faults


@pytest.mark.parametrize(("gigabytes", "faults"), [(40, {"label", "sweep", "latency"}), (48, set())])
def test_apart_seventy_billion_weights_over_four_gpus_need_more_than_forty_gigabytes(
    gigabytes: float, faults: set[str], tmp_path: Path
) -> None:
    apart = Placement(label="apart", sweep="apart", latency="apart")
    study = on("llama3-8b-70b", gigabytes, placement=apart)
    needed = list(needs(study, shapes_of(study, tmp_path)))
    assert [len({part.gpu for part in need.parts}) for need in needed] == [6, 7, 7, 1]
    assert {need.stage for need in needed if need.fault} == faults


def test_a_fault_names_the_gpu_its_models_and_the_remedy(tmp_path: Path) -> None:
    study = on("llama3-1b-8b", 24)
    (finding,) = [
        finding
        for finding in memory_findings(study, list(needs(study, shapes_of(study, tmp_path))))
        if finding.subject == "GPUs of label 1b-8b"
    ]
    assert re.search(r"GPU 0 has 22.4 GiB, 90% .*models.draft, models.target, prm take 20.1", finding.detail)
    assert "set placement.label to apart" in finding.detail


def test_the_table_has_a_row_for_each_model_on_each_gpu(tmp_path: Path) -> None:
    study = on("llama3-8b-70b", 80)
    needed = list(needs(study, shapes_of(study, tmp_path)))
    table = _memory_table(needed)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    rows = list(zip(*columns.values(), strict=True))
    assert len(rows) == 6 + 7 + 7 + 1 and set(columns["pair"]) == {"8b-70b", ""}
    label = needed[0]
    target = next(portion for portion in label.portions if portion.part.subject == "models.target")
    contexts = str(int(target.contexts))
    assert ("label", "8b-70b", "models.target", "0", "32.9", "2.0", f"{target.cache / 2**30:.1f}", contexts) in rows
    assert int(contexts) >= 8


def test_of_gpus_of_unknown_size_only_the_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    study = on("llama3-1b-8b", None)
    needed = list(needs(study, shapes_of(study, tmp_path)))
    findings = list(memory_findings(study, needed))
    assert {finding.verdict for finding in findings} == {"warning"}
    assert all("resources.gpu_memory_gb" in finding.detail for finding in findings)
    assert set(_memory_table(needed).columns[-1].cells) == {""}


Cards = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Cards:
    """A machine with GPUs of these names and GiB, which torch sees too."""

    def has(*cards: tuple[str, int]) -> None:
        known = [(name, gib * 2**30) for name, gib in cards]
        monkeypatch.setattr(gpus, "cards", lambda: known)
        monkeypatch.setattr(gpu_memory, "memory_bytes", lambda gpu: known[gpu][1] if gpu < len(known) else None)

    monkeypatch.setattr("arbitrage.preflight.check_memory.unusable_gpus", lambda: None)
    return has


def findings(study: Study, shapes: dict[str, Shape], verdict: str) -> dict[str, str]:
    """What is found so, by stage or subject."""
    found = [each for each in memory_findings(study, list(needs(study, shapes))) if each.verdict == verdict]
    return {each.subject.removeprefix("GPUs of ").split()[0]: each.detail for each in found}


def test_a_study_that_names_more_gpus_than_there_are_is_refused_before_its_first_job(
    machine: Cards, tmp_path: Path
) -> None:
    machine(("H100", 80))
    study = on("llama3-1b-8b", None)
    shapes = shapes_of(study, tmp_path / "8b")
    few = "a job takes {}, and this machine has 1: {}; of another machine that has them"
    faults = findings(study, shapes, "fault")
    assert list(faults) == ["latency"]
    assert faults["latency"].startswith(few.format(4, "set placement.latency to together"))
    cut = on("llama3-8b-70b", None)
    faults = findings(cut, shapes_of(cut, tmp_path / "70b"), "fault")
    assert faults["label"].startswith(few.format(4, "lower vllm.tensor_parallel"))
    spread = study.model_copy(update={"resources": Resources.model_validate({"router": {"gpus": 2}})})
    assert findings(spread, shapes, "fault")["router"].startswith(few.format(2, "lower resources.router.gpus"))


@pytest.mark.parametrize("named", [{"gpu_partition": "gpu"}, {"gpu_type": "a100"}, {"gpu_memory_gb": 80.0}])
def test_jobs_that_run_elsewhere_may_take_more_gpus_than_there_are_here(
    machine: Cards, tmp_path: Path, named: dict[str, object]
) -> None:
    machine(("T4", 15), ("H100", 80))
    study = on("llama3-1b-8b", None, resources=Resources.model_validate(named))
    needed = list(needs(study, shapes_of(study, tmp_path)))
    details = [finding.detail for finding in memory_findings(study, needed)]
    assert details and not any("this machine has" in detail or "kinds" in detail for detail in details)


def test_of_gpus_of_different_kinds_the_smallest_counts_and_a_line_says_so(machine: Cards, tmp_path: Path) -> None:
    study = on("llama3-1b-8b", None)
    shapes = shapes_of(study, tmp_path)
    machine(*[("NVIDIA H100", 80)] * 4, ("NVIDIA RTX 4090", 24))
    kinds = "of different kinds (4 x NVIDIA H100, 1 x NVIDIA RTX 4090): a job may get any"
    assert findings(study, shapes, "warning")["GPUs"].startswith(kinds)
    assert set(findings(study, shapes, "fault")) == {"label", "sweep", "router"}  # as on 24 GB
    machine(("NVIDIA RTX 4090", 24), *[("NVIDIA H100", 80)] * 3)
    assert "latency" in findings(study, shapes, "ok")  # it takes them all, in this order: the draft has the first
    machine(*[("NVIDIA H100", 80)] * 5)
    assert set(findings(study, shapes, "ok")) == {"label", "sweep", "latency", "router"}


def test_a_model_on_transformers_that_holds_less_than_a_batch_is_a_warning(tmp_path: Path) -> None:
    study = on("llama3-1b-8b", 48)
    models = {name: model.model_copy(update={"engine": "transformers"}) for name, model in study.models.items()}
    study = study.model_copy(update={"models": models})
    found = list(memory_findings(study, list(needs(study, shapes_of(study, tmp_path)))))
    assert any("batch_size is 64: lower it" in finding.detail for finding in found)


def test_a_study_on_the_cpu_has_nothing_to_fit(tmp_path: Path) -> None:
    study = read_study([STUDIES.parent / "config.yaml"])
    assert list(needs(study, {})) == [] and list(memory_findings(study, [])) == []


@pytest.mark.parametrize(
    ("cuda", "driver", "reason"),
    [
        ("13.0", "535.104.05", "driver 535.104.05 lists 2 GPUs.*CUDA 13.0 needs a driver of the 580 series or newer"),
        (None, "580.65", "driver 580.65 lists 2 GPUs.*torch's build for CPUs"),
        ("13.0", "580.65", "though its CUDA is 13.0; see `nvidia-smi`"),
    ],
)
def test_gpus_that_torch_cannot_use_are_a_fault_with_the_drivers_version(
    cuda: str | None, driver: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho {driver}\necho {driver}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", cuda)
    driver_versions.cache_clear()
    study = on("llama3-1b-8b", 80)
    needed = [Need("label", "1b-8b", 1, (), (), "too large")]
    first, _ = memory_findings(study, needed)
    assert first.verdict == "fault" and re.search(reason, first.detail)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [finding.detail for finding in memory_findings(study, needed)] == ["too large"]  # hidden on purpose
    driver_versions.cache_clear()
