from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from arbitrage.engines.hf.incremental import LiveGenerator, LiveScorer
from arbitrage.engines.scoring.scorers import PrmScorer
from arbitrage.speculation.protocols import ContextMemoryError
from arbitrage.speculation.steps import AuthoredStep
from tests.support.tiny_models import build_causal
from tests.unit.engines.conftest import load, never_stop
from tests.unit.engines.hf.test_generator import contexts_of, same


def test_live_steps_are_those_of_the_batch_along_a_whole_solution(causal: Path) -> None:
    generator = load(causal)
    live = LiveGenerator(generator)
    for context in contexts_of(generator, 5, seed=2):
        for _ in range(4):
            (expected,) = generator.generate([context], [30])
            step = live.generate_one(context, 30)
            assert same(step, expected)
            context += generator.step_ids(step.text)


def test_a_rejected_step_is_rolled_back_and_only_what_is_new_is_read(causal: Path) -> None:
    generator = load(causal)
    live = LiveGenerator(generator)
    context = contexts_of(generator, 1, seed=3)[0]
    rejected = live.generate_one(context, 20)
    assert live.last_prefill_tokens == len(context)
    chosen = generator.step_ids("So 3 + 4 = 7.\n\n")
    step = live.generate_one(context + chosen, 20)
    assert live.last_prefill_tokens <= len(chosen)
    assert same(step, generator.generate([context + chosen], [20])[0])
    again = live.generate_one(context, 20)  # back to where it began: the last id is read again
    assert same(again, rejected) and live.last_prefill_tokens == 1
    assert live.last_prefill_s > 0 and live.last_decode_s > 0
    live.reset()
    assert same(live.generate_one(context, 20), rejected) and live.last_prefill_tokens == len(context)


def test_a_state_is_that_of_the_batch_and_reads_one_token_which_an_accepted_step_need_not_read_again(
    causal: Path,
) -> None:
    generator = load(causal)
    live = LiveGenerator(generator)
    compared = 0
    for context in contexts_of(generator, 4, seed=2):
        for _ in range(3):
            step = live.generate_one(context, 30)
            ids = context + generator.step_ids(step.text)
            held = tuple(live._context.held[: len(ids) - 1]) == ids[:-1]  # the tokens written are those of the text
            state = live.state_one(ids)
            assert live.last_prefill_tokens == 1 or not held
            assert np.allclose(state, generator.states([ids])[0], atol=1e-5)
            rejected = live.generate_one(context + generator.step_ids("So 3.\n\n"), 30)
            assert same(rejected, generator.generate([context + generator.step_ids("So 3.\n\n")], [30])[0])
            live.generate_one(context, 30)
            assert np.allclose(live.state_one(ids), state, atol=1e-5)
            accepted = live.generate_one(ids, 30)
            assert live.last_prefill_tokens == 0 and same(accepted, generator.generate([ids], [30])[0])
            compared += held
            context = ids
    assert compared > 3


