"""The scalars that a router may read instead of text: all of them are there before it decides.

Those of the draft's own tokens and of the solution so far cost nothing; the PRM's score of the draft's step, what the
target makes of that step, and the draft's hidden state at its end are signals that a kind of router may add, and that
its policy then pays for. The state is no scalar: its numbers stand behind those of the scalars, and have no names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from arbitrage.config.router import RouterKind
from arbitrage.speculation.protocols import EngineError, ScalarScorer
from arbitrage.speculation.steps import Author, GeneratedStep, State

LEAST = -100.0  # log-probabilities below it count as this: some engines give -inf where others give a number
ENTROPY = "first_token_entropy"
OF_DRAFT = (
    *("mean_logprob", "lowest_logprob", "last_logprob", "sum_logprob", ENTROPY, "tokens"),
    *("step_index", "tokens_so_far", "target_steps", "after_target", "lowest_accepted"),
)
# What kinds that read scalars have beside the draft's.
SIGNALS: Mapping[RouterKind, tuple[str, ...]] = {
    "scalars": (),
    "scalars+prm": ("draft_score",),
    "scalars+target": ("target_lowest_logprob", "target_mean_logprob"),
    "scalars+probe": (),
}


@dataclass(frozen=True, slots=True)
class Signals:
    """What a policy has asked of models to decide.

    draft_score: the PRM's, of the draft's step; target_logprobs: the target's, of the tokens of that step; draft_state:
    the draft's hidden state at its end. None, of the last no number, where the policy did not ask.
    """

    draft_score: float | None = None
    target_logprobs: Sequence[float] | None = None
    draft_state: State = ()


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier step of a solution: who wrote it, and the lowest log-probability in the step that the draft wrote."""

    author: Author
    lowest: float


def names_of(kind: RouterKind, entropies: bool) -> tuple[str, ...]:
    """The scalars that a router of `kind` reads; entropies: whether the draft's engine reports them."""
    if kind not in SIGNALS:
        return ()
    return (*(name for name in OF_DRAFT if entropies or name != ENTROPY), *SIGNALS[kind])


def scalars(
    logprobs: Sequence[float],
    entropies: Sequence[float] | None,
    earlier: Sequence[Earlier],
    tokens_so_far: int,
    signals: Signals,
) -> dict[str, float]:
    """The scalars of the draft's step at a node, by name: those that can be computed from what is given.

    logprobs, entropies: of the tokens of the draft's step (`GeneratedStep`), in nats. earlier: the steps before it.
    tokens_so_far: tokens of these, in the draft's tokenizer. `lowest_accepted` is over earlier steps of the draft that
    were accepted, 0 where there is none; `target_steps` counts the others, `after_target` is 1 after one.
    """
    total, lowest = sum(logprobs), min(logprobs)
    found = {
        "mean_logprob": max(total / len(logprobs), LEAST),
        "lowest_logprob": max(lowest, LEAST),
        "last_logprob": max(logprobs[-1], LEAST),
        "sum_logprob": max(total, LEAST * len(logprobs)),
        "tokens": float(len(logprobs)),
        "step_index": float(len(earlier)),
        "tokens_so_far": float(tokens_so_far),
        "target_steps": float(sum(step.author == "target" for step in earlier)),
        "after_target": float(bool(earlier) and earlier[-1].author == "target"),
        "lowest_accepted": max(min((step.lowest for step in earlier if step.author == "draft"), default=0.0), LEAST),
    }
    if entropies is not None:
        found[ENTROPY] = entropies[0]
    if signals.draft_score is not None:
        found["draft_score"] = signals.draft_score
    if (read := signals.target_logprobs) is not None:
        found["target_lowest_logprob"] = max(min(read, default=0.0), LEAST)
        found["target_mean_logprob"] = max(fmean(read) if read else 0.0, LEAST)
    return found


def scalar_score(
    router: ScalarScorer, draft: GeneratedStep, earlier: Sequence[Earlier], tokens_so_far: int, signals: Signals
) -> float:
    """What `router` makes of the draft's step, in (0, 1); arguments as of `scalars`. Raises EngineError, ScoreError."""
    found = scalars(draft.logprobs, draft.entropies, earlier, tokens_so_far, signals)
    return router.score_one([*picked(found, router.names), *signals.draft_state])


def picked(found: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """The scalars called `names`. Raises EngineError where one is not there: what it is computed from is missing."""
    try:
        return [found[name] for name in names]
    except KeyError as missing:
        remedies = {ENTROPY: "set models.<draft>.top_logprobs as it was when the router was trained"}
        raise EngineError(
            f"the router reads {missing.args[0]}, which this draft's engine does not report; "
            f"{remedies.get(missing.args[0], 'train the router anew')}"
        ) from missing
