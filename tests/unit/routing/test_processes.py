"""A training in two processes gives the router of one, and ends with one error where a process is killed."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from arbitrage.config.router import Dataset, RouterTraining, Variant
from arbitrage.engines.checkpoints import resolve
from arbitrage.io.tables import write_table
from arbitrage.routing import train
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.inputs import TextEncoding
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.train import train_router
from tests.support import cpu_shards
from tests.support.tiny_models import build_tokenizer
from tests.unit.routing.conftest import path_rows

# Of an update's questions of up to six steps some share a micro batch of 400 ids; a small update has only one.
TRAINING = RouterTraining(epochs=2.0, batch_size=6, micro_batch_tokens=400, learning_rate=1e-4)
LONG = TRAINING.model_copy(update={"epochs": 60.0, "top_layers": 1})

pytestmark = pytest.mark.timeout(900)  # processes that import torch, beside other tests
JOB = """
import sys
from arbitrage.config.router import RouterTraining
from arbitrage.engines.checkpoints import resolve
from arbitrage.routing.train import train_router
if __name__ == "__main__":
    data, start, out, training = sys.argv[1:]
    training = RouterTraining.model_validate_json(training)
    train_router(data, resolve(start), training, seed=1, device="cpu", out_dir=out, processes=2)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    paths = [[False, True, False, False, True, True], [True, False], [False, False, True]]
    rows = [row for number in range(15) for row in path_rows(f"q{number}", paths[number % 3])]
    write_table(folder / "steps.parquet", "steps", rows)
    encoding = TextEncoding(build_tokenizer("char"), "\n\n", annotate=True)
    build_dataset(folder / "steps.parquet", Variant(balance=False), Dataset(), encoding, 42, folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def trained(
    dataset: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[dict[str, Any], Path]]:
    """Trainings by one and by two processes: what they tell, and where the router is."""
    folder = tmp_path_factory.mktemp("trained")
    return {
        count: (
            train_router(
                dataset,
                resolve(checkpoint),
                TRAINING,
                seed=1,
                device="cpu",
                out_dir=folder / str(count),
                processes=count,
            ),
            folder / str(count),
        )
        for count in (1, 2)
    }


def differ(one: Path, two: Path) -> float:
    """By how much the weights of two routers differ at most."""
    left, right = (load_file(router / "model.safetensors") for router in (one, two))
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def test_two_processes_train_the_router_of_one(trained: dict[int, tuple[dict[str, Any], Path]]) -> None:
    (one, first), (two, second) = trained[1], trained[2]
    assert two["updates"] == one["updates"] > 4
    assert [entry["update"] for entry in two["losses"]] == [entry["update"] for entry in one["losses"]]
    assert [entry["loss"] for entry in two["losses"]] == pytest.approx(
        [entry["loss"] for entry in one["losses"]], abs=1e-4
    )
    assert differ(first, second) <= 1e-4
    assert sorted(path.name for path in second.parent.iterdir()) == ["1", "2"]


def test_with_sharded_weights_two_processes_do_the_same_also_from_a_checkpoint(
    trained: dict[int, tuple[dict[str, Any], Path]],
    dataset: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run() -> dict[str, Any]:
        start, out = resolve(checkpoint), tmp_path / "router"
        return train_router(dataset, start, TRAINING, seed=1, device="cpu", out_dir=out, processes=2, sharded=True)

    monkeypatch.setattr(train, "_train", cpu_shards.train_to_a_checkpoint)
    with pytest.raises(RoutingError, match="over"):
        run()
    (parts,) = (tmp_path / ".router.training").glob("checkpoint-*/pytorch_model_fsdp_0")
    assert len(list(parts.glob("*.distcp"))) == 2  # one a process
    monkeypatch.setattr(train, "_train", cpu_shards.train_sharded)
    told = run()
    assert 0 < told["resumed_after"] < told["updates"]
    one, first = trained[1]
    assert [entry["loss"] for entry in told["losses"]] == pytest.approx(
        [entry["loss"] for entry in one["losses"]], abs=1e-4
    )
    assert told["parameters"] == one["parameters"]
    assert differ(trained[2][1], tmp_path / "router") <= 1e-5
    ours, theirs = ({file.name for file in router.iterdir()} for router in (first, tmp_path / "router"))
    assert ours == theirs
    assert (first / "config.json").read_text() == (tmp_path / "router" / "config.json").read_text()


@pytest.mark.fault("one process of a training killed")
def test_a_killed_process_ends_the_training_with_one_error_and_the_next_goes_on(
    dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "router", tmp_path / ".router.training"
    command = [sys.executable, "-c", JOB, str(dataset), str(checkpoint), str(out), LONG.model_dump_json()]
    job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(work.glob(".checkpoint-*.sha256")):
        assert job.poll() is None, job.communicate()
        time.sleep(0.02)
    family = psutil.Process(job.pid).children(recursive=True)
    ranks = [process for process in family if any("spawn_main" in word for word in process.cmdline())]
    assert len(ranks) == 2
    ranks[1].kill()
    _, said = job.communicate()
    assert job.returncode == 1
    assert re.match(
        r"arbitrage\S*RoutingError: process \d of the training's 2 failed: Signal 9 \(SIGKILL\) received by PID "
        rf"{ranks[1].pid}\. .* goes on from its last checkpoint$",
        said.splitlines()[-1],
    ), said
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert not out.exists()
    told = train_router(dataset, resolve(checkpoint), LONG, seed=1, device="cpu", out_dir=out, processes=2)
    assert told["resumed_after"] > 0
    assert json.loads((out / "training.json").read_text())["processes"] == 2


def test_what_is_wrong_in_a_process_is_the_error_of_the_training(
    dataset: Path, checkpoint: Path, tmp_path: Path
) -> None:
    wild = TRAINING.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(
        RoutingError, match=r"process \d of the training's 2 failed: RoutingError: the loss is (nan|inf) at"
    ):
        train_router(dataset, resolve(checkpoint), wild, seed=1, device="cpu", out_dir=tmp_path / "router", processes=2)
