"""Memory of GPUs: weights as they are, the rest for as many contexts in every model; by hand for the paper's sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arbitrage.config.backends import VllmRoom
from arbitrage.config.router import Router
from arbitrage.config.study import Study
from arbitrage.runtime import gpu_memory
from arbitrage.runtime.gpu_memory import ENGINE_BYTES, GIB, SCORER_BYTES, USABLE, Part, divided, parts, shares
from arbitrage.runtime.gpus import DeviceError
from arbitrage.runtime.memory import Shape, shape
from arbitrage.runtime.placement import placed
from tests.support.paper_shapes import write

ONE, EIGHT, SEVENTY, PRM = (
    "meta-llama/Llama-3.2-1B-Instruct",
    "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.1-70B-Instruct",
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B",
)
KIB = 2**10


def study(folder: Path, draft: str = ONE, target: str = EIGHT, wide: int = 1, **changes: Any) -> Study:
    """A pair on vLLM, with PRM and router, all named to a GPU of their own; `changes` of draft, target or sections."""
    common: dict[str, Any] = {"engine": "vllm", "dtype": "bfloat16"}
    models: dict[str, Any] = {
        "d": common | {"device": "cuda:4", "vllm": {"max_context": 8192}} | changes.pop("d", {}),
        "t": common | {"device": "cuda:0", "vllm": {"max_context": 8192, "tensor_parallel": wide}},
    }
    for key, name in (("d", draft), ("t", target)):
        models[key] |= {"path": str(write(folder / key, name))}
    models["t"] |= changes.pop("t", {})
    prm = str(write(folder / "prm", PRM))
    base: dict[str, Any] = {
        "study": "s",
        "models": models,
        "pairs": {"p": {"draft": "d", "target": "t"}},
        "prm": {"path": prm, "dtype": "bfloat16", "device": "cuda:5"},
        "router": {"dtype": "bfloat16", "device": "cuda:6"},
        "benchmarks": {"b": {"source": "math500"}},
        "resources": {"gpu_memory_gb": 80},
    }
    return Study.model_validate(base | changes)


def members(one: Study, stage: str) -> dict[tuple[str, int], Part]:
    own = placed(one, stage, "p") if stage != "router" else one
    found = parts(own, stage, "p", gpu_memory.local_shapes(one, "p"))
    return {(part.subject, part.gpu): part for part in found}


def test_a_context_takes_keys_and_values_of_every_layer(tmp_path: Path) -> None:
    found = members(study(tmp_path), "sweep")
    assert {key: part.context for key, part in found.items()} == {
        ("models.d", 0): 32 * KIB * 8192,  # 16 layers x 8 heads x 64 x 2 x 2 bytes
        ("models.t", 0): 128 * KIB * 8192,
        ("prm", 0): 28 * KIB * 4096,
        ("router", 0): 28 * KIB * 4096,  # one training at a time
    }
    weights = {subject: part.weights / 1e9 for (subject, _), part in found.items()}
    assert weights == pytest.approx({"models.d": 2.47, "models.t": 16.06, "prm": 3.09, "router": 3.09}, abs=0.01)


def test_a_model_that_is_cut_puts_a_part_of_its_weights_and_heads_on_each_gpu(tmp_path: Path) -> None:
    found = members(study(tmp_path, EIGHT, SEVENTY, wide=4), "label")
    assert sorted(found) == [("models.d", 0), *(("models.t", gpu) for gpu in range(4)), ("prm", 1)]
    for gpu in range(4):
        assert found["models.t", gpu].weights == 70_553_706_496 * 2 // 4
        assert found["models.t", gpu].context == 80 * 2 * 128 * 2 * 2 * 8192  # two of eight heads
    sixteen = members(study(tmp_path / "wide", EIGHT, SEVENTY, wide=16), "label")
    assert sixteen["models.t", 9].context == 80 * 1 * 128 * 2 * 2 * 8192  # a head is not cut


def test_all_models_of_a_gpu_hold_as_many_contexts(tmp_path: Path) -> None:
    own = list(members(study(tmp_path), "label").values())
    portions = divided(own, {0: 80e9})
    (contexts,) = {round(portion.contexts, 6) for portion in portions}
    left = USABLE * 80e9 - sum(part.weights for part in own) - 2 * ENGINE_BYTES - SCORER_BYTES
    assert contexts == pytest.approx(left / sum(part.context for part in own))
    assert sum(portion.share for portion in portions) == pytest.approx(USABLE)


def test_a_model_over_several_gpus_is_bounded_by_the_fullest(tmp_path: Path) -> None:
    found = members(study(tmp_path, EIGHT, SEVENTY, wide=4), "label")
    portions = divided(list(found.values()), dict.fromkeys(range(4), 80e9))
    by_model = {(portion.part.subject, portion.part.gpu): portion for portion in portions}
    assert len({by_model["models.t", gpu].share for gpu in range(4)}) == 1
    assert by_model["models.t", 3].contexts == by_model["models.d", 0].contexts < by_model["prm", 1].contexts


@pytest.mark.parametrize(
    ("draft", "cache"),
    [({"memory_share": 0.25}, 0.25 * 80e9 - 2_471_628_800 - ENGINE_BYTES), ({"cache_gib": 3.0}, 3 * GIB)],
)
def test_what_the_study_gives_a_model_is_taken_from_the_others(
    draft: dict[str, float], cache: float, tmp_path: Path
) -> None:
    one = study(tmp_path, d={"vllm": {"max_context": 8192} | draft})
    portions = {portion.part.subject: portion for portion in divided(list(members(one, "label").values()), {0: 80e9})}
    assert portions["models.d"].cache == pytest.approx(cache)
    assert sum(portion.share for portion in portions.values()) == pytest.approx(USABLE)
    given = shares(placed(one, "label", "p"), "label", "p")
    assert given["models.d"] == pytest.approx(draft.get("memory_share", portions["models.d"].share))
    assert given["models.t"] == pytest.approx(portions["models.t"].share)


@pytest.mark.parametrize(("size", "remedy"), [(24, None), (40, "together"), (80, "together")])
def test_vllm_gets_its_share_or_an_error_says_what_to_do(size: float, remedy: str | None, tmp_path: Path) -> None:
    one = study(tmp_path, resources={"gpu_memory_gb": size})
    if remedy is None:
        with pytest.raises(DeviceError, match=r"GPU 0 has 22.4 GiB.*models.t, prm take 20.1 of weights.*apart"):
            shares(placed(one, "label", "p"), "label", "p")
        apart = one.model_copy(update={"placement": one.placement.model_copy(update={"label": "apart"})})
        assert shares(placed(apart, "label", "p"), "label", "p") == pytest.approx(
            {"models.d": USABLE, "models.t": USABLE}
        )
        return
    given = shares(placed(one, "label", "p"), "label", "p")
    assert given["models.d"] > 2_471_628_800 / (size * 1e9) and given["models.t"] > 16_060_522_496 / (size * 1e9)
    assert sum(given.values()) < USABLE - 3.09 / size


def test_beside_a_model_of_unknown_shape_parts_are_equal(tmp_path: Path) -> None:
    one = study(tmp_path)
    (Path(one.prm.path) / "config.json").write_text("{}")
    shape.cache_clear()
    assert shares(placed(one, "label", "p"), "label", "p") == pytest.approx(
        {"models.d": USABLE / 4, "models.t": USABLE / 4}
    )


def test_scorers_on_vllm_have_engines_of_their_own_that_grow_as_the_others(tmp_path: Path) -> None:
    scoring = {"engine": "vllm", "dtype": "bfloat16", "vllm": {"max_context": 8192}}
    one = study(tmp_path, prm={"device": "cuda:5", "path": str(tmp_path / "prm"), **scoring})
    one = one.model_copy(update={"router": Router.model_validate({"device": "cuda:6", **scoring})})
    found = members(one, "sweep")
    positions = shape(str(tmp_path / "prm"), None).positions
    assert found["prm", 0].context == 28 * KIB * min(8192, positions)
    assert (found["prm", 0].beside, found["router", 0].beside) == (ENGINE_BYTES, ENGINE_BYTES)
    given = shares(placed(one, "sweep", "p"), "sweep", "p")
    assert given["models.d"] + given["models.t"] + given["prm"] + given["router"] == pytest.approx(USABLE)
    set_ = one.model_copy(update={"prm": one.prm.model_copy(update={"vllm": VllmRoom(memory_share=0.2)})})
    assert shares(placed(set_, "sweep", "p"), "sweep", "p")["prm"] == 0.2


def test_each_number_of_proposed_tokens_is_an_engine_of_both_models_in_timing_alone(tmp_path: Path) -> None:
    one = study(tmp_path, latency={"speculative_tokens": [4]}, placement={"latency": "apart"})
    checker = ("models.t with 4 proposed tokens", 0)
    found = members(one, "latency")
    both = [found["models.d", 4], found["models.t", 0]]
    assert found[checker].weights == sum(part.weights for part in both)
    assert found[checker].context == sum(part.context for part in both)
    assert not {checker[0]} & {subject for subject, _ in members(one, "sweep")}
    given = shares(one, "latency", "p")
    assert given["models.t"] + given[checker[0]] == pytest.approx(USABLE) and given[checker[0]] > given["models.t"]
    other = one.model_copy(update={"resources": one.resources.model_copy(update={"gpu_memory_gb": 40.0})})
    with pytest.raises(DeviceError, match=r"models\.t with 4 proposed tokens take .*: name fewer latency\.speculative"):
        shares(other, "latency", "p")
    apart = study(tmp_path / "apart", d={"dtype": "float16"}, latency={"speculative_tokens": [4]})
    assert checker not in members(apart, "latency")  # vLLM would load the draft in the target's type


def test_a_share_too_small_for_the_weights_is_an_error(tmp_path: Path) -> None:
    one = study(tmp_path, t={"vllm": {"max_context": 8192, "memory_share": 0.2}})
    with pytest.raises(DeviceError, match=r"raise vllm.memory_share or vllm.cache_gib of models.t"):
        shares(placed(one, "label", "p"), "label", "p")


def test_training_takes_sixteen_bytes_a_trained_weight_and_four_a_frozen_one(tmp_path: Path) -> None:
    (whole,) = members(study(tmp_path), "router").values()
    assert whole.weights == 16 * 1_543_714_304
    router = {"device": "cuda:6", "training": {"top_layers": 7}}  # of 28
    (some,) = members(study(tmp_path / "some", router=router), "router").values()
    assert some.weights == pytest.approx((16 / 4 + 4 * 3 / 4) * 1_543_714_304, rel=1e-6)


@pytest.mark.parametrize(
    ("billions", "gpus", "gigabytes", "each", "sharded"),
    [
        (1.5, 1, 80, 16 * 1.5, False),
        (1.5, 4, 40, 20 * 1.5, False),  # and the gradients that are exchanged
        (1.5, 2, 24, 16 * 1.5 / 2, True),
        (7.6, 4, 80, 4 * 7.6 * 5 / 4, True),  # no less than when it is loaded
        (7.6, 2, 80, 16 * 7.6 / 2, True),
        (7.6, 1, 80, 16 * 7.6, False),  # and does not fit
        (7.6, 4, None, 20 * 7.6, False),  # nobody knows
    ],
)
def test_a_router_is_sharded_where_several_gpus_train_what_none_holds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    billions: float,
    gpus: int,
    gigabytes: float | None,
    each: float,
    sharded: bool,
) -> None:
    monkeypatch.setattr(gpu_memory, "memory_bytes", lambda gpu: None)
    one = study(tmp_path, resources={"router": {"gpus": gpus}, "gpu_memory_gb": gigabytes})
    found = Shape(parameters=int(billions * 1e9), embedded=10**8, layers=28)
    own = gpu_memory.training(one, found)
    assert own.sharded is sharded and own.weights / 1e9 == pytest.approx(each)
    assert own.beside == gpu_memory.TRAINING_BYTES + (4 * 10**8 if sharded else 0)
    own_parts = list(parts(one, "router", "p", {"router": found}))
    assert [part.gpu for part in own_parts] == list(range(gpus))
    if gigabytes is not None:
        sizes = dict.fromkeys(range(gpus), gigabytes * 1e9)
        reason = gpu_memory.shortage(one, "router", divided(own_parts, sizes))
        assert (reason is None) is ((billions, gpus) != (7.6, 1))
        assert reason is None or "raise resources.router.gpus" in reason


def test_weights_in_few_bits_leave_embeddings_whole(tmp_path: Path) -> None:
    eight = shape(str(write(tmp_path, EIGHT)), None)
    assert eight.weight_bytes("bfloat16", bits=4) / 1e9 == pytest.approx(5.59, abs=0.01)
    assert Shape(parameters=8, packed=5).weight_bytes("bfloat16") == 5


def test_the_driver_is_asked_where_the_study_names_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "memory_bytes", lambda gpu: {0: 48e9}.get(gpu))
    one = study(tmp_path, resources={})
    assert (gpu_memory.gpu_bytes(one, 0), gpu_memory.gpu_bytes(one, 1)) == (48e9, None)
    assert gpu_memory.gpu_bytes(study(tmp_path / "named"), 1) == 80e9
