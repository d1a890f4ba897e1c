from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.hf.kv_cache import BufferCache
from arbitrage.speculation.protocols import ContextMemoryError, EngineError
from arbitrage.speculation.steps import GeneratedStep, Ids, Sampling
from tests.support.tiny_models import CHARACTERS, build_causal
from tests.unit.engines.conftest import load, never_stop


def contexts_of(generator: TransformersGenerator, count: int, seed: int = 0) -> list[Ids]:
    draw = random.Random(seed)
    problems = ["".join(draw.choices(CHARACTERS, k=draw.randrange(1, 60))) for _ in range(count)]
    return [generator.prompt_ids(problem) for problem in problems]


def same(left: GeneratedStep, right: GeneratedStep) -> bool:
    return (left.text, left.tokens, left.finish_reason) == (right.text, right.tokens, right.finish_reason) and abs(
        left.mean_logprob - right.mean_logprob
    ) < 1e-4


def test_a_batch_writes_what_single_contexts_do_over_three_steps(causal: Path) -> None:
    many, single = load(causal), load(causal, batch_size=1)
    contexts = contexts_of(many, 30)
    limits = [1 + index % 25 for index in range(30)]
    reasons = set()
    for _ in range(3):
        together = many.generate(contexts, limits)
        single.forget()
        alone = [single.generate([ids], [limit])[0] for ids, limit in zip(contexts, limits, strict=True)]
        assert [step for step, other in zip(together, alone, strict=True) if not same(step, other)] == []
        reasons |= {step.finish_reason for step in together}
        contexts = [ids + many.step_ids(step.text) for ids, step in zip(contexts, together, strict=True)]
    assert {"separator", "length"} <= reasons


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("columns", [0, 512])
def test_a_step_does_not_depend_on_the_place_it_is_written_in(causal: Path, temperature: float, columns: int) -> None:
    """Batches of three, in whose places others go on (512 columns long) or not, over three steps from the pool."""
    many, single = load(causal, batch_size=3), load(causal, batch_size=1)
    many.refilled_columns = columns
    contexts = contexts_of(many, 20, seed=4)
    limits = [1 + 7 * index % 23 for index in range(20)]
    for turn in range(3):
        sampling = Sampling(temperature, seed=1, sample=turn)
        together = many.generate(contexts, limits, sampling)
        single.forget()
        alone = [single.generate([ids], [limit], sampling)[0] for ids, limit in zip(contexts, limits, strict=True)]
        assert [step for step, other in zip(together, alone, strict=True) if not same(step, other)] == []
        contexts = [ids + many.step_ids(step.text) for ids, step in zip(contexts, together, strict=True)]


def test_a_step_is_what_plain_greedy_decoding_of_the_whole_context_gives(causal: Path) -> None:
    generator = load(causal)
    for context in contexts_of(generator, 6, seed=5):
        (step,) = generator.generate([context], [12])
        ids, logprobs = list(context), []
        with torch.inference_mode():
            for _ in range(step.tokens):
                logits = generator.model(torch.tensor([ids])).logits[0, -1].float()
                ids.append(int(logits.argmax()))
                logprobs.append(float(logits.log_softmax(-1).max()))
        written = generator.tokenizer.decode(ids[len(context) :], skip_special_tokens=True)
        assert written.startswith(step.text)
        assert step.mean_logprob == pytest.approx(sum(logprobs) / len(logprobs), abs=1e-4)


def test_results_repeat_bit_for_bit_after_forget_whatever_was_read_before(causal: Path) -> None:
    generator = load(causal)
    contexts = contexts_of(generator, 20)
    first = generator.generate(contexts, [20] * 20)
    generator.generate(contexts_of(generator, 20, seed=9), [20] * 20)
    generator.forget()
    assert generator.generate(contexts, [20] * 20) == first


def test_equal_contexts_get_equal_steps_in_the_order_asked_for(causal: Path) -> None:
    generator = load(causal)
    a, b = contexts_of(generator, 2, seed=1)
    steps = generator.generate([a, b, a], [15, 15, 15])
    assert same(steps[0], steps[2]) and same(steps[1], generator.generate([b], [15])[0])
    assert generator.generate([], []) == []


