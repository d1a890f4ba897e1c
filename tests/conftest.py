"""A study made of the simulated world of `tests.support.synthetic`, evaluated once for all tests that read results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from arbitrage.config.study import Study
from arbitrage.evaluation.accuracy_acceptance import write_accuracy_acceptance
from arbitrage.evaluation.comparison import write_comparison
from arbitrage.evaluation.cost_model import write_cost_model
from arbitrage.evaluation.deferrals import write_outcomes
from arbitrage.evaluation.label_shares import label_shares
from arbitrage.evaluation.latency_curves import timed_panels, write_accuracy_latency
from arbitrage.evaluation.rho_by_family import rho_by_family
from arbitrage.evaluation.router_calibration import calibration
from arbitrage.evaluation.router_mistakes import mistakes
from arbitrage.evaluation.router_quality import write_quality
from arbitrage.evaluation.speedup import write_speedup
from arbitrage.evaluation.step_lengths import write_lengths
from arbitrage.io.csv_tables import write_csv
from arbitrage.io.tables import read_frame, write_table
from arbitrage.runtime.paths import StudyPaths
from tests.support import synthetic

pytest_plugins = ("tests.support.fault_table",)


@dataclass(frozen=True)
class World:
    """The simulated study: its settings, and the paths of its tables by name."""

    study: Study
    tables: dict[str, list[Path]]
    cost: Path

    @property
    def folder(self) -> Path:
        return Path(self.study.folder)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Tables and results of the simulated study, where the pipeline would put them."""
    results = tmp_path_factory.mktemp("results")
    study = Study.model_validate(
        {
            "study": "synthetic",
            "results": str(results),
            "seed": 7,
            "models": {"d": {"path": "d"}, "t": {"path": "t"}},
            "pairs": {
                "small": {"draft": "d", "target": "t"},
                "lowbit": {"draft": "d", "target": "t", "latency": False},
            },
            "prm": {"path": "prm"},
            "benchmarks": {name: {"source": name} for name in synthetic.BENCHMARKS},
            "router": {
                "variants": {
                    "default": {},
                    "four-class": {"classes": 4},
                    "four-class-ordinal": {"classes": 4, "ordinal": True},
                    "ten-class": {"classes": 10},
                    "no-annotation": {"annotate": False},
                    "no-balance": {"balance": False},
                    "scalars": {"kind": "scalars"},
                }
            },
            "curves": {"resamples": 200, "points": 60},
            "figures": {"dpi": 60},
        }
    )
    folder = Path(study.folder)
    tables = synthetic.write_world(folder, questions=40, timed=10)
    cost = folder / "latency" / "small.cost.json"
    curves, swept = folder / "curves", tables["trajectories"]
    write_accuracy_acceptance(swept, study.curves, study.seed, curves / "accuracy_acceptance.csv")
    write_outcomes(swept, study.curves, study.seed, curves / "outcomes.csv")
    write_comparison(swept, study.curves, study.seed, curves / "comparison.csv")
    write_cost_model(tables["latency"][0], swept, study.latency.heldout, study.seed, cost)
    timed = list(timed_panels(swept, tables["latency"], study.curves, study.seed))
    write_accuracy_latency(timed, study.curves, study.seed, curves / "accuracy_latency.csv")
    write_speedup(timed, study.curves, study.seed, curves / "speedup.csv")
    write_quality(tables["heldout"], study.curves, study.seed, folder / "router" / "quality.csv")
    _write_router_details(study, tables["heldout"])
    return World(study, tables, cost)


def _write_router_details(study: Study, heldout: list[Path]) -> None:
    """What the page shows of the routers and their data; the simulated routers are those of the pair `small`."""
    paths, questions = StudyPaths.of(study), synthetic.labelling_questions(40)
    families = {row["question_id"]: row["source"] for row in questions}
    scored = pd.concat([read_frame(path, "heldout") for path in heldout], ignore_index=True)
    losses = {name: variant.objective for name, variant in study.router.variants.items()}
    reports = {
        ("small", name): synthetic.dataset_report(variant.kind, variant.objective, variant.classes)
        for name, variant in study.router.variants.items()
    }
    write_table(paths.labelling_questions, "questions", questions)
    for pair in study.pairs:
        write_table(paths.steps(pair), "steps", synthetic.steps(pair, 40))
    write_lengths(study, paths.router_detail("lengths"))
    details = {
        "shares": label_shares(reports),
        "calibration": calibration(scored.assign(gain=scored["advantage"]), losses, study.curves, study.seed),
        "families": rho_by_family(scored, families, study.curves, study.seed),
        "mistakes": mistakes(scored[scored["router_seed"] == 0], families),
    }
    for name, table in details.items():
        write_csv(paths.router_detail(name), table)
