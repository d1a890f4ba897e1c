"""Every file in studies/: planned as it is, and run to its figures as a toy. A new study is tested by being there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.study.conftest import ROOT, environment
from tests.study.quick import serve
from tests.study.toys import STUDIES, toy_of

pytestmark = pytest.mark.study
TOYS = [file for file in STUDIES if file.stem != "smoke"]  # which is run as it is (test_smoke_study)
EACH = pytest.mark.parametrize("file", STUDIES, ids=[file.stem for file in STUDIES])


def snakemake(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Snakemake without the hub; path: folder that goes before all others on the PATH."""
    offline = environment() | {"HF_HUB_OFFLINE": "1"}
    if path is not None:
        offline["PATH"] = f"{path}{os.pathsep}{offline['PATH']}"
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=ROOT, env=offline, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serve(tmp_path_factory.mktemp("quick")) as folder:
        yield folder


@EACH
def test_a_study_is_planned_from_its_file_alone(file: Path, tmp_path: Path) -> None:
    planned = snakemake("--dry-run", "--quiet", "--configfile", str(file), "--config", f"results={tmp_path}")
    assert planned.returncode == 0, planned.stderr[-2000:]


@pytest.mark.parametrize("file", TOYS, ids=[file.stem for file in TOYS])
@pytest.mark.timeout(400)
def test_a_toy_of_a_study_runs_to_its_figures(file: Path, quick: Path, tmp_path: Path) -> None:
    toy = tmp_path / "toy.yaml"
    toy.write_text(yaml.safe_dump(toy_of(file, tmp_path) | {"results": str(tmp_path / "results")}))
    done = snakemake("--configfile", str(file), str(toy), path=quick)
    assert done.returncode == 0, done.stderr[-6000:]
    (folder,) = (each for each in (tmp_path / "results").iterdir() if not each.name.startswith("."))
    assert (folder / "summary.md").is_file() and len(list((folder / "figures").glob("*.pdf"))) == 6


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
    told = " ".join((tmp_path / "results/llama3-1b-8b/logs/check.log").read_text().split())
    assert done.returncode != 0 and "3 faults" in told
    assert "models.draft" in told and "v_head.summary" in told and "router.init" in told
    assert not (tmp_path / "results/llama3-1b-8b/steps").exists()
