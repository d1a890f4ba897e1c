"""What a shell is offered: commands, policies, and the names of the study that the line has named."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from arbitrage import cli
from arbitrage.config.load import write_resolved
from arbitrage.config.study import Study

SHELLS = {  # the words so far, as each shell hands them over
    "bash": lambda line: {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
    "zsh": lambda line: {"_TYPER_COMPLETE_ARGS": line},
    "fish": lambda line: {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


def offered(line: str, shell: str = "bash") -> str:
    variables = {"_ARBITRAGE_COMPLETE": f"complete_{shell}"} | SHELLS[shell](line)
    return CliRunner().invoke(cli.app, [], prog_name="arbitrage", env=variables).output


@pytest.fixture
def study(tmp_path: Path) -> Path:
    study = {
        "study": "s",
        "results": str(tmp_path),
        "models": {"d": {"path": "d"}, "t": {"path": "t"}},
        "pairs": {"small": {"draft": "d", "target": "t"}, "lowbit": {"draft": "d", "target": "t"}},
        "prm": {"path": "prm"},
        "benchmarks": {"mine": {"source": "lab500"}, "hard": {"source": "labolympiad"}},
    }
    return write_resolved(Study.model_validate(study))


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_is_offered_the_commands(shell: str) -> None:
    said = offered("arbitrage s", shell)
    assert all(name in said for name in ("solve", "serve", "show", "sweep"))
    assert "verify" not in said


@pytest.mark.parametrize("command", ["solve", "serve"])
def test_policies_are_offered(command: str) -> None:
    assert offered(f"arbitrage {command} --policy r").split() == ["rsd", "router", "random"]


def test_pairs_and_benchmarks_are_those_of_the_study_on_the_line(study: Path) -> None:
    assert offered(f"arbitrage solve --study {study} --pair ").split() == ["small", "lowbit"]
    assert offered(f"arbitrage calibrate --study {study} --benchmark h").split() == ["hard"]


def test_show_offers_those_of_the_results_on_the_line(study: Path) -> None:
    assert offered(f"arbitrage show {study.parent.parent} --pair l").split() == ["lowbit"]


def test_without_a_study_nothing_is_offered_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in ("arbitrage solve --pair ", f"arbitrage show {tmp_path} --pair "):
        assert offered(line).strip() == ""
