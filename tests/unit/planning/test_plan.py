"""`arbitrage plan` on the lab's models, held against what the stages then do."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from arbitrage.cli.stages import register_lab
from arbitrage.config.load import load_study
from arbitrage.config.router import Variant
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import load_tokenizer
from arbitrage.io.tables import write_table
from arbitrage.planning.costs import Cost, sum_of
from arbitrage.planning.plan import plan
from arbitrage.questions.sampling import benchmark_questions, sample_questions
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.train import train_router
from arbitrage.stages.generate import label_steps, sweep_benchmark

ONE_SHARD = {"steps": {"shards": 1}, "sweep": {"shards": 1}}
Rows = list[dict[str, Any]]


def study_of(folder: Path, seed: int, labelling: int, questions: int, **sections: Any) -> Study:
    """The lab's pair `small`, on so many questions of labolympiad."""
    overrides = {
        "results": str(folder),
        "seed": seed,
        "pairs": {"lowbit": None},
        "questions": {"sample": labelling, "pool": 4 * labelling},
        "benchmarks": {"lab500": None, "labolympiad": {"limit": questions}},
        **ONE_SHARD,
        **sections,
    }
    register_lab()
    return load_study([Path("config.yaml")], overrides)


def questions_of(study: Study) -> tuple[Rows, Rows]:
    """Its labelling questions, and its benchmark's."""
    swept = benchmark_questions("s", "labolympiad", study.benchmarks["labolympiad"], study.seed)
    return sample_questions("s", study.questions, study.seed, swept)[0], swept


def work_of(study: Study, labelling: Rows, benchmark: Rows) -> dict[str, Counter[str]]:
    """What the stages `steps` and `trajectories` generate and score on these questions, by stage and model.

    The router, where it is swept, is trained on the labelled steps.
    """
    folder = Path(study.folder)
    swept, labelled, steps = (folder / f"{name}.parquet" for name in ("swept", "labelled", "steps"))
    write_table(swept, "questions", benchmark)
    write_table(labelled, "questions", labelling)
    _, labelling_work = label_steps(study, "small", 0, labelled, steps)
    router = trained(study, steps) if "router" in study.sweep.policies else None
    _, work = sweep_benchmark(study, "small", "labolympiad", 0, swept, router, folder / "out.parquet")
    return {"steps small": _units(labelling_work), "trajectories small labolympiad": _units(work)}


def trained(study: Study, steps: Path) -> Path:
    """The default router, trained on `steps` as the pipeline does it."""
    folder, (init, revision) = Path(study.folder), study.router_init
    tokenizer = load_tokenizer(init, revision)
    build_dataset(steps, Variant(), study.dataset, tokenizer, "\n\n", study.seed, folder / "dataset")
    settings = {"seed": study.seed, "device": "cpu", "threads": 1, "out_dir": folder / "router"}
    train_router(folder / "dataset", init, revision, study.router.training, **settings)
    return folder / "router"


def _units(work: Mapping[str, Mapping[str, float]]) -> Counter[str]:
    return Counter({name: int(told.get("tokens", told.get("scored", 0))) for name, told in work.items()})


def by_stage(costs: list[Cost]) -> dict[str, Cost]:
    return {cost.stage: cost for cost in costs}


@pytest.mark.models
@pytest.mark.timeout(300)
def test_with_every_question_for_calibration_the_counts_are_those_of_the_stages(tmp_path: Path) -> None:
    """Without the router, which will be another one; a timing pass needs one, so there is none."""
    policies = {"sweep": {"shards": 1, "policies": ["draft_only", "target_only", "rsd", "oracle"]}}
    untimed = {"pairs": {"lowbit": None, "small": {"draft": "draft", "target": "target", "latency": False}}}
    study = study_of(tmp_path, 3, labelling=8, questions=3, **policies, **untimed)
    said: list[str] = []
    costs = by_stage(plan(study, 8, said.append))
    assert not list(tmp_path.iterdir())  # nothing was left in the study's results, its store above all
    for stage, work in work_of(study, *questions_of(study)).items():
        expected = costs[stage].units
        assert {name: round(amount.value) for name, amount in expected.items() if name != "router"} == work
        assert all(amount.error == 0 for amount in expected.values())
        assert costs[stage].seconds.value > 0 and costs[stage].disk.value > 0
    assert {"small: labelling 8 questions", "small: sweeping 3 questions of labolympiad"} <= set(said)
    assert sum_of(list(costs.values())).jobs == 2 + 3 * len(study.router.variants)  # data, training, scores each


@pytest.mark.extra
@pytest.mark.models
@pytest.mark.timeout(1800)
def test_counts_are_within_30_per_cent_on_questions_not_seen(tmp_path: Path) -> None:
    """Calibrated on questions of one seed; then 100 and 60 others of another, and a trained router."""
    planned = study_of(tmp_path / "planned", 42, labelling=100, questions=60)
    estimate = by_stage(plan(planned, 30, lambda text: None))
    seen = {row["problem"] for rows in questions_of(planned) for row in rows}
    others = study_of(tmp_path / "others", 43, labelling=200, questions=150)
    labelling, benchmark = ([row for row in rows if row["problem"] not in seen] for rows in questions_of(others))
    work = work_of(others, labelling[:100], benchmark[:60])
    off = {
        (stage, model): estimate[stage].units[model].value / units - 1
        for stage, counts in work.items()
        for model, units in counts.items()
    }
    print({key: round(value, 3) for key, value in off.items()})
    assert len(off) == 7
    assert max(map(abs, off.values())) < 0.3, off
