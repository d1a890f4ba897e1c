"""Policies: a score on a node of the step tree, and which side of the threshold escalates.

One module a policy, found by its name in `arbitrage.config.policies`, where each is registered.
"""

from __future__ import annotations

from importlib import import_module

from arbitrage.config import policies as registered
from arbitrage.speculation.policies.base import Policy


def _load(name: str) -> Policy:
    module = import_module(f"{__name__}.{name}")
    (kind,) = (each for each in vars(module).values() if isinstance(each, type) and vars(each).get("name") == name)
    policy: Policy = kind()
    return policy


POLICIES: dict[str, Policy] = {name: _load(name) for name in registered.POLICIES}
