"""Models made of hashes: they write short texts and score them, deterministically, without torch."""

import hashlib
import math
from collections.abc import Sequence

from arbitrage.config.pipeline import Generation
from arbitrage.config.router import RouterKind, Variant
from arbitrage.speculation.decoder import LiveDecoder
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.scalars import SIGNALS, names_of
from arbitrage.speculation.steps import GREEDY, AuthoredStep, GeneratedStep, Ids, Logprobs, Sampling, State
from arbitrage.speculation.tree import Question

GENERATION = Generation(max_steps=6, max_tokens=200, max_step_tokens=20)
STATE_WIDTH = 3
QUESTIONS = [Question(f"q{number}", f"What is {number}?") for number in range(12)]


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


class FakeGenerator:
    """Writes one of a few words a context, so that two models often agree; ends by and by. One id a character.

    What it reads is as likely as a hash of the ids before says.
    """

    end_ids = (0,)

    def __init__(self, name: str, words: int = 3) -> None:
        self.identity, self.words, self.calls, self.reads = name, words, 0, 0
        self.max_context = 2**20
        self.last_prefill_s, self.last_prefill_tokens = 0.0, 0

    def prompt_ids(self, problem: str) -> Ids:
        return tuple(map(ord, problem + "\n"))

    def step_ids(self, text: str) -> Ids:
        return tuple(map(ord, text))

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        assert all(limit > 0 for limit in limits)
        return [self._step(ids, sampling) for ids in contexts]

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        return self._step(context, GREEDY)

    def read(self, inputs: Sequence[Ids], starts: Sequence[int]) -> list[Logprobs]:
        return [self.read_one(ids, start) for ids, start in zip(inputs, starts, strict=True)]

    def read_one(self, ids: Ids, start: int) -> Logprobs:
        assert 0 < start < len(ids)
        self.reads += 1
        return tuple(-(_hash(self.identity, "read", ids[: at + 1]) % 64) / 64 for at in range(start, len(ids)))

    def states(self, inputs: Sequence[Ids]) -> list[State]:
        return [self.state_one(ids) for ids in inputs]

    def state_one(self, ids: Ids) -> State:
        self.reads += 1
        return tuple(_hash(self.identity, "state", ids, place) % 64 / 16 - 2 for place in range(STATE_WIDTH))

    def reset(self) -> None:
        pass

    def _step(self, ids: Ids, sampling: Sampling) -> GeneratedStep:
        self.calls += 1
        seed = (ids, self.identity) if sampling.temperature else (ids, self.identity, "greedy")
        pick = _hash(*seed, sampling.sample) % self.words
        ends = _hash(ids, pick) % 4 == 0
        text = f"step {pick}" + ("" if ends else "\n\n")
        logprobs = tuple(-(_hash(*seed, at) % 1024) / 512 - 2**-10 for at in range(1 + len(text) // 4))
        entropies = tuple(_hash(*seed, at, "entropy") % 64 / 16 for at in range(len(logprobs)))
        return GeneratedStep(text, "eos" if ends else "separator", logprobs, entropies)


class FakeScorer:
    """A score in (0, 1) hashed from the input; few distinct values, so that ties occur."""

    def __init__(self, name: str, levels: int = 40, authors: bool = False) -> None:
        self.identity, self.levels, self.authors, self.last_tokens = name, levels, authors, 0

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        tags = tuple(item.model for item in (*history, step)) if self.authors else ()
        return (_hash(problem, tuple(item.text for item in (*history, step)), tags),)

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        return [(1 + _hash(self.identity, ids) % (self.levels - 1)) / self.levels for ids in inputs]

    def score_one(self, ids: Ids) -> float:
        return self.score([ids])[0]

    def reset(self) -> None:
        pass


class FakeScalarRouter:
    """A score in (0, 1) hashed from the scalars and the state."""

    def __init__(self, kind: RouterKind) -> None:
        self.names = names_of(kind, entropies=True)
        self.width = len(self.names) + STATE_WIDTH * Variant(kind=kind).reads_states

    def score_one(self, values: Sequence[float]) -> float:
        assert len(values) == self.width and all(map(math.isfinite, values))
        return (1 + _hash(self.names, tuple(values)) % 39) / 40


def fake_scalar_routers() -> dict[RouterKind, FakeScalarRouter]:
    return {kind: FakeScalarRouter(kind) for kind in ("probe", *SIGNALS)}


def fake_models() -> PairModels:
    return PairModels(
        FakeGenerator("draft"),
        FakeGenerator("target"),
        FakeScorer("prm"),
        FakeScorer("router", authors=True),
        GENERATION,
        fake_scalar_routers(),
    )


def fake_decoder(seed: int) -> LiveDecoder:
    return LiveDecoder(
        FakeGenerator("draft"),
        FakeGenerator("target"),
        FakeScorer("prm"),
        FakeScorer("router", authors=True),
        GENERATION,
        seed,
        fake_scalar_routers(),
    )
