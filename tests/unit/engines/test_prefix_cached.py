"""Live decoding over a prefix cache that is not ours: what is counted, and that questions share nothing."""

from __future__ import annotations

from arbitrage.engines.prefix_cached import PrefixCachedGenerator, PrefixCaching
from arbitrage.speculation.protocols import GeneratedStep, Ids


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
