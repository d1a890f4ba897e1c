"""What every engine has to do alike (docs/engines.md)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.server.generator import OpenAiGenerator
from arbitrage.speculation.lane import Lane
from arbitrage.speculation.protocols import ContinuousEngine, EngineError, Generator, Reading
from arbitrage.speculation.scheduling import Request
from arbitrage.speculation.steps import GeneratedStep, Ids, ReadRequest, StepRequest
from tests.unit.engines.conformance.conftest import PROBLEMS, Open, Plain
from tests.unit.engines.conformance.scripted import context_of

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize(
    ("script", "limit", "text", "tokens", "reason"),
    [
        ("inside", 9, "b.\n\n", 2, "separator"),  # in a token that begins with other text
        ("inside and on", 9, "d.\n\n", 2, "separator"),  # in a token that goes on: cut at its end
        ("alone", 9, "\n\n", 1, "separator"),  # an empty step is a step
        ("across", 9, "g\n\n", 3, "separator"),  # two tokens make it
        ("special", 9, "lm}\n\n", 4, "separator"),  # special tokens are no text
        ("eos", 9, "h", 2, "eos"),
        ("second eos", 9, "j", 2, "eos"),  # of generation_config.json alone
        ("eos at once", 9, "", 1, "eos"),
        ("endless", 5, "opopo", 5, "length"),
        ("inside", 1, "b", 1, "length"),
        ("inside", 2, "b.\n\n", 2, "separator"),  # with the last token allowed
        ("eos", 2, "h", 2, "eos"),
    ],
)
def test_a_step_ends_where_and_why_it_should(
    engine: Open, script: str, limit: int, text: str, tokens: int, reason: str
) -> None:
    generator = engine("scripted")
    (step,) = generator.generate([_context(generator, script)], [limit])
    assert (step.text, step.tokens, step.finish_reason) == (text, tokens, reason)
    assert len(step.logprobs) == tokens and -0.5 < min(step.logprobs) <= step.mean_logprob <= 0.0  # nearly certain
    assert step.entropies is not None and len(step.entropies) == tokens and min(step.entropies) >= 0.0


def test_a_context_at_the_length_limit_gets_what_room_is_left_and_beyond_it_is_refused(engine: Open) -> None:
    generator = engine("scripted")
    for left in (3, 1):
        (step,) = generator.generate([_context(generator, "endless", 1024 - left)], [50])
        assert (step.text, step.tokens, step.finish_reason) == ("opo"[:left], left, "length")
    with pytest.raises(EngineError, match=r"a context of 1024 tokens.*expected a context of 1 to 1023 tokens"):
        generator.generate([_context(generator, "endless", 1024)], [50])
    with pytest.raises(EngineError, match="a context of 0 tokens"):
        generator.generate([()], [50])


def test_a_prompt_has_exactly_one_bos_and_the_same_ids_whatever_the_engine(
    engine: Open, directories: dict[str, Path]
) -> None:
    for name in ("scripted", "draft"):  # others: test_tokenizer_kinds
        path = directories[name]
        tokenizer = AutoTokenizer.from_pretrained(path)
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": "What is 3 + 4?"}], tokenize=False, add_generation_prompt=True
        )
        ids = engine(name).prompt_ids("What is 3 + 4?")
        assert ids == tuple(tokenizer.encode(rendered, add_special_tokens=False))
        assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
        assert engine(name).step_ids("So 7.\n\n") == tuple(tokenizer.encode("So 7.\n\n", add_special_tokens=False))


@pytest.mark.models
def test_solutions_are_those_of_plain_greedy_decoding_alone_and_in_a_batch(
    engine: Open, reference: dict[str, list[Plain]]
) -> None:
    """The same texts; log-probabilities, and entropies: exact, or of the most likely tokens where no more is known."""
    generator = engine("draft")
    contexts = {problem: generator.prompt_ids(problem) for problem in PROBLEMS}
    for number in range(3):
        together = generator.generate(list(contexts.values()), [40] * len(contexts))
        alone = [generator.generate([ids], [40])[0] for ids in list(contexts.values())[:4]]
        for step, (problem, ids) in zip(together, list(contexts.items()), strict=True):
            plain = reference[problem][number]
            assert (step.text, step.finish_reason) == (plain.text, plain.reason)
            assert step.logprobs == pytest.approx(plain.logprobs, abs=1e-4)
            exact = isinstance(generator, TransformersGenerator)
            assert step.entropies == pytest.approx(plain.entropies if exact else plain.bounds, abs=1e-3)
            assert all(one <= other + 1e-3 for one, other in zip(step.entropies, plain.entropies, strict=True))
            contexts[problem] = ids + generator.step_ids(step.text)
        assert [(step.text, step.tokens, step.finish_reason) for step in alone] == [
            (step.text, step.tokens, step.finish_reason) for step in together[:4]
        ]


@pytest.mark.models
def test_what_another_wrote_is_as_likely_as_plain_decoding_has_it(
    engine: Open, reference: dict[str, list[Plain]]
) -> None:
    """Where an engine reads at all: with and without what it has in its cache, in a batch and alone, and its end."""
    generator = engine("draft")
    assert isinstance(generator, Reading) == (not isinstance(generator, OpenAiGenerator))
    if not isinstance(generator, Reading):
        return
    inputs, starts, expected = [], [], []
    for problem in PROBLEMS:
        ids = generator.prompt_ids(problem)
        for plain in reference[problem]:
            end = generator.end_ids if plain.reason == "eos" else ()
            read = generator.step_ids(plain.text) + end
            if len(read) == len(plain.logprobs):  # what was written is what is read
                inputs.append(ids + read)
                starts.append(len(ids))
                expected.append(plain.logprobs)
            ids += read
    assert len(inputs) > 2 * len(PROBLEMS)
    for _ in range(2):  # the second time its cache holds what is asked for
        for logprobs, own in zip(generator.read(inputs, starts), expected, strict=True):
            assert logprobs == pytest.approx(own, abs=1e-4)
    generator.forget()  # type: ignore[attr-defined]
    generator.generate([ids[:start] for ids, start in zip(inputs, starts, strict=True)], [40] * len(inputs))
    assert generator.read(inputs[:1], starts[:1])[0] == pytest.approx(expected[0], abs=1e-4)
    assert max(map(max, generator.read(inputs, starts))) <= 0.0

    async def beside() -> list[Any]:
        """Under the continuous scheduler, while steps are being written."""
        lane = Lane(generator, "test")
        worker = asyncio.create_task(lane.work())
        asked = list(map(ReadRequest, inputs, starts)) + [StepRequest(ids, 40) for ids in inputs[:3]]
        requests = [Request("target", one, "q", (0, 0, 0), 0, (at % 7,)) for at, one in enumerate(asked)]
        try:
            return list(await asyncio.gather(*map(lane.submit, requests)))
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            lane.close()

    *together, first, _, _ = asyncio.run(beside())
    for logprobs, own in zip(together, expected, strict=True):
        assert logprobs == pytest.approx(own, abs=1e-4)
    assert first.text == generator.generate(inputs[:1], [40])[0].text


def test_the_order_of_the_answers_is_that_of_the_questions(engine: Open) -> None:
    generator, draw = engine("scripted"), random.Random(5)
    expected = {"inside": "b.\n\n", "across": "g\n\n", "eos": "h", "endless": "opopopop"}
    scripts = draw.choices(list(expected), k=70)  # more than a batch, and than there are requests at once
    contexts = [_context(generator, script, draw.randrange(2, 90)) for script in scripts]
    steps = generator.generate(contexts, [8] * len(contexts))
    assert [step.text for step in steps] == [expected[script] for script in scripts]
    assert generator.generate([], []) == []


def test_requests_that_come_while_others_are_under_way_are_answered_alike(engine: Open) -> None:
    """Under the continuous scheduler; where single requests are taken, one that is too long is refused alone."""
    generator, draw = engine("scripted"), random.Random(6)
    expected = {"inside": "b.\n\n", "across": "g\n\n", "eos": "h", "endless": "opopopop"}
    scripts = draw.choices(list(expected), k=50)
    asked = [StepRequest(_context(generator, script, draw.randrange(2, 90)), 8) for script in scripts]

    async def answers() -> tuple[list[GeneratedStep], list[BaseException]]:
        lane = Lane(generator, "test")
        worker = asyncio.create_task(lane.work())
        try:
            waiting = []
            for number, request in enumerate(asked):
                waiting.append(lane.submit(Request("draft", request, f"q{number}", (0, 0, 0), 0, (number,))))
                if number % 10 == 0:
                    await waiting[0]
            steps = list(await asyncio.gather(*waiting))
            refused = []
            if isinstance(generator, ContinuousEngine):
                long = StepRequest(_context(generator, "endless", 1024), 8)
                refusal = lane.submit(Request("draft", long, "long", (0, 0, 0), 0, (99,)))
                refused = await asyncio.gather(refusal, return_exceptions=True)
                steps.append(await lane.submit(Request("draft", asked[0]._replace(limit=9), "q", (0, 0, 0), 0, (100,))))
            return steps, refused
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            lane.close()

    steps, refused = asyncio.run(answers())
    assert [step.text for step in steps[:50]] == [expected[script] for script in scripts]
    assert all("a context of 1024 tokens" in str(error) for error in refused)
    (again,) = generator.generate([asked[1].ids], [8])  # and by calls as ever
    assert again.text == expected[scripts[1]]


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_engine_goes_on_with_the_right_answers(engine: Open) -> None:
    generator = engine("scripted")
    contexts = [_context(generator, "endless", 2 + number) for number in range(40)]
    interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in range(50):
                generator.generate(contexts, [980] * len(contexts))
    finally:
        interrupt.cancel()
    steps = generator.generate([_context(generator, "inside"), _context(generator, "second eos")], [9, 9])
    assert [step.text for step in steps] == ["b.\n\n", "j"]


def _context(generator: Generator, script: str, length: int = 2) -> Ids:
    return context_of(generator.tokenizer, script, length)  # type: ignore[attr-defined]