def test_sampled_steps_depend_on_seed_sample_and_context_but_not_on_the_batch(causal: Path) -> None:
    generator = load(causal)
    contexts = contexts_of(generator, 12)
    drawn = generator.generate(contexts, [20] * 12, Sampling(1.0, seed=4, sample=1))
    (shorter, _) = generator.generate([contexts[0], contexts[1]], [6, 20], Sampling(1.0, seed=4, sample=1))
    assert drawn[0].text.startswith(shorter.text)  # nor on the limit
    for index in (0, 5, 11):
        assert same(generator.generate([contexts[index]], [20], Sampling(1.0, seed=4, sample=1))[0], drawn[index])
    texts = [step.text for step in drawn]
    assert [step.text for step in generator.generate(contexts, [20] * 12, Sampling(1.0, seed=4, sample=2))] != texts
    assert [step.text for step in generator.generate(contexts, [20] * 12, Sampling(1.0, seed=5, sample=1))] != texts


@pytest.mark.parametrize("system_prompt", [None, "Think."])
def test_a_prompt_has_exactly_one_bos_and_the_system_message(causal: Path, system_prompt: str | None) -> None:
    generator = load(causal, system_prompt=system_prompt)
    ids = generator.prompt_ids("What is 3 + 4?")
    assert ids[0] == generator.tokenizer.bos_token_id and ids.count(ids[0]) == 1
    text = generator.tokenizer.decode(ids)
    assert "What is 3 + 4?" in text and text.endswith("assistant: ") and ("Think." in text) == bool(system_prompt)


def test_a_template_without_bos_gets_one_and_a_second_bos_is_refused(causal: Path) -> None:
    generator = load(causal)
    template = generator.tokenizer.chat_template
    generator.tokenizer.chat_template = template.replace("{{ bos_token }}", "")
    assert generator.prompt_ids("a").count(generator.tokenizer.bos_token_id) == 1
    generator.tokenizer.chat_template = "{{ bos_token }}" + template
    with pytest.raises(EngineError, match="2 BOS tokens"):
        generator.prompt_ids("a")
    generator.tokenizer.chat_template = template
    ids = generator.prompt_ids("what is <s> ?")  # in a question it is three characters
    assert ids.count(generator.tokenizer.bos_token_id) == 1 and "what is <s> ?" in generator.tokenizer.decode(ids)


