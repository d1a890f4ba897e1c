"""The vllm engine against the transformers engine, on vLLM's CPU build: the same steps, however they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.prefix_cached import PrefixCachedGenerator
from arbitrage.engines.vllm.generator import VllmGenerator
from arbitrage.lab.question_stream import benchmark_questions
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import GeneratedStep, Sampling
from tests.support.tiny_models import widen_heads
from tests.unit.engines.conftest import CAUSAL, load
from tests.unit.engines.hf.test_generator import contexts_of, same

pytestmark = [pytest.mark.extra, pytest.mark.timeout(300)]

GENERATION = Generation(max_tokens=900)
ZOO = Path("src/arbitrage/lab/zoo")


def start(directory: Path, **settings: object) -> VllmGenerator:
    pytest.importorskip("vllm", reason="needs vLLM's CPU build (make test-all)")
    options = {"cache_gib": 0.0625} | dict(settings.pop("vllm", {}))  # type: ignore[call-overload]
    model = Model.model_validate({"path": str(directory), "batch_size": 64, "vllm": options} | settings)
    return VllmGenerator(resolve(directory, key="models.test"), model, GENERATION)


@pytest.fixture(scope="module")
def engines(wide_root: Path) -> Iterator[Callable[[Path], VllmGenerator]]:
    """One engine a checkpoint, all of them in this process at once."""
    opened: dict[Path, VllmGenerator] = {}

    def engine(directory: Path) -> VllmGenerator:
        if directory not in opened:
            opened[directory] = start(directory)
        return opened[directory]

    yield engine
    for generator in opened.values():
        generator.close()


def unlike(left: list[GeneratedStep], right: list[GeneratedStep]) -> list[tuple[GeneratedStep, GeneratedStep]]:
    return [(a, b) for a, b in zip(left, right, strict=True) if not same(a, b)]


def test_steps_are_those_of_the_transformers_engine(wide: Path, engines: Callable[[Path], VllmGenerator]) -> None:
    """80 contexts a checkpoint: ends by separators (whole, across and inside tokens), by both EOS ids, by length."""
    vllm, reference = engines(wide), load(wide)
    contexts, reasons, bare = contexts_of(reference, 80), set(), 0
    assert contexts == contexts_of(vllm, 80)  # type: ignore[arg-type]
    limits = [1 + index % 40 for index in range(80)]
    for _ in range(2):
        expected = reference.generate(contexts, limits)
        assert unlike(vllm.generate(contexts, limits), expected) == []
        reasons |= {step.finish_reason for step in expected}
        bare += sum(step.text in ("", "\n\n") for step in expected)
        contexts = [ids + vllm.step_ids(step.text) for ids, step in zip(contexts, expected, strict=True)]
    assert {"separator", "eos", "length"} <= reasons and bare


@pytest.mark.parametrize("name", ["draft", "target"])
def test_trained_models_write_the_same_solutions(
    name: str, tmp_path: Path, engines: Callable[[Path], VllmGenerator]
) -> None:
    vllm, reference = engines(widen_heads(ZOO / name, tmp_path / name)), load(ZOO / name, batch_size=64)
    contexts = [reference.prompt_ids(row["problem"]) for row in benchmark_questions("lab500", 66)]
    for _ in range(4):
        expected = reference.generate(contexts, [64] * 66)
        assert unlike(vllm.generate(contexts, [64] * 66), expected) == []
        contexts = [ids + vllm.step_ids(step.text) for ids, step in zip(contexts, expected, strict=True)]


def test_a_batch_writes_what_single_contexts_do_and_what_is_decoded_live(
    wide: Path, engines: Callable[[Path], VllmGenerator]
) -> None:
    vllm = engines(wide)
    live = PrefixCachedGenerator(vllm)
    contexts = contexts_of(vllm, 24, seed=4)  # type: ignore[arg-type]
    for _ in range(2):
        together = vllm.generate(contexts, [30] * 24)
        vllm.forget()
        assert unlike([vllm.generate([ids], [30])[0] for ids in contexts], together) == []
        live.reset()
        assert unlike([live.generate_one(ids, 30) for ids in contexts], together) == []
        contexts = [ids + vllm.step_ids(step.text) for ids, step in zip(contexts, together, strict=True)]
    assert live.last_prefill_s > 0 and vllm.generate([], []) == []


def test_results_repeat_bit_for_bit_after_forget(wide: Path, engines: Callable[[Path], VllmGenerator]) -> None:
    vllm = engines(wide)
    contexts = contexts_of(vllm, 40)  # type: ignore[arg-type]
    vllm.forget()
    first = vllm.generate(contexts, [20] * 40)
    vllm.generate(contexts_of(vllm, 40, seed=9), [20] * 40)  # type: ignore[arg-type]
    vllm.forget()
    assert vllm.generate(contexts, [20] * 40) == first


def test_only_a_question_of_its_own_salt_is_read_from_the_cache(engines: Callable[[Path], VllmGenerator]) -> None:
    vllm = engines(ZOO / "draft")
    context = vllm.prompt_ids(benchmark_questions("lab500", 1)[0]["problem"]) * 8
    read, seen = [], []
    step = vllm.engine.step

    def watched() -> list[object]:
        outputs = step()
        seen.extend(output.num_cached_tokens for output in outputs)
        return outputs

    vllm.engine.step = watched
    try:
        for salt in ("a", "a", "b"):
            seen.clear()
            vllm.write_one(context, 4, salt)
            read.append(seen[0])
    finally:
        vllm.engine.step = step
    assert read[0] == read[2] == 0 < read[1]


def test_sampled_steps_depend_on_seed_sample_and_context_but_not_on_the_batch(
    wide: Path, engines: Callable[[Path], VllmGenerator]
) -> None:
    vllm = engines(wide)
    contexts = contexts_of(vllm, 12)  # type: ignore[arg-type]
    drawn = vllm.generate(contexts, [20] * 12, Sampling(1.0, seed=4, sample=1))
    (shorter, _) = vllm.generate([contexts[0], contexts[1]], [6, 20], Sampling(1.0, seed=4, sample=1))
    assert drawn[0].text.startswith(shorter.text)
    for index in (0, 5, 11):
        assert same(vllm.generate([contexts[index]], [20], Sampling(1.0, seed=4, sample=1))[0], drawn[index])
    texts = [step.text for step in drawn]
    assert [step.text for step in vllm.generate(contexts, [20] * 12, Sampling(1.0, seed=4, sample=2))] != texts
    assert [step.text for step in vllm.generate(contexts, [20] * 12, Sampling(1.0, seed=5, sample=1))] != texts


def test_a_step_stops_where_the_longest_context_ends(wide: Path) -> None:
    with closing(start(wide, vllm={"max_context": 40})) as vllm:
        vllm.stop.eos_ids = frozenset()
        vllm.stop.separator = "never written"
        context = (contexts_of(vllm, 1)[0] * 40)[:37]  # type: ignore[arg-type]
        (step,) = vllm.generate([context], [50])
        assert (step.tokens, step.finish_reason) == (3, "length")
        assert len(context + context[:3]) == vllm.max_context
        with pytest.raises(EngineError, match=r"expected a context of 1 to 39 tokens.*vllm\.max_context"):
            vllm.generate([context + context[:3]], [50])


def test_one_engine_is_closed_and_the_others_go_on(wide_root: Path) -> None:
    first, second = (start(wide_root / name) for name in ("llama-char", "llama-bpe"))
    context = second.prompt_ids("What is 3 + 4?")
    expected = second.generate([context], [20])
    first.close()
    first.close()
    assert second.generate([context], [20]) == expected
    second.close()
    with closing(start(wide_root / "llama-bpe")) as again:
        assert again.generate([context], [20]) == expected


def test_what_vllm_cannot_run_is_a_line_and_leaves_the_engines_that_run_alone(
    wide_root: Path, engines: Callable[[Path], VllmGenerator]
) -> None:
    vllm = engines(wide_root / "llama-char")
    with pytest.raises(EngineError, match=r"models\.test: vLLM cannot run .*vllm\.cache_gib"):
        start(wide_root / "llama-bpe", vllm={"cache_gib": 1e-6})
    with pytest.raises(EngineError, match="its head is LlamaForSequenceClassification"):
        start(wide_root / "prm")
    with pytest.raises(EngineError, match="device 'cuda:1', but the installed vLLM is the build for CPUs"):
        start(wide_root / "llama-bpe", device="cuda:1")
    assert vllm.generate([vllm.prompt_ids("a")], [5])[0].tokens


def test_identity_tells_weights_engine_and_lengths_apart(
    wide_root: Path, engines: Callable[[Path], VllmGenerator]
) -> None:
    names = {engines(wide_root / name).identity for name in CAUSAL}
    with closing(start(wide_root / "llama-char", vllm={"max_context": 64})) as shorter:
        names.add(shorter.identity)
    reference: TransformersGenerator = load(wide_root / "llama-char")
    assert len(names | {reference.identity}) == len(CAUSAL) + 2


def test_interrupted_requests_are_taken_back(
    engines: Callable[[Path], VllmGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm = engines(ZOO / "draft")
    context = vllm.prompt_ids(benchmark_questions("lab500", 1)[0]["problem"])
    expected = vllm.generate([context], [30])
    with monkeypatch.context() as patched:

        def interrupted(*arguments: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(vllm, "take", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vllm.generate([context] * 3, [30] * 3)
    assert not vllm.engine.has_unfinished_requests()
    assert vllm.generate([context], [30]) == expected
