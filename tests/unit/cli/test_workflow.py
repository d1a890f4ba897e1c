"""What the Snakefile calls: a study that cannot start ends Snakemake with one line, and is checked once."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arbitrage.cli import workflow
from arbitrage.config.study import Study

COMMIT = "a" * 40


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    here = {"path": str(tmp_path)}
    return {
        "study": "s",
        "results": str(tmp_path),
        "models": {"d": here, "t": here},
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": here,
        "benchmarks": {"b": {"source": "lab500"}},
    } | changes


def open_study(config: dict[str, Any], **options: bool) -> Study:
    settings = SimpleNamespace(config={}, configfiles=[])
    return workflow.open_study(config, SimpleNamespace(config_settings=settings, configfiles=[]), **options)


@pytest.fixture(autouse=True)
def _no_announcement_outlives_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARBITRAGE_STUDY", "PYTHONUTF8"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(workflow.locks, "guard_study", lambda folder: None)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The studies that were checked; one of seed 13 fails."""
    checked: list[str] = []

    def check(command: list[str], check: bool) -> SimpleNamespace:
        assert command[:3] == ["arbitrage", "check", "--study"]
        checked.append(command[3])
        return SimpleNamespace(returncode=int('"seed": 13' in Path(command[3]).read_text()))

    monkeypatch.setattr(subprocess, "run", check)
    return checked


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sede": 1}, "sede: unknown key (value 1); did you mean seed?"),
        (
            {"prm": {"path": "/no/prm"}},
            'prm.path: expected a directory, or a hub id (owner/name); "/no/prm" is neither',
        ),
    ],
)
def test_a_mistake_ends_snakemake_with_its_line_alone(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        open_study(config(tmp_path, **changes))
    assert ended.value.code == message


def test_a_workflow_that_makes_the_models_does_not_need_them(tmp_path: Path) -> None:
    assert open_study(config(tmp_path, prm={"path": "/no/prm"}), models_exist=False).prm.path == "/no/prm"


def test_a_study_is_checked_once_and_again_when_it_has_changed(tmp_path: Path, checks: list[str]) -> None:
    for seed in (1, 1, 2, 1):
        workflow.start(open_study(config(tmp_path, seed=seed)))
    assert len(checks) == len(set(checks)) == 2


def test_a_study_that_is_not_ready_does_not_start_and_is_checked_anew(tmp_path: Path, checks: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit, match="the study s is not ready to run: see the errors above"):
            workflow.start(open_study(config(tmp_path, seed=13)))
    assert len(checks) == 2


def test_where_nothing_can_be_checked_a_branch_does_not_run(
    tmp_path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workflow, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r'prm\.revision: expected a commit, got "main"'):
        workflow.start(open_study(config(tmp_path, prm={"path": "some/prm", "revision": "main"})))
    workflow.start(open_study(config(tmp_path, prm={"path": "some/prm", "revision": COMMIT})))
    assert not checks and "Not checked: transformers is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "nodes", "shared", "told"),
    [
        ({}, None, False, {"gpu": 2}),
        ({"gpu": 1}, None, False, {}),  # --resources gpu=1
        ({}, 40, False, {}),  # a cluster's jobs
        ({}, None, True, {}),
    ],
)
def test_snakemake_is_told_how_many_gpus_this_machine_has(
    said: dict[str, int],
    nodes: int | None,
    shared: bool,
    told: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = open_study(config(tmp_path, resources={"share_gpus": shared}))
    registered: dict[str, int] = {}
    settings = SimpleNamespace(nodes=nodes, resources=said)
    snakemake = SimpleNamespace(
        is_main_process=True, resource_settings=settings, register_resource=registered.__setitem__
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    workflow.count_gpus(study, snakemake)
    assert registered == told
    registered.clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    workflow.count_gpus(study, snakemake)
    assert registered == {}
