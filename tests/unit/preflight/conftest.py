"""A study of tiny checkpoints, to be checked."""

from __future__ import annotations

from typing import Any

import pytest

from arbitrage.config.load import validate_config
from arbitrage.config.study import Study
from arbitrage.preflight.findings import Finding
from tests.support.tiny_models import build_causal, build_classifier


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "draft": str(build_causal(folder / "draft")),
        "target": str(build_causal(folder / "target", seed=1)),
        "prm": str(build_classifier(folder / "prm")),
    }


def study_of(checkpoints: dict[str, str], **changes: Any) -> Study:
    config: dict[str, Any] = {
        "study": "checked",
        "models": {"draft": {"path": checkpoints["draft"]}, "target": {"path": checkpoints["target"]}},
        "pairs": {"pair": {"draft": "draft", "target": "target"}},
        "prm": {"path": checkpoints["prm"]},
        "benchmarks": {"lab500": {"source": "lab500", "limit": 5}},
        "generation": {"max_tokens": 200},
    }
    return validate_config(config | changes)


def found(findings: list[Finding], verdict: str) -> list[str]:
    return [f"{finding.subject}: {finding.detail}" for finding in findings if finding.verdict == verdict]
