"""What the names of torch devices say about GPUs."""

import pytest

from arbitrage.config.devices import alone, last_ordinal, model_devices
from arbitrage.config.models import Model


@pytest.mark.parametrize(("device", "ordinal"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3), ("cpu", -1), ("mps", -1)])
def test_a_cuda_device_has_an_ordinal_and_others_have_none(device: str, ordinal: int) -> None:
    assert last_ordinal(device) == ordinal


@pytest.mark.parametrize(("device", "first"), [("cuda:3", "cuda:0"), ("cuda", "cuda:0"), ("cpu", "cpu")])
def test_a_model_alone_in_its_job_is_on_the_jobs_first_gpu(device: str, first: str) -> None:
    assert alone(device) == first


def test_a_model_cut_over_gpus_takes_those_that_follow_its_own() -> None:
    options = {"path": "m", "device": "cuda:1", "vllm": {"tensor_parallel": 2}}
    assert model_devices(Model.model_validate(options | {"engine": "vllm"})) == ["cuda:1", "cuda:2"]
    assert model_devices(Model.model_validate({"path": "m", "device": "cuda"})) == ["cuda:0"]
    assert model_devices(Model.model_validate({"path": "m", "device": "cpu"})) == ["cpu"]