def little_memory(generator: TransformersGenerator, monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Have passes fail that hold more than `most` columns in all rows; their sizes as they come."""
    sizes = list[int]()

    def limited(
        forward: Callable[..., torch.Tensor],
        ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        cache: BufferCache,
        *count: int,
    ) -> torch.Tensor:
        sizes.append(ids.shape[0] * mask.shape[-1])
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(ids, positions, mask, cache, *count)

    monkeypatch.setattr(generator._runner, "_forward", partial(limited, generator._runner._forward))
    monkeypatch.setattr(generator, "logits_after", partial(limited, generator.logits_after))
    return sizes


@pytest.mark.parametrize("refilled", [0, 100])
def test_a_batch_that_does_not_fit_is_halved_and_the_steps_stay_the_same(
    causal: Path, monkeypatch: pytest.MonkeyPatch, refilled: int
) -> None:
    plain, generator = load(causal), load(causal)
    contexts = contexts_of(plain, 13)
    expected = plain.generate(contexts, [30] * 13)
    generator.refilled_columns = refilled
    widest = max(map(len, contexts)) + 40  # with what is decoded behind it
    sizes = little_memory(generator, monkeypatch, 3 * widest)
    steps = generator.generate(contexts, [30] * 13)
    assert all(same(step, other) for step, other in zip(steps, expected, strict=True))
    assert max(sizes) > 3 * widest and generator._runner.batch_size < 8


def test_one_context_that_fills_all_memory_ends_by_length_and_one_that_never_fits_names_the_remedy(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal)
    never_stop(generator)
    contexts = contexts_of(generator, 4)
    little_memory(generator, monkeypatch, max(map(len, contexts)) + 10)
    steps = generator.generate(contexts, [200] * 4)
    assert {step.finish_reason for step in steps} == {"length"} and all(10 <= step.tokens < 200 for step in steps)
    little_memory(generator, monkeypatch, 3)
    with pytest.raises(EngineError, match=r"out of memory on cpu with one context.*lower generation.max_tokens"):
        generator.generate(contexts, [5] * 4)


def test_a_context_that_never_fits_is_named_once_the_others_are_written(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal)
    contexts, large = contexts_of(generator, 5), generator.prompt_ids("7 * 8 " * 60)
    most = 2 * max(map(len, contexts)) + 30
    assert len(large) > most
    sizes = little_memory(generator, monkeypatch, most)
    with pytest.raises(ContextMemoryError, match="out of memory on cpu with one context") as raised:
        generator.generate([*contexts[:2], large, *contexts[2:]], [9] * 6)
    assert raised.value.contexts == {large}
    assert sizes[-1] <= most  # the longest is read first, and then the others
    assert len(generator.generate(contexts, [9] * 5)) == 5


def test_a_text_that_never_fits_is_named_once_the_others_are_read(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal)
    inputs, large = contexts_of(generator, 5), generator.prompt_ids("7 * 8 " * 60)
    starts = [len(ids) // 2 for ids in inputs]
    expected = generator.read(inputs, starts)
    generator.forget()
    most = 2 * max(map(len, inputs)) + 30
    assert len(large) > most
    sizes = little_memory(generator, monkeypatch, most)
    with pytest.raises(ContextMemoryError, match="out of memory on cpu with one context") as raised:
        generator.read([*inputs[:2], large, *inputs[2:]], [*starts[:2], len(large) - 3, *starts[2:]])
    assert raised.value.contexts == {large}
    assert sizes[-1] <= most < max(sizes)
    for logprobs, own in zip(generator.read(inputs, starts), expected, strict=True):
        assert logprobs == pytest.approx(own, abs=1e-4)


def test_a_pass_reads_no_more_positions_than_its_layers_have_room_for(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal)
    contexts = contexts_of(generator, 13)
    expected = generator.generate(contexts, [9] * 13)
    generator.forget()
    generator._runner.positions = 3 * max(map(len, contexts))
    sizes = little_memory(generator, monkeypatch, 2**30)
    assert all(same(step, other) for step, other in zip(generator.generate(contexts, [9] * 13), expected, strict=True))
    assert max(sizes) <= generator._runner.positions + 3 * 9


def test_a_prompt_does_not_change_overnight(causal: Path) -> None:
    generator = load(causal)
    dated = (
        "{{ bos_token }}{% if not date_string %}{{ strftime_now('%d %b %Y') }}{% else %}{{ date_string }}{% endif %}"
    )
    generator.tokenizer.chat_template = dated
    assert generator.tokenizer.decode(generator.prompt_ids("a")).endswith("26 Jul 2024")


def test_a_step_stops_where_the_models_positions_end(causal: Path) -> None:
    generator = load(causal)
    never_stop(generator)
    context = (contexts_of(generator, 1)[0] * 200)[: generator.max_context - 3]
    (step,) = generator.generate([context], [50])
    assert (step.tokens, step.finish_reason) == (3, "length")
    with pytest.raises(EngineError, match="expected a context of 1 to 1023 tokens"):
        generator.generate([context + context[:3]], [50])


def test_identity_tells_weights_separator_and_dtype_apart_but_not_places(causal: Path, tmp_path: Path) -> None:
    from arbitrage.config.models import Model
    from arbitrage.config.pipeline import Generation

    copy = tmp_path / "copy"
    copy.mkdir()
    for file in causal.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())

    def identity(path: Path, separator: str = "\n\n", dtype: str = "float32") -> str:
        model = Model.model_validate({"path": str(path), "dtype": dtype})
        return TransformersGenerator(resolve(path), model, Generation(separator=separator)).identity

    original = identity(causal)
    assert identity(copy) == original
    others = {identity(causal, separator="\n"), identity(causal, dtype="bfloat16")}
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert len({original, identity(copy), *others}) == 4


def test_logits_that_are_not_finite_are_an_error_and_leave_no_trace(tmp_path: Path) -> None:
    generator = load(build_causal(tmp_path / "model"))
    contexts = contexts_of(generator, 3)
    expected = generator.generate(contexts, [9] * 3)
    norm = generator.model.model.norm.weight
    kept = norm.clone()
    norm.fill_(float("nan"))
    with pytest.raises(EngineError, match="logits are not finite"):
        generator.generate(contexts, [9] * 3)
    norm.copy_(kept)
    assert generator.generate(contexts, [9] * 3) == expected
