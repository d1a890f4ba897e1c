"""Live decoding over a prefix cache that is not ours: what is counted, and that questions share nothing."""

from __future__ import annotations

from collections.abc import Sequence

from arbitrage.engines.prefix_cached import (
    PrefixCachedChecker,
    PrefixCachedGenerator,
    PrefixCachedReader,
    PrefixCachedScorer,
    PrefixCaching,
    PrefixReading,
)
from arbitrage.speculation.protocols import IncrementalReading, TokenSpeculation
from arbitrage.speculation.steps import AuthoredStep, CheckedStep, GeneratedStep, Ids, Logprobs


class Echo:
    """Writes "ab" after every context, two tokens, and remembers the salts it was called with."""

    def __init__(self) -> None:
        self.salts: list[str] = []
        self.max_context = 2**20

    def prompt_ids(self, problem: str) -> Ids:
        return tuple(map(ord, problem))

    def step_ids(self, text: str) -> Ids:
        return tuple(map(ord, text))

    def write_one(self, context: Ids, limit: int, salt: str, whole: bool = False) -> tuple[GeneratedStep, float]:
        self.salts.append(salt)
        return GeneratedStep("ab", "separator", (-0.5, -0.5)), 0.25


def test_a_rejected_step_is_not_read_again_and_only_what_is_new_counts() -> None:
    live = PrefixCachedGenerator(Echo())
    prompt = live.prompt_ids("question")
    assert live.generate_one(prompt, 9).text == "ab"
    assert (live.last_prefill_tokens, live.last_prefill_s) == (8, 0.25)
    live.generate_one(prompt + live.step_ids("ab"), 9)  # its own step: only the last token was not read
    assert live.last_prefill_tokens == 1
    live.generate_one(prompt + live.step_ids("abcde"), 9)
    assert live.last_prefill_tokens == 3
    live.generate_one(prompt, 9)  # back to where it began: the last id is read again
    assert live.last_prefill_tokens == 1


class ReadingEcho(Echo):
    """Reads too: everything is as likely as its number says."""

    end_ids = (0,)

    def read_one(self, ids: Ids, start: int, salt: str) -> Logprobs:
        self.salts.append(salt)
        return tuple(-float(each) for each in ids[start:])


def test_a_judged_step_is_in_the_cache_whether_it_is_accepted_or_not() -> None:
    echo = ReadingEcho()
    live = PrefixCachedReader(echo)
    prompt, step = live.prompt_ids("question"), live.step_ids("ab")
    assert live.read_one(prompt + step, len(prompt)) == (-97.0, -98.0)
    assert live.last_prefill_tokens == 10 and live.last_prefill_s > 0
    live.generate_one(prompt, 9)  # rejected: the last id of the context is read again
    assert live.last_prefill_tokens == 1
    live.read_one(prompt + step + step, len(prompt) + 2)  # of what it wrote itself the last token was not read
    assert live.last_prefill_tokens == 3
    live.read_one(prompt + step * 3, len(prompt) + 4)  # accepted: the id before the next step, and that
    assert live.last_prefill_tokens == 3
    assert len(set(echo.salts)) == 1 and live.end_ids == (0,)
    assert isinstance(live, IncrementalReading) and not isinstance(PrefixCachedGenerator(echo), IncrementalReading)


def test_every_question_pays_for_its_own_prompt() -> None:
    echo = Echo()
    live = PrefixCachedGenerator(echo)
    prompt = live.prompt_ids("question")
    live.generate_one(prompt, 9)
    live.generate_one(prompt, 9)
    live.reset()
    live.generate_one(prompt, 9)
    assert live.last_prefill_tokens == len(prompt)
    first, second, third = echo.salts
    assert first == second != third


def test_an_engine_is_recognised_by_what_it_offers() -> None:
    assert isinstance(Echo(), PrefixCaching) and not isinstance(object(), PrefixCaching)
    assert isinstance(ReadingEcho(), PrefixReading) and not isinstance(Echo(), PrefixReading)


class Length:
    """Scores by the length of what it reads."""

    def __init__(self) -> None:
        self.salts: list[str] = []

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        return tuple(map(ord, problem + "".join(each.text for each in (*history, step))))

    def score_one(self, ids: Ids, salt: str) -> float:
        self.salts.append(salt)
        return float(len(ids))


def test_a_scorer_reads_what_is_new_and_shares_nothing_with_the_next_question() -> None:
    length = Length()
    live, steps = PrefixCachedScorer(length), [AuthoredStep("draft", "ab"), AuthoredStep("target", "cd")]
    assert live.score_one(live.input_ids("question", [], steps[0])) == 10.0 and live.last_tokens == 10
    live.score_one(live.input_ids("question", steps[:1], steps[1]))
    assert live.last_tokens == 2
    live.score_one(live.input_ids("question", steps[:1], steps[1]))  # the last id is read again
    assert live.last_tokens == 1
    live.reset()
    live.score_one(live.input_ids("question", [], steps[0]))
    assert live.last_tokens == 10 and len(set(length.salts)) == 2 and length.salts[0] == length.salts[2]


def test_a_drafts_tokens_are_checked_by_the_engine_of_their_number_from_the_questions_own_cache() -> None:
    plain, four, eight = ReadingEcho(), Echo(), Echo()
    live = PrefixCachedChecker(plain, {4: four, 8: eight})
    prompt = live.prompt_ids("question")
    assert isinstance(live, TokenSpeculation) and live.can_check(live)
    assert live.check_whole(None, prompt, 9, 8).step == live.generate_whole(prompt, 9)
    assert live.check_one(None, prompt, 9, 8, ()) == CheckedStep(live.generate_one(prompt, 9), 0, 0.0)
    assert (len(four.salts), len(eight.salts)) == (0, 2) and len(set(eight.salts)) == 1
    live.reset()
    live.check_one(None, prompt, 9, 8, ())
    assert len(set(eight.salts)) == 2
