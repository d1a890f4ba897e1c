"""Every file in studies/: planned as it is, and run to its figures as a toy. A new study is tested by being there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from arbitrage.config.devices import model_devices
from arbitrage.config.load import read_study
from arbitrage.config.placement import Placement
from arbitrage.config.revisions import hub_entries
from arbitrage.runtime import resources
from arbitrage.runtime.outputs import FIGURES
from tests.integration.study.conftest import ROOT, environment
from tests.support.quick import serve
from tests.support.toys import STUDIES, toy_of

pytestmark = pytest.mark.study
PAPERS_PRM = "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B"
PAPERS_ROUTER_START = "HuggingFaceH4/Qwen2.5-Math-1.5B-Instruct-PRM-0.2"
BRIEF = ("llama3-4bit-8b-8b", "qwen25-small")  # between them every kind of model and setting that the others have
TOYS = [
    pytest.param(file, id=file.stem, marks=[] if file.stem in BRIEF else [pytest.mark.extra])
    for file in STUDIES
    if file.stem not in ("smoke", "lab-gpu")  # which have tests of their own (test_smoke_study, test_gpu_lab)
]
EACH = pytest.mark.parametrize("file", STUDIES, ids=[file.stem for file in STUDIES])


def snakemake(*arguments: str, path: Path | None = None, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run Snakemake without the hub; path: folder that goes before all others on the PATH."""
    offline = environment() | {"HF_HUB_OFFLINE": "1"}
    if path is not None:
        offline["PATH"] = f"{path}{os.pathsep}{offline['PATH']}"
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=ROOT, env=offline, capture_output=True, text=True, timeout=timeout_s)


@pytest.fixture(scope="module")
def quick() -> Iterator[Path]:
    with serve() as folder:
        yield folder


@EACH
def test_a_study_is_planned_from_its_file_alone(file: Path, tmp_path: Path) -> None:
    trained_first = ["--snakefile", "rules/zoo.smk"] if file.stem == "lab-gpu" else []  # by scripts/gpu_lab.sh
    options = ["--dry-run", "--quiet", "--configfile", str(file), "--config", f"results={tmp_path}"]
    planned = snakemake(*trained_first, *options)
    assert planned.returncode == 0, planned.stderr[-2000:]


@EACH
def test_everything_from_the_hub_has_a_commit_or_is_known_to_have_none(file: Path) -> None:
    study = read_study([file])
    moving = {entry.name for entry in hub_entries(study) if not entry.is_pinned}
    made_here = {name for name in moving if Path(name).is_relative_to(study.folder)}  # in its own zoo, in time
    assert moving - made_here <= {PAPERS_ROUTER_START}  # docs/studies.md#revisions


def test_the_papers_studies_differ_only_where_the_paper_does() -> None:
    papers = [read_study([file]) for file in STUDIES]
    papers = [study for study in papers if study.router.init == PAPERS_ROUTER_START]
    assert len(papers) == 4
    for study in papers:
        assert study.prm.path == PAPERS_PRM and study.questions.sample == 30_000
        assert (study.sweep.thresholds, study.sweep.quantiles) == ("quantiles", 40)
        assert (study.generation.max_steps, study.generation.max_tokens) == (100, 4096)
        training = study.router.training
        assert (training.batch_size, training.learning_rate, training.epochs, training.bf16) == (1024, 1e-5, 3.0, True)
        for same in ("questions", "benchmarks", "generation", "dataset", "sweep", "seed"):
            assert getattr(study, same) == getattr(papers[0], same)
        ((name, pair),) = study.pairs.items()
        places = [device for each in (pair.draft, pair.target) for device in model_devices(study.models[each])]
        places += [study.prm.device, study.router.device]
        apart = study.model_copy(update={"placement": Placement(latency="apart")})
        assert len(set(places)) == len(places) == resources.gpus(apart, "latency", name)
        widest = max(study.models[each].vllm.tensor_parallel for each in (pair.draft, pair.target))
        assert [resources.gpus(study, stage, name) for stage in ("label", "sweep")] == [widest, widest]
        assert resources.gpus(study, "latency", name) == 4


@pytest.mark.parametrize("file", TOYS)
@pytest.mark.timeout(400)
def test_a_toy_of_a_study_runs_to_its_figures(file: Path, quick: Path, tmp_path: Path) -> None:
    toy = tmp_path / "toy.yaml"
    changes = toy_of(file, tmp_path) | {"results": str(tmp_path / "results")}
    toy.write_text(yaml.safe_dump(changes))
    done = snakemake("--configfile", str(file), str(toy), path=quick)
    assert done.returncode == 0, done.stderr[-6000:]
    (folder,) = (each for each in (tmp_path / "results").iterdir() if not each.name.startswith("."))
    assert (folder / "summary.md").is_file() and len(list((folder / "figures").glob("*.pdf"))) == len(FIGURES)
    weights = Path(changes["prm"]["path"]) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    planned = snakemake("--dry-run", "--configfile", str(file), str(toy), path=quick)
    assert re.search(r"^label +\d+$", planned.stdout + planned.stderr, flags=re.MULTILINE)  # another PRM now


def test_what_is_wrong_stops_a_study_before_anything_is_generated_and_all_of_it_is_told(
    quick: Path, tmp_path: Path
) -> None:
    file = ROOT / "studies" / "llama3-1b-8b.yaml"
    changes = toy_of(file, tmp_path) | {"results": str(tmp_path / "results")}
    draft = Path(changes["models"]["draft"]["path"])
    (draft / "chat_template.jinja").unlink()
    changes["prm"]["path"] = changes["models"]["target"]["path"]
    changes["router"]["init"] = str(tmp_path)
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(changes))
    done = snakemake("--configfile", str(file), str(tmp_path / "toy.yaml"), path=quick)
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0 and "faults: 3, warnings: 0; not ready to run" in told
    assert "models.draft" in told and "v_head.summary" in told and "router.init" in told
    assert not (tmp_path / "results/llama3-1b-8b/steps").exists()
