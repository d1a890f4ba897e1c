"""Folders with blanks, quotes and letters of any language, under a locale that knows none of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from arbitrage.io.tables import read_table

ROOT = Path(__file__).resolve().parents[2]
ODD = "it's a résumé"
PLAIN_LOCALE = {key: value for key, value in os.environ.items() if key not in ("LC_ALL", "PYTHONUTF8")} | {
    "LC_ALL": "C"
}


def test_every_path_in_a_shell_line_is_quoted() -> None:
    for file in (ROOT / "rules").glob("*.smk"):
        for block in re.findall(r"^    shell:\n((?:        .*\n)+)", file.read_text(), re.M):
            assert re.findall(r"\{(?:input|output|log)(?:\.\w+)?\}", block) == [], f"{file.name}: {block}"


def test_an_environment_in_such_a_folder_finds_the_package_under_any_locale(tmp_path: Path) -> None:
    root = tmp_path / ODD
    (root / "src").mkdir(parents=True)
    (root / "src" / "probe.py").write_text("")
    (root / "envs").mkdir()
    shutil.copy(ROOT / "envs" / "relative_path.py", root / "envs")
    venv.create(root / ".venv", with_pip=False, symlinks=True)
    python = root / ".venv" / "bin" / "python"
    (site,) = (root / ".venv" / "lib").glob("python*/site-packages")
    named = site / "__editable__.arbitrage-0.0.pth"
    named.write_text(f"{root / 'src'}\n", encoding="utf-8")  # as pip leaves it
    probe = [str(python), "-c", "import probe"]
    utf8 = os.environ | {"LC_ALL": "C.UTF-8"}
    subprocess.run([str(python), str(root / "envs" / "relative_path.py")], env=utf8, check=True)
    assert named.read_text(encoding="ascii") == f"{Path('..') / '..' / '..' / '..' / 'src'}\n"
    for environment in (utf8, PLAIN_LOCALE):
        subprocess.run(probe, env=environment, check=True)


def test_a_locale_without_the_letters_of_a_study_is_named_with_its_remedy(tmp_path: Path) -> None:
    study = tmp_path / "stüdy.yaml"
    study.write_text(
        """study: odd
models: {draft: {path: modèles/draft}, target: {path: target}}
pairs: {small: {draft: draft, target: target}}
prm: {path: prm}
questions: {source: lab, pool: 40, sample: 8}
benchmarks: {lab500: {source: lab500, limit: 2}}
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-c", "from arbitrage.cli import main; main()", "check", "--study", str(study)]
    narrow = PLAIN_LOCALE | {"PYTHONUTF8": "0"}
    done = subprocess.run(command, cwd=ROOT, env=narrow, capture_output=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.decode("ascii").splitlines()
    assert line.startswith(r"arbitrage: '\xe8' is not in ascii, the encoding of this locale: set PYTHONUTF8=1")
    wide = subprocess.run(command, cwd=ROOT, env=narrow | {"PYTHONUTF8": "1"}, capture_output=True, check=False)
    assert "modèles/draft" in wide.stdout.decode("utf-8") and not wide.stderr


@pytest.mark.study
@pytest.mark.timeout(600)
def test_a_study_runs_there_on_a_benchmark_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    (folder / "exäm 1.csv").write_text('question,answer\n"What is 3 + 4?",7\n"What is 12 - 5?",007\n', encoding="utf-8")
    study = folder / "my study.yaml"
    study.write_text(
        f"""study: odd
results: "{folder}/my results"
models:
  draft: {{path: src/arbitrage/lab/zoo/draft}}
  target: {{path: src/arbitrage/lab/zoo/target}}
pairs: {{small: {{draft: draft, target: target, latency: false}}}}
prm: {{path: src/arbitrage/lab/zoo/prm}}
questions: {{source: lab, pool: 40, sample: 8}}
benchmarks:
  exam: {{path: "{folder}/exäm 1.csv", columns: {{problem: question}}, kind: integer}}
sweep: {{policies: [draft_only, target_only, rsd]}}
""",
        encoding="utf-8",
    )
    target = folder / "my results" / "odd" / "questions" / "labelling.parquet"
    targets = [str(target), str(target.with_name("exam.parquet"))]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", str(study), "--", *targets]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=ROOT, env=PLAIN_LOCALE | {"PATH": path, "HF_HUB_OFFLINE": "1"}, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-3000:]
    assert len(read_table(target, "questions")) == 8
    exam = read_table(target.with_name("exam.parquet"), "questions")
    assert sorted(row["answers"][0] for row in exam) == ["7", "7"]
    assert {entry.name for entry in folder.iterdir()} == {"exäm 1.csv", "my study.yaml", "my results"}  # no stray file
    log = (target.parents[1] / "logs" / "questions.log").read_text(encoding="utf-8")
    assert "Traceback" not in log
