"""Which GPUs models are on: together on as few as the widest needs, or apart on those they name."""

from __future__ import annotations

from typing import Any

import pytest

from arbitrage.config.devices import model_devices
from arbitrage.config.study import Study
from arbitrage.runtime import resources
from arbitrage.runtime.placement import loads_router, placed


def study(draft: dict[str, Any], target: dict[str, Any], scorers: str = "cuda:6", **sections: Any) -> Study:
    base: dict[str, Any] = {
        "study": "s",
        "models": {"d": {"path": "d", "engine": "vllm"} | draft, "t": {"path": "t", "engine": "vllm"} | target},
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": {"path": "prm", "device": scorers},
        "router": {"device": scorers},
        "benchmarks": {"b": {"source": "math500"}},
    }
    return Study.model_validate(base | sections)


def places(one: Study) -> list[str]:
    devices = [device for name in ("d", "t") for device in model_devices(one.models[name])]
    return [*devices, one.prm.device, one.router.device]


@pytest.mark.parametrize(
    ("draft", "target", "expected"),
    [
        ({"device": "cuda:4"}, {"device": "cuda:5"}, ["0", "0", "0", "0"]),
        ({"device": "cuda:4"}, {"device": "cuda:0", "vllm": {"tensor_parallel": 4}}, ["0", "0123", "1", "2"]),
        (
            {"device": "cuda:4", "vllm": {"tensor_parallel": 2}},
            {"device": "cuda:0", "vllm": {"tensor_parallel": 4}},
            ["01", "0123", "2", "3"],
        ),
    ],
)
def test_together_all_models_are_on_the_gpus_of_the_widest(
    draft: dict[str, Any], target: dict[str, Any], expected: list[str]
) -> None:
    one = study(draft, target)
    for stage in ("label", "sweep"):
        assert places(placed(one, stage, "p")) == [f"cuda:{gpu}" for gpus in expected for gpu in gpus]
        assert resources.gpus(one, stage, "p") == len(set("".join(expected)))
    assert placed(one, "latency", "p") is one and resources.gpus(one, "latency", "p") == 7


def test_each_stage_may_be_placed_otherwise() -> None:
    one = study({"device": "cuda:0"}, {"device": "cuda:1"}, placement={"label": "apart", "latency": "together"})
    assert [resources.gpus(one, stage, "p") for stage in ("label", "sweep", "latency")] == [7, 1, 1]


def test_what_is_on_the_cpu_or_on_a_server_stays_there() -> None:
    cpu = study({"device": "cpu"}, {"device": "cpu"}, "cpu")
    assert placed(cpu, "sweep", "p") == cpu and resources.gpus(cpu, "sweep", "p") == 0
    served = {"engine": "openai", "server": {"url": "http://h/v1"}, "device": "cuda:3"}
    mixed = placed(study({"device": "cpu"}, served), "sweep", "p")
    assert places(mixed) == ["cpu", "cuda:3", "cuda:0", "cuda:0"]


def test_the_sweep_loads_a_router_where_it_sweeps_one() -> None:
    one = study({}, {}, router={"seeds": 5})
    assert [loads_router(one, stage) for stage in ("label", "sweep", "latency")] == [False, True, True]
    assert not loads_router(study({}, {}, sweep={"policies": ["draft_only", "rsd"]}), "sweep")
