"""Jobs of one machine get GPUs of their own: real processes, with GPUs that are only names."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arbitrage.runtime.gpus import DeviceError, cards, claim, keep_first, memory_bytes, visible

ROOT = Path(__file__).resolve().parents[3]
JOB = """
import os, sys
from arbitrage.runtime.gpus import claim
claim(int(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


class Job:
    """A process that claims GPUs and holds them until `end`."""

    def __init__(self, count: int, folder: Path, gpus: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(count)],
            env=kept | {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": gpus},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def gpus(self) -> list[str]:
        """What it got, as soon as it has it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip().split(",")

    def says(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[list[Job]]:
    started: list[Job] = []
    yield started
    for job in started:
        job.process.kill()
        job.end()


def test_jobs_get_different_gpus_and_a_third_waits_for_one_to_end(jobs: list[Job], tmp_path: Path) -> None:
    jobs += [Job(1, tmp_path, "4,7"), Job(1, tmp_path, "4,7")]
    assert sorted(job.gpus() for job in jobs) == [["4"], ["7"]]
    third = Job(1, tmp_path, "4,7")
    jobs.append(third)
    assert third.says() == "waiting until 1 of the 2 GPUs are free\n"
    freed = jobs[1]
    freed.process.kill()  # the kernel gives the lock back, however the process ends
    freed.end()
    assert third.gpus() in (["4"], ["7"])


def test_a_job_of_two_gpus_takes_both_or_none(jobs: list[Job], tmp_path: Path) -> None:
    jobs.append(Job(1, tmp_path, "0,1,2"))
    first = jobs[0].gpus()
    pair = Job(2, tmp_path, "0,1,2")
    jobs.append(pair)
    got = pair.gpus()
    assert len(got) == 2 and not set(got) & set(first)
    other = Job(2, tmp_path, "0,1,2")
    jobs.append(other)
    assert other.says().startswith("waiting until 2 of the 3")
    jobs[0].end()  # two are needed, and one is free now
    last = Job(1, tmp_path, "0,1,2")
    jobs.append(last)
    assert last.gpus() == first  # the waiting job holds nothing


def test_more_gpus_than_there_are_is_a_fault_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(DeviceError, match=r"name 2 GPUs and 1 can be seen here .* fewer devices, or ask for more"):
        claim(2)


@pytest.mark.parametrize("reason", ["shared", "slurm", "no GPU wanted"])
def test_nothing_is_locked_where_gpus_are_shared_or_given_by_slurm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reason: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if reason == "slurm":
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    wanted = 0 if reason == "no GPU wanted" else 1
    assert claim(wanted, share=reason == "shared") == ["0"] * wanted
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("0" if reason == "slurm" else "0,1")
    assert list(tmp_path.iterdir()) == []


def test_all_gpus_are_visible_without_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible() is None  # no driver: torch has the word
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 0\necho 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert visible() == ["0", "1"]


def test_a_driver_that_lists_no_gpus_is_a_fault_of_the_job_that_wants_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where one of a machine's GPUs is lost, and nvidia-smi tells of none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Unable to determine the device handle for GPU0: GPU is lost.'\nexit 15\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(
        DeviceError, match=r"needs 1 GPUs, and nvidia-smi, which is here, lists none: run it to see why"
    ):
        claim(1)
    assert claim(0) == []


def test_the_gpus_of_an_interactive_slurm_allocation_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs: list[Job]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # of `salloc --gpus 2`, in which two jobs of one GPU run
    jobs += [Job(1, tmp_path, "0,1"), Job(1, tmp_path, "0,1")]
    assert sorted(job.gpus() for job in jobs) == [["0"], ["1"]]


def test_training_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    keep_first()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_the_driver_says_how_much_memory_each_visible_gpu_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    answers = (
        'case "$*" in *--id=card-a*) echo "NVIDIA H100, 81559";; *--id=card-b*) echo "RTX 4090, 24564";; '
        '*) echo "NVIDIA GB10, [N/A]";; esac'
    )
    program.write_text(f"#!/bin/sh\n{answers}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "card-b,card-a,MIG-1")
    assert [memory_bytes(ordinal) for ordinal in range(4)] == [24564 * 2**20, 81559 * 2**20, None, None]
    assert cards() == [("RTX 4090", 24564 * 2**20), ("NVIDIA H100", 81559 * 2**20), ("NVIDIA GB10", None)]
