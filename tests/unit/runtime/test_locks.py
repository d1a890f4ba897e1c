"""One run a study, no orphans after a kill, nothing to unlock by hand: with real processes and a real Snakemake."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from arbitrage.runtime.locks import RUN_DIR, RUN_PID, StudyBusy, guard_study, watch_parent

ROOT = Path(__file__).resolve().parents[3]

SNAKEFILE = """
from pathlib import Path
from arbitrage.runtime.locks import guard_study
onstart:
    guard_study(Path("results/toy"))
rule all:
    input: expand("results/toy/{i}.txt", i=range(2))
rule slow:
    output: "results/toy/{i}.txt"
    log: "results/toy/{i}.log"
    shell: "{PYTHON} stage.py {output} {config[ticks]} 2>&1 | tee {log}"
"""

STAGE = """
import subprocess, sys, time
from arbitrage.runtime.locks import watch_parent
watch_parent()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(f"{sys.argv[1]}.beat", "a") as beat:
    for _ in range(int(sys.argv[2])):
        time.sleep(0.05)
        print(time.time(), child.pid, file=beat, flush=True)
child.kill()
open(sys.argv[1], "w").write("done")
"""


def environment() -> dict[str, str]:
    """As from a fresh shell: outside any run, with this package on the path."""
    kept = {name: value for name, value in os.environ.items() if name not in (RUN_PID, RUN_DIR)}
    return kept | {"PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A workflow of two slow jobs, with the project's own profile."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("{PYTHON}", sys.executable))
    (tmp_path / "stage.py").write_text(STAGE)
    profile = tmp_path / "profiles" / "default" / "profile.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text((ROOT / "profiles" / "default" / "profile.yaml").read_text())
    return tmp_path


def snakemake(folder: Path, *arguments: str, ticks: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", f"ticks={ticks}", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether the process is there, and not merely waiting to be collected."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def beats(folder: Path) -> list[Path]:
    return [path for path in folder.glob("results/toy/*.beat") if path.stat().st_size]


@pytest.fixture
def killed(toy: Path) -> Iterator[Path]:
    """The toy workflow, its Snakemake killed by SIGKILL while both jobs write."""
    first = snakemake(toy, ticks=2000)
    wait_for(lambda: len(beats(toy)) == 2)
    first.kill()
    yield toy
    first.communicate(timeout=30)


def test_after_a_kill_no_stage_and_no_child_of_one_goes_on(killed: Path) -> None:
    time.sleep(1.5)
    before = {path: path.read_bytes() for path in beats(killed)}
    time.sleep(0.5)
    assert {path: path.read_bytes() for path in beats(killed)} == before
    children = {int(line.split()[1]) for content in before.values() for line in content.splitlines()}
    assert not [pid for pid in children if is_running(pid)]


def test_after_a_kill_the_same_command_works_at_once(killed: Path) -> None:
    second = snakemake(killed)
    output = second.communicate(timeout=60)[0]
    assert second.returncode == 0, output
    assert (killed / "results/toy/0.txt").read_text() == (killed / "results/toy/1.txt").read_text() == "done"
    third = snakemake(killed)
    assert "Nothing to be done" in third.communicate(timeout=60)[0]


@pytest.mark.fault("second run in the same folder")
def test_a_second_run_is_refused_and_told_who_is_there(toy: Path) -> None:
    first = snakemake(toy, ticks=2000)
    try:
        wait_for(lambda: len(beats(toy)) == 2)
        second = snakemake(toy)
        output = second.communicate(timeout=60)[0]
        assert second.returncode == 1
        assert f"another run is working on this study (process {first.pid} on {socket.gethostname()}, started" in output
        assert not (toy / "results/toy/0.txt").exists()
        dry = snakemake(toy, "--dry-run")
        assert "This was a dry-run" in dry.communicate(timeout=60)[0]
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=30)


@pytest.mark.parametrize("look", ["--dry-run", "--rulegraph", "--summary", "--list-rules"])
def test_looking_at_the_workflow_takes_no_lock(toy: Path, look: str) -> None:
    done = snakemake(toy, look)
    output = done.communicate(timeout=60)[0]
    assert done.returncode == 0, output
    assert not (toy / "results").exists()


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of any run; what `guard_study` puts into the environment is taken out again."""
    for name in (RUN_PID, RUN_DIR):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_run")
def test_the_guard_lets_the_same_run_and_its_jobs_pass_again(tmp_path: Path) -> None:
    guard_study(tmp_path / "lab")
    guard_study(tmp_path / "lab")
    code = "from pathlib import Path; from arbitrage.runtime.locks import guard_study; "
    code += f"guard_study(Path({str(tmp_path / 'lab')!r}))"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=True)
    outsider = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert outsider.returncode == 1
    assert f"process {os.getpid()} on " in outsider.stderr


@pytest.mark.fault("run started beside a job of a killed one")
@pytest.mark.usefixtures("no_run")
def test_a_run_does_not_start_beside_a_stage_that_outlived_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = f"1:1:another-machine/{socket.gethostname()}x"  # a cluster job: its run cannot be seen from here
    job = """
        from arbitrage.runtime.locks import watch_parent
        watch_parent()
        print("working", flush=True)
        input()
    """
    variables = {RUN_PID: elsewhere, RUN_DIR: str(tmp_path)}
    orphan = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(job)],
        env=environment() | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert orphan.stdout and orphan.stdout.readline() == "working\n"
    monkeypatch.setattr("arbitrage.runtime.locks.ORPHANS_S", 0.3)
    with pytest.raises(StudyBusy, match=r"jobs of an earlier run .* are still working on this study"):
        guard_study(tmp_path)
    orphan.communicate("\n", timeout=30)
    guard_study(tmp_path)


def test_a_stage_started_by_hand_watches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_PID, raising=False)
    watch_parent()


def test_a_stage_whose_run_is_gone_ends_before_it_writes(tmp_path: Path) -> None:
    imports = "from pathlib import Path; from arbitrage.runtime.locks import guard_study"
    guard = f"{imports}; guard_study(Path({str(tmp_path)!r}))"
    tell = f"import os; print(os.environ[{RUN_PID!r}])"
    run = subprocess.run(
        [sys.executable, "-c", f"{guard}; {tell}"], env=environment(), capture_output=True, text=True, check=True
    )
    stage = "from arbitrage.runtime.locks import watch_parent; watch_parent(); print('wrote')"
    variables = {RUN_PID: run.stdout.strip(), RUN_DIR: str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", stage], env=environment() | variables, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "this stage stops too" in done.stderr
