"""From what the jobs of a pilot took to what those of the study will: scaled by questions, with an interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import t as student

from arbitrage.config.study import Study
from arbitrage.evaluation.curves import PAPER_GRID
from arbitrage.planning.pilot import Measured
from arbitrage.runtime import resources
from arbitrage.speculation.policies import POLICIES

CONFIDENCE = 0.95
MODELS = ("draft", "target", "prm", "router")
OF_A_TRAINING = ("dataset", "router", "heldout")  # stages whose time is not in proportion to the questions


@dataclass(frozen=True)
class Speeds:
    """Seconds a unit (a token; a score) where one question is worked on, and where every batch is full, by model.

    start_s: seconds until a job has started and loaded the pair's models.
    """

    start_s: float
    alone: Mapping[str, float]
    full: Mapping[str, float]

    @classmethod
    def of(cls, study: Study, pair: str, one: Measured, many: Measured) -> Speeds:
        """From the first steps of one question and of many: a pass takes a part of its own, and one for each row."""
        names, sizes = study.pairs[pair], {"prm": study.prm.batch_size}
        sizes |= {role: study.models[getattr(names, role)].batch_size for role in ("draft", "target")}
        alone = {model: one.model_s[model] / max(one.units[model], 1) for model in sizes}
        full = dict(alone)
        for model, size in sizes.items():
            rows = min(many.questions, size)
            if rows > 1:
                pass_s = rows * many.model_s[model] / max(many.units[model], 1)
                row_s = max(pass_s - alone[model], 0.0) / (rows - 1)
                full[model] = min(alone[model], max(alone[model] - row_s, 0.0) / size + row_s)
        return cls(one.seconds - sum(one.model_s.values()), alone, full)


@dataclass(frozen=True)
class Cost:
    """What a stage of the study takes.

    jobs: it is cut into; units: tokens by draft and target, inputs scored by PRM and router; low_s, high_s: seconds of
    all jobs together, with full batches, and with batches as the pilot had them; start_s: of that, what each job takes
    until its models are loaded, 0 where nobody knows; gpus, cores: of one job; disk: bytes that stay; error: half the
    95 % interval that the choice of questions leaves, as a share of the amounts; memory: most bytes a job of the pilot
    held; questions: of the pilot, 0 for a bound.
    """

    stage: str
    jobs: int
    units: Mapping[str, float] = field(default_factory=dict)
    low_s: float = 0.0
    high_s: float = 0.0
    gpus: int = 0
    cores: int = 1
    disk: float = 0.0
    error: float = 0.0
    memory: int = 0
    questions: int = 0
    start_s: float = 0.0


def rule_of(stage: str) -> str:
    """The rule of a stage of the pilot (`label`, `sweep <benchmark>` ...)."""
    return stage.partition(" ")[0]


def scaled(study: Study, pair: str, stage: str, job: Measured, speeds: Speeds) -> Cost:
    """The cost of a stage that took `job` in the pilot."""
    jobs, questions = size_of(study, pair, stage)
    factor = questions / job.questions
    units = {name: factor * value for name, value in job.units.items()}
    start_s = speeds.start_s
    high_s = factor * max(job.seconds - len(job.jobs) * speeds.start_s, sum(job.model_s.values()))
    if rule_of(stage) in OF_A_TRAINING:
        most = study.questions.sample
        if job.examples and study.dataset.max_examples:
            most = min(most, math.ceil(study.dataset.max_examples * job.questions / job.examples))
        high_s, start_s = jobs * seconds_at(job.jobs, most), 0.0
    low_s = high_s
    if rule_of(stage) in ("label", "lookahead", "sweep"):
        router_s = factor * job.model_s.get("router", 0.0)
        if rule_of(stage) == "sweep":  # the router's policy is swept with every training; the pilot has one
            units["router"] = units.get("router", 0.0) * study.router.seeds
            high_s += router_s * (study.router.seeds - 1)
            router_s *= study.router.seeds
        low_s = min(high_s, router_s + sum(units.get(model, 0.0) * speeds.full[model] for model in speeds.full))
    return Cost(
        stage=f"{stage} {pair}",
        jobs=jobs,
        units=units,
        low_s=low_s + jobs * start_s,
        high_s=high_s + jobs * start_s,
        gpus=resources.gpus(study, rule_of(stage), pair),
        cores=study.threads,
        disk=job.disk * (jobs / len(job.jobs) if stage == "router" else factor),  # one model, of however many steps
        error=relative_error(job.lengths, questions),
        memory=job.memory,
        questions=job.questions,
        start_s=start_s,
    )


def seconds_at(jobs: Sequence[tuple[int, float]], questions: int) -> float:
    """Seconds of a job on so many questions: on a line through jobs of other sizes, or in proportion to one."""
    counts, seconds = np.array(jobs).T
    if len(set(counts)) == 1:
        return float(seconds.mean() * max(questions / counts[0], 1.0))
    slope = max(float(np.polyfit(counts, seconds, 1)[0]), 0.0)
    return float(seconds.mean() + slope * max(questions - counts.mean(), 0.0))


def bounds(study: Study, pair: str, speeds: Speeds) -> Iterator[Cost]:
    """What stages take at most: every solution as long as the study allows, every step of both models and scored.

    An exact sweep has no bound (how many trajectories there are depends on the scores), nor has a router's training.
    """
    limits, samples = study.generation, study.steps.target_samples
    solutions: dict[str, float] = {"label": study.questions.sample}
    listed = thresholds_listed(study)
    if listed < math.inf:
        each = sum(listed if POLICIES[name].has_threshold else 1 for name in study.sweep.policies)
        solutions |= {f"sweep {name}": each * benchmark.size for name, benchmark in study.benchmarks.items()}
    for stage, count in solutions.items():
        jobs, _ = size_of(study, pair, stage)
        targets = samples if stage == "label" else 1
        units = {"draft": count * limits.max_tokens, "target": count * limits.max_tokens * targets}
        units["prm"] = count * limits.max_steps * (1 + targets)
        low_s, high_s = (sum(units[model] * each[model] for model in units) for each in (speeds.full, speeds.alone))
        low_s, high_s = (jobs * speeds.start_s + each for each in (low_s, high_s))
        gpus = resources.gpus(study, rule_of(stage), pair)
        yield Cost(f"{stage} {pair}", jobs, units, low_s, high_s, gpus, study.threads, start_s=speeds.start_s)


def thresholds_listed(study: Study) -> float:
    """Thresholds of a policy in the sweep; infinite where it is exact."""
    if study.sweep.thresholds == "exact":
        return math.inf
    return study.sweep.quantiles + len(PAPER_GRID) if study.sweep.thresholds == "quantiles" else len(study.sweep.listed)


def size_of(study: Study, pair: str, stage: str) -> tuple[int, int]:
    """Jobs of a stage, and the questions they work on together."""
    kind, _, benchmark = stage.partition(" ")
    if kind in ("label", "lookahead", "states"):
        return study.steps_shards, study.questions.sample
    if kind == "sweep":
        return study.sweep_shards(benchmark), study.benchmarks[benchmark].size
    if kind == "latency":
        return 1, sum(min(study.latency.questions, each.size) for each in study.benchmarks.values())
    variants = study.router.variants
    alike = [name for name in study.variants_of(pair) if variants[name].kind == variants["default"].kind]
    trainings = len(alike) * (1 if kind == "dataset" else study.router.seeds)  # the pilot has the default's time only
    return trainings if kind == "router" else len(alike), trainings * study.questions.sample


def relative_error(lengths: Sequence[float], population: int) -> float:
    """Half the 95 % interval of a sum over `population` questions, as a share of it; `lengths` are a sample of them.

    0 where all are in the sample; infinite for a single one.
    """
    count = len(lengths)
    if count >= population:
        return 0.0
    if count < 2:
        return math.inf
    spread = float(np.std(lengths, ddof=1)) / math.sqrt(count) * math.sqrt(1 - count / population)
    return float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread / float(np.mean(lengths))


def sum_of(costs: Sequence[Cost]) -> Cost:
    """All stages together. Errors of stages that share questions do not cancel: their mean, by seconds."""
    high_s = sum(cost.high_s for cost in costs)
    return Cost(
        stage="all",
        jobs=sum(cost.jobs for cost in costs),
        units={name: sum(cost.units.get(name, 0.0) for cost in costs) for name in MODELS},
        low_s=sum(cost.low_s for cost in costs),
        high_s=high_s,
        disk=sum(cost.disk for cost in costs),
        error=sum(cost.error * cost.high_s for cost in costs) / high_s,
        questions=min(cost.questions for cost in costs),
    )
