"""Every test here starts with the sources of this package alone, whatever ran before it in the same process."""

import pytest

from arbitrage.questions import sources


@pytest.fixture(autouse=True)
def _own_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ("numina", "math500", "olympiadbench")
    monkeypatch.setattr(sources, "_LOADERS", {name: sources._LOADERS[name] for name in own})
