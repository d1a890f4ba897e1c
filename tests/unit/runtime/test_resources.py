"""What jobs ask for follows from the study: its `resources`, and the devices of its models."""

from typing import Any

import pytest

from arbitrage.config.study import Study
from arbitrage.runtime import resources


def study(**sections: Any) -> Study:
    base: dict[str, Any] = {
        "study": "lab",
        "models": {"d": {"path": "d", "device": "cuda:0"}, "t": {"path": "t", "device": "cuda:1"}},
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": {"path": "prm", "device": "cuda:2"},
        "router": {"device": "cuda:3"},
        "benchmarks": {"b": {"source": "math500"}},
        "placement": {"label": "apart", "sweep": "apart"},
    }
    return Study.model_validate(base | sections)


@pytest.mark.parametrize(
    ("stage", "gpus"),
    [("label", 3), ("sweep", 4), ("latency", 4), ("router", 1), ("heldout", 1), ("dataset", 0), ("curves", 0)],
)
def test_gpus_follow_from_the_devices_of_the_models_a_stage_runs(stage: str, gpus: int) -> None:
    assert resources.gpus(study(), stage, "p") == gpus


def test_a_router_that_reads_scalars_needs_no_gpu() -> None:
    router = {"device": "cuda", "variants": {"default": {}, "small": {"kind": "scalars"}}}
    spread = study(router=router, resources={"router": {"gpus": 4}})
    assert [resources.gpus(spread, "router", "p", variant) for variant in ("default", "small")] == [4, 0]
    one = study(router=router)
    for stage in ("router", "heldout"):
        assert [resources.gpus(one, stage, "p", variant) for variant in ("default", "small")] == [1, 0]
    assert resources.resources(one, "router", "p", variant="small")["gpu"] == 0


def test_the_router_counts_in_the_sweep_only_where_it_is_swept() -> None:
    assert resources.gpus(study(sweep={"policies": ["draft_only", "rsd"]}), "sweep", "p") == 3


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 1), ("cuda:0", 1), ("mps", 0)])
def test_models_on_one_device_share_it(device: str, gpus: int) -> None:
    one = study(
        models={"d": {"path": "d", "device": device}, "t": {"path": "t", "device": device}},
        prm={"path": "prm", "device": device},
        router={"device": device},
    )
    assert resources.gpus(one, "sweep", "p") == gpus


def test_what_is_configured_goes_before_what_follows() -> None:
    chosen = study(
        resources={
            "gpu_partition": "a100",
            "cpu_partition": "standard",
            "gpu_type": "sxm",
            "label": {"gpus": 1, "cpus": 6, "mem_gb": 20, "hours": 1.5},
            "dataset": {"partition": "big"},
        }
    )
    assert resources.resources(chosen, "label", "p") == {
        "gpu": 1,
        "gpu_model": "sxm",
        "cpus_per_task": 6,
        "mem_mb": 20_000,
        "runtime": 90,
        "slurm_partition": "a100",
        "slurm_extra": None,
    }
    assert resources.resources(chosen, "dataset", "p")["slurm_partition"] == "big"
    curves = resources.resources(chosen, "curves", None)
    assert (curves["gpu"], curves["gpu_model"], curves["slurm_partition"]) == (0, None, "standard")


def test_a_retry_asks_for_more_time_and_memory_up_to_the_partitions_limit() -> None:
    retried = [resources.resources(study(resources={"max_hours": 30}), "label", "p", attempt) for attempt in (1, 2, 3)]
    assert [job["runtime"] for job in retried] == [720, 1440, 1800]
    assert [job["mem_mb"] for job in retried] == [192_000, 288_000, 384_000]


def test_latency_has_its_node_alone_and_no_other_stage_does() -> None:
    extras = {
        stage: resources.resources(study(), stage, "p")["slurm_extra"] for stage in ("latency", "label", "router")
    }
    assert extras == {"latency": "--exclusive", "label": None, "router": None}


@pytest.mark.parametrize(("per_job", "jobs"), [(None, 2), (100, 5), (99, 6), (1000, 1)])
def test_the_number_of_jobs_follows_from_questions_per_job(per_job: int | None, jobs: int) -> None:
    assert study(sweep={"questions_per_job": per_job}).sweep_shards("b") == jobs
    assert study(steps={"questions_per_job": per_job}, questions={"sample": 500}).steps_shards == jobs


def test_a_limit_counts_but_not_beyond_the_benchmark() -> None:
    limited = {"small": {"source": "math500", "limit": 20}, "whole": {"source": "olympiadbench", "limit": 9000}}
    sizes = {name: benchmark.size for name, benchmark in study(benchmarks=limited).benchmarks.items()}
    assert sizes == {"small": 20, "whole": 674}


def test_where_and_how_fast_a_model_runs_is_left_out_of_what_rules_read() -> None:
    def read(**model: Any) -> dict[str, Any]:
        return study(models={"d": {"path": "d", **model}, "t": {"path": "t"}}).reads("models.d", "seed")

    plain = read()
    server = {"url": "http://h/v1", "concurrency": 2, "timeout_s": 1.0, "retries": 0, "ready_s": 2.0}
    assert read(server=server, vllm={"memory_share": 0.3, "cache_gib": 2.0}) == plain
    assert set(plain["models.d"]["server"]) == {"model"} and plain["seed"] == 42
    for other in ({"server": {"model": "n"}}, {"vllm": {"quantisation": "awq"}}, {"engine": "vllm"}):
        assert read(**other) != plain
