"""Every test here starts without generators, whatever ran before it in the same process."""

import pytest

from arbitrage.questions import sources


@pytest.fixture(autouse=True)
def _no_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_GENERATORS", {})
