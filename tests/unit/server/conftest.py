from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fakes import fake_models
from tests.support.served import Served, served


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """Models made of hashes behind real HTTP."""
    with served(fake_models()) as running:
        yield running
