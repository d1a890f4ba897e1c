"""Asking a pair's engines directly, a batch of nodes at a time: how a procedure works that no scheduler runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from arbitrage.config.policies import Need
from arbitrage.speculation.pair import PairModels, answers
from arbitrage.speculation.steps import AuthoredStep, GeneratedStep
from arbitrage.speculation.tree import Node


def steps_of(models: PairModels, author: Need, nodes: Sequence[Node]) -> list[GeneratedStep]:
    """The greedy next step of draft or target at each node."""
    requests = [models.step_request(author, node) for node in nodes]
    return cast(list[GeneratedStep], answers(models.engine(author), requests)) if requests else []


def scores_of(models: PairModels, scorer: Need, nodes: Sequence[Node], steps: Sequence[AuthoredStep]) -> list[float]:
    """The PRM's or router's score of each step at its node."""
    requests = [models.score_request(scorer, node, step) for node, step in zip(nodes, steps, strict=True)]
    return cast(list[float], answers(models.engine(scorer), requests)) if requests else []
