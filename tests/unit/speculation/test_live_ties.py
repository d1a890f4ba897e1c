"""One text has one score: also where one model's step ends the solution and the other's goes on after the separator."""

from collections.abc import Sequence

from arbitrage.config.pipeline import Generation
from arbitrage.speculation.decoder import LiveDecoder
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.steps import GREEDY, GeneratedStep, Ids, Sampling
from tests.support.fakes import QUESTIONS, FakeGenerator, FakeScorer


class _SameWords(FakeGenerator):
    """Writes the same words whatever its name; only the draft ends the solution with them."""

    def _step(self, ids: Ids, sampling: Sampling = GREEDY) -> GeneratedStep:
        if self.identity == "draft":
            return GeneratedStep("We add.", "eos", (-0.1,), (0.1,))
        return GeneratedStep("We add.\n\n", "separator", (-0.1,), (0.1,))


class _LastBit(FakeScorer):
    """Scores a little higher at every reading, as arithmetic in another order may."""

    readings = 0

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        self.readings += len(inputs)
        return [0.5 + 1e-7 * self.readings for _ in inputs]


def test_a_step_that_only_ends_otherwise_has_no_advantage_live() -> None:
    """The PRM does not read the separator that closes a step, so both texts are one to it: the oracle accepts."""
    prm = _LastBit("prm")
    decoder = LiveDecoder(_SameWords("draft"), _SameWords("target"), prm, None, Generation(max_steps=4), 0)
    solution = decoder.solve(QUESTIONS[0], POLICIES["oracle"], 0.0)
    assert [step.author for step in solution.steps] == ["draft"]
    assert prm.readings == 1
