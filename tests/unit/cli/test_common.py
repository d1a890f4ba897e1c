"""What surrounds a stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbitrage.cli import common
from arbitrage.config.load import write_resolved
from tests.conftest import World


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