def test_a_cache_outgrown_in_the_middle_of_a_step_goes_on(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(causal)
    never_stop(generator)
    monkeypatch.setattr("arbitrage.engines.hf.live_context.CAPACITY", 8)
    monkeypatch.setattr("arbitrage.engines.hf.kv_cache.GRAIN", 4)
    context = contexts_of(generator, 1)[0]
    live = LiveGenerator(generator).generate_one(context, 120)
    assert live.tokens == 120 and same(live, generator.generate([context], [120])[0])


def test_live_scores_are_those_of_the_batch_and_read_only_what_is_new(prm: PrmScorer) -> None:
    live = LiveScorer(prm)
    history: list[AuthoredStep] = []
    for index in range(5):
        draft, target = AuthoredStep("draft", f"{index} + 1 = 9\n\n"), AuthoredStep("target", f"So {index}.\n\n")
        for step in (draft, target):
            ids = prm.input_ids("What is 3 + 4?", history, step)
            assert live.score_one(ids) == pytest.approx(prm.score([ids])[0], abs=1e-5)
        assert live.last_tokens <= len(prm.tokenizer.encode(target.text)) + 1 or index == 0
        history.append(draft if index % 2 else target)
    live.reset()
    live.score_one(ids)
    assert live.last_tokens == len(ids)


def test_a_whole_solution_in_one_go_passes_separators_and_ends_at_the_limit(causal: Path) -> None:
    generator = load(causal)
    live = LiveGenerator(generator)
    context = contexts_of(generator, 1, seed=3)[0]
    step = live.generate_one(context, 60)
    live.reset()
    whole = live.generate_whole(context, 60)
    assert whole.text.startswith(step.text.rstrip())
    assert whole.finish_reason in ("eos", "length")
    assert whole.tokens >= step.tokens
    assert same(live.generate_one(context, 60), step)  # the rule of steps is as it was


def test_too_little_memory_for_one_context_is_told_and_the_next_one_is_answered(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(causal)
    live = LiveGenerator(generator)
    context = contexts_of(generator, 1)[0]
    expected = live.generate_one(context, 20)
    live.reset()

    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    with monkeypatch.context() as patch, pytest.raises(ContextMemoryError, match=rf"{len(context)} tokens.*2 GiB"):
        patch.setattr(live._context, "_forward", full)
        live.generate_one(context, 20)
    live.reset()
    assert same(live.generate_one(context, 20), expected)


@pytest.mark.parametrize("proposed", [1, 4, 7])
@pytest.mark.parametrize("alike", [True, False])
def test_a_solution_with_the_drafts_tokens_checked_is_the_targets_own(
    checkpoints_root: Path, tmp_path: Path, proposed: int, alike: bool
) -> None:
    build_causal(tmp_path / "other", "bpe", seed=9, architecture="qwen2")
    target = LiveGenerator(load(checkpoints_root / "qwen2-bpe"))
    draft = LiveGenerator(load(checkpoints_root / "qwen2-bpe" if alike else tmp_path / "other"))
    assert target.can_check(draft)
    for context in contexts_of(target.generator, 3, seed=4):
        target.reset()
        expected = target.generate_whole(context, 60)
        target.reset()
        draft.reset()
        checked = target.check_whole(draft, context, 60, proposed)
        assert same(checked.step, expected)
        assert checked.proposed > 0 and checked.proposing_s > 0
        if alike:  # all are kept: a round writes one token more than was proposed
            rounds = -(-expected.tokens // (proposed + 1))
            assert checked.proposed <= rounds * proposed


def test_a_step_with_tokens_checked_is_the_targets_own_whatever_was_rejected_before_it(
    checkpoints_root: Path, tmp_path: Path
) -> None:
    build_causal(tmp_path / "other", "bpe", seed=9, architecture="qwen2")
    target = LiveGenerator(load(checkpoints_root / "qwen2-bpe"))
    draft = LiveGenerator(load(tmp_path / "other"))
    for context in contexts_of(target.generator, 3, seed=5):
        expected = target.generate_one(context, 30)
        own = target.generator.step_ids(expected.text)
        for rejected in ((), own, own[:2], own[1:], (*own, *own)):
            checked = target.check_one(draft, context, 30, 4, rejected)
            assert same(checked.step, expected)


def test_a_draft_without_room_proposes_nothing_and_the_target_goes_on(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, draft = LiveGenerator(load(causal)), LiveGenerator(load(causal))
    context = contexts_of(target.generator, 1)[0]
    expected = target.generate_whole(context, 40)
    target.reset()
    monkeypatch.setattr(draft.generator, "max_context", len(context) + 9)
    checked = target.check_whole(draft, context, 40, 4)
    assert same(checked.step, expected)
    assert checked.proposed <= 8


def test_a_draft_of_another_vocabulary_is_not_checked(causal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, draft = LiveGenerator(load(causal)), LiveGenerator(load(causal))
    monkeypatch.setattr(draft.generator.tokenizer, "get_vocab", lambda: {"other": 0})
    assert not target.can_check(draft)
