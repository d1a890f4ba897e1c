"""Decode one question live with a study's models: behind `arbitrage solve`, and for use from Python.

from arbitrage.config.load import load_study
from arbitrage.stages.solve import open_decoder, solve

study = load_study([Path("config.yaml")])
with open_decoder(study, "small", [Path("results/lab/router/small/default/seed-0/model")]) as decoder:
    solution = solve(decoder, "What is 3 + 4 * 5?", policy="router", threshold=0.5)
print(solution.text, solution.wall_s)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.runtime.placement import placed
from arbitrage.speculation.decoder import LiveDecoder, LiveSolution
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.tree import Question


@contextmanager
def open_decoder(
    study: Study, pair: str, routers: Sequence[Path], speculative_tokens: Sequence[int] = ()
) -> Iterator[LiveDecoder]:
    """Draft, target, PRM and trained routers (directories, at most one a kind) of `pair`, for decoding at batch 1.

    speculative_tokens: with which token-level speculation will be asked for, where that takes engines (vLLM). All are
    on the GPUs that `placement.latency` says.
    """
    factory.routers_by_kind(routers)  # whether they are there, before large models are loaded
    study = placed(study.speculating(speculative_tokens), "latency", pair)
    with (
        factory.open_pair(study, pair) as (draft, target),
        factory.open_scorers(study, pair, "latency", routers) as (*scorers, scalar_routers),
        factory.open_checkers(study, pair) as checkers,
    ):
        writers = factory.live_generator(draft), factory.live_generator(target, checkers)
        prm, router = (None if scorer is None else factory.live_scorer(scorer) for scorer in scorers)
        yield LiveDecoder(*writers, prm, router, study.generation, study.seed, scalar_routers)


def solve(decoder: LiveDecoder, problem: str, policy: str = "router", threshold: float | None = 0.5) -> LiveSolution:
    """Decode `problem` with a policy at a threshold (ignored by draft_only and target_only); batch 1, greedy.

    Raises ValueError for a policy that does not exist, or one whose model the decoder was loaded without.
    """
    return decoder.solve(Question("live", problem), named_policy(policy), threshold)


def named_policy(name: str) -> Policy:
    """The policy called `name`. Raises ValueError, naming those there are."""
    if name not in POLICIES:
        raise ValueError(f"policy {name!r} does not exist; expected one of {', '.join(POLICIES)}")
    return POLICIES[name]


def refusal(study: Study, pair: str, policy: str) -> str | None:
    """Why the engines of `pair` cannot be asked what `policy` reads, and what to do about it; None where they can."""
    entry = POLICIES[policy].entry
    draft, target = study.pairs[pair].draft, study.pairs[pair].target
    unreported = entry.reports - study.models[draft].reports
    if "states" in unreported:
        return (
            f"{policy} reads the draft's hidden states, which engine {study.models[draft].engine} does not give; set "
            f"models.{draft}.engine to transformers"
        )
    if unreported:
        return (
            f"{policy} reads {', '.join(sorted(unreported))} of the draft's steps, which engine "
            f"{study.models[draft].engine} reports only with models.{draft}.top_logprobs; set it to 20"
        )
    if entry.target_reads and not study.models[target].reads:
        return (
            f"{policy} has the target read the draft's steps, which engine {study.models[target].engine} cannot; set "
            f"models.{target}.engine to transformers or vllm"
        )
    return None
