"""The cost of every stage of a pair, from what its calibration took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from arbitrage.config.study import Study
from arbitrage.planning.calibration import Calibration, Rows, Sample
from arbitrage.planning.estimates import Amount, Speed, total, units_by_problem
from arbitrage.runtime import resources

MODELS = ("draft", "target", "prm", "router")
CHECKPOINTS = 2 * 3  # two checkpoints of a training are kept, each with the optimiser's two numbers a weight


@dataclass(frozen=True)
class Cost:
    """What a stage takes. units: tokens by draft and target, inputs scored by PRM and router; seconds: of all jobs.

    gpus, cores: of one job; disk: bytes that stay; scratch: bytes besides, while a job runs.
    """

    stage: str
    jobs: int
    units: dict[str, Amount]
    seconds: Amount
    gpus: int
    cores: int
    disk: Amount = field(default_factory=Amount)
    scratch: float = 0.0

    @property
    def core_seconds(self) -> Amount:
        """Where no GPU is used: seconds times cores."""
        return Amount() if self.gpus else self.seconds.times(self.cores)

    @property
    def gpu_seconds(self) -> Amount:
        """Seconds times GPUs."""
        return self.seconds.times(self.gpus)


def costs_of(study: Study, pair: str, calibration: Calibration, importing_s: float) -> list[Cost]:
    """The cost of every stage of `pair`."""
    batch_sizes = {
        "draft": study.models[study.pairs[pair].draft].batch_size,
        "target": study.models[study.pairs[pair].target].batch_size,
        "prm": study.prm.batch_size,
        "router": study.router.batch_size,
    }
    stages = [calibration.steps, *calibration.sweeps.values()]
    speeds = {
        name: Speed.fitted([call for stage in stages for call in stage.calls.get(name, [])], size)
        for name, size in batch_sizes.items()
    }
    start_s = importing_s + calibration.load_s
    steps, sweep = study.steps, study.sweep
    costs = [
        _generating(
            study,
            "steps",
            pair,
            f"steps {pair}",
            calibration.steps,
            speeds,
            study.questions.sample,
            study.steps_shards,
            steps.chunk,
            start_s,
        ),
        *_routers(study, pair, calibration, speeds["router"], importing_s),
    ]
    for benchmark, sample in calibration.sweeps.items():
        costs.append(
            _generating(
                study,
                "trajectories",
                pair,
                f"trajectories {pair} {benchmark}",
                sample,
                speeds,
                study.benchmarks[benchmark].size,
                study.sweep_shards(benchmark),
                sweep.chunk,
                start_s,
            )
        )
    if calibration.live:
        costs.append(_latency(study, pair, calibration, start_s))
    return costs


def _generating(
    study: Study,
    stage: resources.Stage,
    pair: str,
    name: str,
    sample: Sample,
    speeds: dict[str, Speed],
    questions: int,
    shards: int,
    chunk: int,
    start_s: float,
) -> Cost:
    """A stage that generates over `questions` questions, in `shards` jobs and chunks of `chunk`."""
    units = {model: total(units_by_problem(calls, sample.problems), questions) for model, calls in sample.calls.items()}
    factor = questions / len(sample.problems)
    chunks = shards * max(1, round(questions / shards / chunk))
    busy_s = sum(chunks * speeds[model].seconds(calls, factor / chunks) for model, calls in sample.calls.items())
    doubt = max(amount.share for amount in units.values())
    working_s = busy_s + sample.own_s * factor
    return Cost(
        stage=name,
        jobs=shards,
        units=units,
        seconds=Amount(working_s + shards * start_s, working_s * doubt),
        gpus=resources.gpus(study, stage, pair),
        cores=study.threads,
        disk=Amount(sample.disk * factor, sample.disk * factor * doubt),
    )


def _routers(study: Study, pair: str, calibration: Calibration, speed: Speed, importing_s: float) -> list[Cost]:
    """Data sets, training and held-out scores of all variants of `pair`."""
    training, variants = calibration.training, study.variants_of(pair)
    questions = len(calibration.steps.problems)
    steps = training.steps / questions * study.questions.sample
    validation = study.dataset.validation * steps
    doubt = max(
        total(units_by_problem(calls, calibration.steps.problems), study.questions.sample).share
        for calls in calibration.steps.calls.values()
    )
    examples = [_examples(study, variant, steps - validation, training.positive) for variant in variants]
    train_s = sum(examples) * study.router.training.epochs * training.seconds_an_example
    heldout_s = len(variants) * validation * (speed.unit_s + speed.pass_s / speed.batch_size)
    dataset_s = len(variants) * training.dataset_s / training.steps * steps
    table_bytes = (sum(examples) + len(variants) * validation) * training.dataset_bytes / training.steps
    start_s = len(variants) * importing_s
    return [
        Cost(
            stage=f"router data {pair}",
            jobs=len(variants),
            units={},
            seconds=Amount(dataset_s + start_s, dataset_s * doubt),
            gpus=0,
            cores=1,
            disk=Amount(table_bytes, table_bytes * doubt),
        ),
        Cost(
            stage=f"router training {pair}",
            jobs=2 * len(variants),
            units={"router": Amount(validation, validation * doubt).times(len(variants))},
            seconds=Amount(train_s + heldout_s + 2 * start_s, (train_s + heldout_s) * doubt),
            gpus=resources.gpus(study, "router", None),
            cores=study.threads,
            disk=Amount(len(variants) * training.model_bytes),
            scratch=CHECKPOINTS * training.model_bytes,
        ),
    ]


def _examples(study: Study, variant: str, natural: float, positive: float) -> float:
    """Training examples of a variant, of so many steps with this share of label 1."""
    kept = 2 * min(positive, 1 - positive) * natural if study.router.variants[variant].balance else natural
    return min(kept, study.dataset.max_examples or kept)


def _latency(study: Study, pair: str, calibration: Calibration, start_s: float) -> Cost:
    """The timed solutions; each setting was tried once on each benchmark."""
    live = calibration.live
    timed = sum(min(study.latency.questions, study.benchmarks[name].size) for name in study.benchmarks)
    solutions = timed * len(live) // len(study.benchmarks)

    def all_of(column: str) -> Amount:
        return total([row[column] for row in live], solutions)

    wall = all_of("wall_s")
    return Cost(
        stage=f"latency {pair}",
        jobs=1,
        units={
            "draft": all_of("draft_tokens"),
            "target": all_of("target_tokens"),
            "prm": _calls(live, solutions, "rsd"),
            "router": _calls(live, solutions, "router"),
        },
        seconds=Amount(wall.value + start_s, wall.error),
        gpus=resources.gpus(study, "latency", pair),
        cores=study.threads,
    )


def _calls(live: Rows, solutions: int, policy: str) -> Amount:
    return total([row["score_calls"] if row["policy"] == policy else 0 for row in live], solutions)


def sum_of(costs: Sequence[Cost]) -> Cost:
    """All stages together; gpus, cores and scratch are those of the largest job."""
    zero = Amount()
    return Cost(
        stage="all",
        jobs=sum(cost.jobs for cost in costs),
        units={name: sum((cost.units.get(name, zero) for cost in costs), zero) for name in MODELS},
        seconds=sum((cost.seconds for cost in costs), zero),
        gpus=max(cost.gpus for cost in costs),
        cores=max(cost.cores for cost in costs),
        disk=sum((cost.disk for cost in costs), zero),
        scratch=max(cost.scratch for cost in costs),
    )
