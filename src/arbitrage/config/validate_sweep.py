"""What must hold between the policies of a study and the rest of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from arbitrage.config.messages import Problem, dotted, shown
from arbitrage.config.policies import POLICIES, TIMED_POLICIES
from arbitrage.config.questions import is_generated
from arbitrage.config.study import Study


def sweep_problems(study: Study) -> Iterator[Problem]:
    """What does not fit in `sweep`, and in what else a policy asks for: routers, engines, timing."""
    yield from _sweep(study)
    yield from _speculation(study)


def _sweep(study: Study) -> Iterator[Problem]:
    thresholds, policies = study.sweep.thresholds, study.sweep.policies
    if isinstance(thresholds, list):
        if not thresholds:
            yield ("sweep", "thresholds"), "expected `exact`, `quantiles` or at least one threshold, got []"
        elif any(low >= high for low, high in itertools.pairwise(thresholds)):
            yield ("sweep", "thresholds"), f"expected rising thresholds, none twice, got {shown(thresholds)}"
        elif "oracle" in policies and thresholds[-1] < 0:
            reason = "the oracle is compared at thresholds of 0 and above: list one, or take it out of sweep.policies"
            yield ("sweep", "thresholds"), f"{reason}; got {shown(thresholds)}"
    twice = sorted({shown(policy) for policy in policies if policies.count(policy) > 1})
    if twice:
        yield ("sweep", "policies"), f"expected each policy once, got {', '.join(twice)} more than once"
    missing = [policy for policy in TIMED_POLICIES if POLICIES[policy].by_default and policy not in policies]
    if missing and study.timed_pairs:
        keys = ", ".join(dotted(("pairs", name, "latency")) for name in study.timed_pairs)
        yield (
            ("sweep", "policies"),
            f"lacks {', '.join(missing)}, whose latency is timed: add them, or set {keys} to false",
        )
    unknown = [policy for policy in policies if POLICIES[policy].has_threshold and not POLICIES[policy].column]
    if thresholds == "quantiles" and unknown:
        yield (
            ("sweep", "thresholds"),
            f"expected `exact` or a list for {', '.join(unknown)}, whose scores no labelled step has; got quantiles",
        )
    for policy in policies:
        if "entropies" in POLICIES[policy].reports:
            yield from _unreported(study, policy)
        if POLICIES[policy].target_reads:
            yield from _unread(study, f"sweep.policies has {policy}")
        if POLICIES[policy].trained and study.variant_of(policy) is None:
            yield (
                ("router", "variants"),
                f"expected a variant of kind {POLICIES[policy].router}, as sweep.policies has {policy}, which decides "
                f"by one; got {', '.join(f'{name} ({each.kind})' for name, each in study.router.variants.items())}. "
                f"Add one (`{policy}: {{kind: {POLICIES[policy].router}}}`), or leave {policy} out",
            )
    yield from _stateless(study)
    columns = study.questions.columns
    for name, variant in study.router.variants.items():
        if variant.kind == "scalars+target":
            yield from _unread(study, f"router.variants.{name} is of kind {variant.kind}")
        if variant.labels == "lookahead" and not is_generated(study.questions.source) and not columns.solution:
            yield (
                ("questions", "columns", "solution"),
                f"expected the column of worked solutions, whose last \\boxed{{}} is the right answer, as "
                f"router.variants.{name} has labels `lookahead`; got none",
            )


def _speculation(study: Study) -> Iterator[Problem]:
    """Policies to be timed with token-level speculation that are not timed at all, and a number of tokens for them."""
    timed = [policy for policy in study.sweep.policies if policy in TIMED_POLICIES and POLICIES[policy].has_threshold]
    path = ("latency", "speculative_policies")
    for policy in study.latency.speculative_policies:
        if policy not in timed:
            yield path, f"expected policies of sweep.policies that are timed ({', '.join(timed)}), got {shown(policy)}"
    if study.latency.speculative_policies and not study.latency.speculative_tokens:
        yield path, "expected none where latency.speculative_tokens is []; give a number there, such as 8"


def _unreported(study: Study, policy: str) -> Iterator[Problem]:
    """Drafts whose engine would report no entropies, which `policy` reads."""
    for name in dict.fromkeys(pair.draft for pair in study.pairs.values()):
        if name in study.models and "entropies" not in study.models[name].reports:
            yield (
                ("models", name, "top_logprobs"),
                f"expected 1 to 20, as sweep.policies has {policy}, which reads the entropies of the draft's tokens; "
                f"got 0, with which engine {study.models[name].engine} reports none",
            )


def _stateless(study: Study) -> Iterator[Problem]:
    """Drafts whose engine gives no hidden states, which a router of their pair reads."""
    variants = study.router.variants
    for pair in study.pairs:
        draft = study.pairs[pair].draft
        readers = [name for name in study.variants_of(pair) if variants[name].reads_states]
        if readers and draft in study.models and "states" not in study.models[draft].reports:
            yield (
                ("models", draft, "engine"),
                f"expected transformers, as router.variants.{readers[0]} is of kind {variants[readers[0]].kind}, which "
                f"reads the draft's hidden states; got {study.models[draft].engine}, which gives none. Or take that "
                "variant, and what it decides for in sweep.policies, out",
            )


def _unread(study: Study, why: str) -> Iterator[Problem]:
    """Targets whose engine cannot read the draft's step, as they have to; `why` says which key has them do it."""
    for name in dict.fromkeys(pair.target for pair in study.pairs.values()):
        if name in study.models and not study.models[name].reads:
            yield (
                ("models", name, "engine"),
                f"expected transformers or vllm, as {why}, for which the target reads the draft's steps; "
                f"got {study.models[name].engine}: completions servers do not all report the "
                "log-probabilities of a prompt",
            )
