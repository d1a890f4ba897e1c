"""What a job notes of its GPUs: nvidia-ml-py itself, over a library made of Python (`tests.support.fake_nvml`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pynvml
import pytest

from arbitrage.runtime import gpu_use
from arbitrage.runtime.gpu_use import GpuUse
from arbitrage.runtime.gpus import DeviceError, claim
from arbitrage.runtime.nvml import nvml
from tests.support.fake_nvml import FakeGpu, FakeLibrary, library


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_use, "SAMPLE_S", 0.01)


def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.005)
    raise AssertionError("never came true")


def test_a_job_notes_how_busy_its_gpus_were_their_memory_and_energy() -> None:
    gpus = [FakeGpu("GPU-0"), FakeGpu("GPU-1", percent=[90, 50, 0, 100, 25]), FakeGpu("GPU-2", percent=[0, 40])]
    with library(FakeLibrary(gpus)):
        with GpuUse(["1", "GPU-2"]) as use:
            gpus[1].used = 30 * 10**9
            until(lambda: len(gpus[1].percent) == 1)
            gpus[1].used = 0
        one, two = use.report["gpu_use"]
    assert (one["name"], one["uuid"], two["uuid"]) == ("NVIDIA H100 80GB HBM3", "GPU-1", "GPU-2")
    assert one["peak_memory_gb"] == 30.0
    assert one["busy_share"] == pytest.approx(1 - 1 / (gpus[1].answers - 1), abs=1e-4)  # but one of the samples
    assert 0.25 <= one["utilisation"] <= 0.6  # 50, 0, 100, then 25 %: not the 90 of the second before
    assert two["utilisation"] == 0.4 and two["busy_share"] == 1.0
    assert one["energy_j"] == 50.0 * (gpus[1].answers - 1) and one["energy_by"] == "counter"
    assert 0.0 < one["held_s"] < 60.0
    assert "lost" not in one and gpus[0].answers == 0


def test_where_the_energy_counter_is_not_supported_power_is_integrated() -> None:
    refused = {"nvmlDeviceGetTotalEnergyConsumption": pynvml.NVML_ERROR_NOT_SUPPORTED}
    with library(FakeLibrary([FakeGpu("GPU-0", watts=250, refused=refused)])), GpuUse(["0"]) as use:
        time.sleep(0.1)
    (noted,) = use.report["gpu_use"]
    assert noted["energy_by"] == "power"
    assert noted["energy_j"] == pytest.approx(250 * noted["held_s"], abs=0.3)


def test_an_instance_of_a_gpu_that_is_cut_up_tells_its_memory_alone() -> None:
    unsupported = ("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption")
    refused = dict.fromkeys(unsupported, pynvml.NVML_ERROR_NOT_SUPPORTED)
    mig = FakeGpu("MIG-8a1", name="NVIDIA H100 MIG 1g.10gb", used=4 * 10**9, refused=refused)
    with library(FakeLibrary([mig])), GpuUse(["MIG-8a1"]) as use:
        pass
    (noted,) = use.report["gpu_use"]
    assert set(noted) == {"held_s", "name", "uuid", "peak_memory_gb"} and noted["peak_memory_gb"] == 4.0


def test_without_gpu_package_or_driver_nothing_is_noted_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def reported(*names: str) -> dict[str, object]:
        with GpuUse(names) as use:
            pass
        return use.report

    with library(FakeLibrary([FakeGpu("GPU-0")])):
        assert reported() == {}
        assert reported("7") == reported("GPU-unknown") == {}
    with library(FakeLibrary([], started=pynvml.NVML_ERROR_DRIVER_NOT_LOADED)):
        assert reported("0") == {}
    with library(None):
        assert reported("0") == {}
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pynvml", None)
        nvml.cache_clear()
        assert reported("0") == {}
    nvml.cache_clear()


def test_a_gpu_lost_in_mid_run_is_said_once_and_noted_where_the_job_ends_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu = FakeGpu("GPU-0", percent=[100])
    with library(FakeLibrary([gpu])), GpuUse(["0"]) as use:
        until(lambda: gpu.answers > 2)
        gpu.lose()
        time.sleep(0.1)
    (noted,) = use.report["gpu_use"]
    assert noted["lost"].endswith("+00:00") and noted["energy_j"] >= 100.0 and noted["utilisation"] == 1.0
    line = f"GPU 0 (NVIDIA H100 80GB HBM3) was lost at {noted['lost']}: its driver says 'GPU is lost'\n"
    assert capsys.readouterr().err == line


def test_what_ends_a_job_after_its_gpu_was_lost_is_one_line_with_the_remedy() -> None:
    gpu = FakeGpu("GPU-0")
    with (
        library(FakeLibrary([gpu])),
        pytest.raises(DeviceError, match=r"^GPU 0 \(NVIDIA H100 .* 'GPU is lost'\. What is finished is kept; reset"),
        GpuUse(["0"]),
    ):
        gpu.lose()  # and no sample comes before the error
        raise RuntimeError("CUDA error: unspecified launch failure")


@pytest.mark.parametrize("error", [RuntimeError("out of questions"), KeyboardInterrupt()])
def test_other_errors_stay_what_they_are(error: BaseException) -> None:
    with library(FakeLibrary([FakeGpu("GPU-0")])), pytest.raises(type(error)), GpuUse(["0"]):
        raise error


def test_a_job_takes_no_gpu_that_the_driver_has_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    gone = FakeGpu("GPU-0")
    gone.lose()
    with library(FakeLibrary([gone, FakeGpu("GPU-1")])):
        with pytest.raises(DeviceError, match="name 2 GPUs and 1 can be seen here"):
            claim(2)
        assert claim(1) == ["1"]
    assert capsys.readouterr().err.splitlines()[0] == "GPU 0 is left out: the driver has lost it (see nvidia-smi)"
