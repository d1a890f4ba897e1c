"""Into how many jobs stages are to be cut, for jobs of a wanted length: `arbitrage plan --hours-per-job 2`.

Cuts are tried out, each estimated as a whole: what every job takes by itself (its start, its longest question) and
batches that few questions leave half empty are in the estimate.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from arbitrage.config.study import Study
from arbitrage.planning.estimates import Cost, rule_of

RULES = {"steps": ("label", "lookahead", "states"), "sweep": ("sweep",)}  # whose jobs a section of the study cuts


@dataclass(frozen=True)
class Cut:
    """How a section of the study is to be cut into jobs.

    questions_per_job: to be written there, None where its jobs cannot be so short, or nothing is known of them; costs:
    of the stages it cuts, cut so; too_long: the longest stage at one question a job, where that is longer than wanted.
    """

    questions_per_job: int | None
    costs: list[Cost]
    too_long: Cost | None = None


def cut(study: Study, section: str, costs_of: Callable[[Study], Iterable[Cost]], wanted_s: float) -> Cut:
    """The fewest jobs that take at most `wanted_s` seconds each, by the high end of the estimate.

    section: a key of RULES, which cuts all its stages alike, so that the longest decides. costs_of: what the stages of
    a study take, cut as it says.
    """

    def costs_at(questions_per_job: int) -> list[Cost]:
        settings = getattr(study, section).model_copy(update={"questions_per_job": questions_per_job})
        costs = costs_of(study.model_copy(update={section: settings}))
        return [cost for cost in costs if rule_of(cost.stage) in RULES[section]]

    def job_s(cost: Cost) -> float:
        return cost.high_s / cost.jobs

    longest = max(costs_at(1), key=job_s, default=None)
    if longest is None or job_s(longest) > wanted_s:
        return Cut(None, [], longest)
    benchmarks = [benchmark.size for benchmark in study.benchmarks.values()]
    sizes = [study.questions.sample] if section == "steps" else benchmarks
    most = 1 + bisect_left(range(2, max(sizes) + 1), True, key=lambda each: max(map(job_s, costs_at(each))) > wanted_s)
    alike = max(math.ceil(size / math.ceil(size / most)) for size in sizes)  # as many jobs, none much smaller
    return Cut(alike, costs_at(alike))
