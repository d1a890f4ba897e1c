"""The scalars of a step: by hand, and the same to the bit in labelled steps and where a policy decides."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from arbitrage.config.router import RouterKind, Variant
from arbitrage.io.tables import write_table
from arbitrage.routing.inputs import ScalarEncoding, States
from arbitrage.speculation.labelling import label
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.scalars import LEAST, Earlier, Signals, names_of, picked, scalars
from arbitrage.speculation.steps import AuthoredStep
from arbitrage.speculation.sweep import sweep
from arbitrage.speculation.tree import Contexts, Node, Question
from tests.support.fakes import QUESTIONS, FakeGenerator, fake_decoder, fake_models


def test_the_scalars_of_a_step_by_hand() -> None:
    earlier = [Earlier("draft", -1.5), Earlier("target", -9.0), Earlier("draft", -3.0), Earlier("target", -0.5)]
    found = scalars((-0.5, -2.0, -0.125), (1.5, 0.5, 0.25), earlier, 40, Signals(0.75, (-0.25, -4.0)))
    assert found == {
        "mean_logprob": -0.875,
        "lowest_logprob": -2.0,
        "last_logprob": -0.125,
        "sum_logprob": -2.625,
        "first_token_entropy": 1.5,
        "tokens": 3.0,
        "step_index": 4.0,
        "tokens_so_far": 40.0,
        "target_steps": 2.0,
        "after_target": 1.0,
        "lowest_accepted": -3.0,
        "draft_score": 0.75,
        "target_lowest_logprob": -4.0,
        "target_mean_logprob": -2.125,
    }
    assert set(names_of("scalars+prm", True)) | set(names_of("scalars+target", True)) == set(found)


def test_a_first_step_and_a_step_of_no_token_have_finite_scalars() -> None:
    found = scalars((-math.inf, -1.0), None, [], 0, Signals(None, ()))
    assert found["lowest_accepted"] == found["target_lowest_logprob"] == found["target_mean_logprob"] == 0.0
    assert found["lowest_logprob"] == LEAST and all(map(math.isfinite, found.values()))
    assert "first_token_entropy" not in found and "draft_score" not in found
    with pytest.raises(EngineError, match=r"reads first_token_entropy, which .*top_logprobs"):
        picked(found, names_of("scalars", entropies=True))


class Told:
    """A router that decides as it is told, and keeps what it read."""

    def __init__(self, kind: RouterKind, decisions: Iterator[int]) -> None:
        self.names, self.decisions = names_of(kind, entropies=True), decisions
        self.read: list[list[float]] = []

    def score_one(self, values: Sequence[float]) -> float:
        self.read.append(list(values))
        return float(next(self.decisions))


@pytest.mark.parametrize("policy", ["scalars", "scalars_prm", "scalars_target", "probe", "scalars_probe"])
def test_a_policy_reads_on_a_path_what_its_router_was_trained_on_there(policy: str, tmp_path: Path) -> None:
    kind = POLICIES[policy].entry.router
    assert kind is not None
    rows = label(fake_models(), QUESTIONS, samples=1, temperature=0.0, seed=7, reads=True)
    table = tmp_path / "steps.parquet"
    write_table(table, "steps", [{"study": "s", "pair": "p", **row} for row in rows])
    encoding = ScalarEncoding(kind, table, states_after(rows) if Variant(kind=kind).reads_states else None)
    trained_on = pa.concat_arrays([encoding.inputs(batch) for batch in encoding.batches(table, ())]).to_pylist()
    router = Told(kind, iter([row["label"] for row in rows]))
    decoder = dataclasses.replace(fake_decoder(seed=7), scalar_routers={kind: router})
    for question in sorted(QUESTIONS, key=lambda question: question.question_id):
        for step in decoder.solve(question, POLICIES[policy], 0.5).steps:
            assert step.costs.score_s > 0 and step.costs.score_calls == 1
    assert router.read == trained_on and len(rows) > 2 * len(QUESTIONS)


def states_after(rows: Sequence[Mapping[str, Any]]) -> States:
    """The draft's states after labelled steps, each by the ids of the node behind the step."""
    draft = FakeGenerator("draft")
    contexts, found = Contexts(draft), {}
    for row in rows:
        steps = tuple(AuthoredStep(step["model"], step["text"]) for step in row["history"])
        node = Node(Question(row["question_id"], row["problem"]), steps)
        behind = node.child(AuthoredStep("draft", row["draft_step"]), "separator")
        found[row["question_id"], row["step_index"]] = np.array(draft.state_one(contexts.ids(behind)))
    return found


def test_a_policy_whose_router_was_not_loaded_is_refused_before_anything_is_generated() -> None:
    models = dataclasses.replace(fake_models(), scalar_routers={})
    with pytest.raises(EngineError, match=r"'scalars_prm' needs a router of kind scalars\+prm; load one \(--router\)"):
        sweep(models, QUESTIONS, ["rsd", "scalars_prm"], seed=7)
    decoder = dataclasses.replace(fake_decoder(seed=7), scalar_routers={})
    with pytest.raises(ValueError, match="needs a router of kind scalars; load one"):
        decoder.solve(QUESTIONS[0], POLICIES["scalars"], 0.5)
    assert models.draft.calls == decoder.draft.calls == 0  # type: ignore[attr-defined]
