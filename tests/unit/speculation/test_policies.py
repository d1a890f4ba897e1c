"""Each policy's score, from what its node has; and that a policy is one file and one entry."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from arbitrage.config import policies as registered
from arbitrage.config.load import ConfigError, validate_config
from arbitrage.config.models import Model
from arbitrage.config.pipeline import Sweep
from arbitrage.config.router import RouterKind
from arbitrage.config.study import Study
from arbitrage.engines.store.cached import StoredGenerator
from arbitrage.engines.store.step_store import StepStore
from arbitrage.figures import style
from arbitrage.speculation.continuous import Continuous
from arbitrage.speculation.forwarding import ForwardingGenerator
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.scalars import Signals
from arbitrage.speculation.scheduling import Lockstep
from arbitrage.speculation.steps import Author, GeneratedStep, Ids, Logprobs, State, lumped_entropy
from arbitrage.speculation.sweep import sweep
from arbitrage.speculation.tree import Node, Question
from arbitrage.stages.solve import refusal
from tests.support.fakes import QUESTIONS, fake_decoder, fake_models

NODE = Node(Question("q", "What is 3 + 4?"))
DRAFT = GeneratedStep("We add.\n\n", "separator", (-0.5, -2.0, -0.25), (1.5, 0.5, 0.25))


@dataclass
class Fixed:
    """A node where all is known; what is asked is noted."""

    step: GeneratedStep = DRAFT
    node: Node = NODE
    seed: int = 7
    read: Logprobs = (-0.25, -1.0, -0.5, -0.25)
    state: State = (0.5, -1.5)

    async def draft(self) -> GeneratedStep:
        return self.step

    async def target(self) -> GeneratedStep:
        return DRAFT

    async def target_logprobs(self) -> Logprobs:
        return self.read

    async def draft_state(self) -> State:
        return self.state

    async def prm_scores(self, *authors: Author) -> list[float]:
        return [{"draft": 0.25, "target": 0.875}[author] for author in authors]

    async def router_score(self) -> float:
        return 0.625

    async def scalar_score(self, kind: RouterKind, signals: Signals) -> float:
        return {
            ("scalars", Signals()): 0.125,
            ("scalars+prm", Signals(draft_score=0.25)): 0.25,
            ("scalars+target", Signals(target_logprobs=self.read)): 0.375,
            ("probe", Signals(draft_state=self.state)): 0.4375,
            ("scalars+probe", Signals(draft_state=self.state)): 0.5625,
        }[kind, signals]


@pytest.mark.parametrize(
    ("policy", "score"),
    [
        ("draft_only", None),
        ("target_only", None),
        ("rsd", 0.25),
        ("oracle", 0.625),
        ("router", 0.625),
        ("confidence", 1 - math.exp(-2.75 / 3)),
        ("first_token_entropy", 1.5),  # nats
        ("min_logprob", 1 - math.exp(-2.0)),
        ("target_likelihood", 1 - math.exp(-1.0)),
        ("target_mean_likelihood", 1 - math.exp(-0.5)),
        ("scalars", 0.125),
        ("scalars_prm", 0.25),
        ("scalars_target", 0.375),
        ("probe", 0.4375),
        ("scalars_probe", 0.5625),
    ],
)
def test_each_policy_scores_a_node_in_its_own_units(policy: str, score: float | None) -> None:
    assert asyncio.run(POLICIES[policy].score(Fixed())) == score


@pytest.mark.parametrize("policy", ["target_likelihood", "target_mean_likelihood"])
def test_likelihoods_lie_between_0_and_1_whatever_the_target_reads(policy: str) -> None:
    for read, score in (((), 0.0), ((0.0, 0.0), 0.0), ((-1.0, -math.inf), 1.0)):
        assert asyncio.run(POLICIES[policy].score(Fixed(read=read))) == score


@pytest.mark.parametrize("policy", ["target_likelihood", "target_mean_likelihood"])
def test_a_target_that_cannot_read_is_refused_before_anything_is_generated(policy: str, tmp_path: Path) -> None:
    models, decoder = fake_models(), fake_decoder(seed=7)
    stored = StoredGenerator(Writing(models.target), StepStore(tmp_path, "test"))
    for target in (Writing(models.target), stored):
        with pytest.raises(EngineError, match=rf"{policy}.* which Writing cannot; run the target with engine trans"):
            sweep(replace(models, target=target), QUESTIONS, [policy], seed=7)
    decoder = replace(decoder, target=Writing(decoder.target))  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="which Writing cannot"):
        decoder.solve(QUESTIONS[0], POLICIES[policy], 0.5)
    assert models.draft.calls == decoder.draft.calls == 0  # type: ignore[attr-defined]
    study = {
        "study": "s",
        "models": {"d": {"path": "a/b", "revision": "0" * 40, "engine": "openai"}, "t": {"path": "a/c"}},
        "pairs": {"p": {"draft": "d", "target": "t", "latency": False}},
        "prm": {"path": "a/d", "revision": "0" * 40},
        "benchmarks": {"lab500": {"source": "lab500"}},
        "sweep": {"policies": ["rsd", policy]},
    }
    for engine in ("transformers", "vllm"):
        study["models"]["t"] = {"path": "a/c", "revision": "0" * 40, "engine": engine}  # type: ignore[index]
        assert validate_config(study).sweep.policies == ["rsd", policy]
    study["models"]["t"]["engine"] = "openai"  # type: ignore[index]
    with pytest.raises(ConfigError, match=rf"models\.t\.engine: expected transformers or vllm.*{policy}.*got openai"):
        validate_config(study)


@pytest.mark.parametrize("policy", ["probe", "scalars_probe"])
def test_a_draft_without_hidden_states_is_refused_before_anything_is_generated(policy: str, tmp_path: Path) -> None:
    models, decoder = fake_models(), fake_decoder(seed=7)
    stored = StoredGenerator(Writing(models.draft), StepStore(tmp_path, "test"))
    for draft in (Writing(models.draft), stored):
        with pytest.raises(EngineError, match=rf"{policy}.*hidden states, which Writing does not give; run the draft"):
            sweep(replace(models, draft=draft), QUESTIONS, [policy], seed=7)
    with pytest.raises(EngineError, match="which Writing does not give"):
        live = replace(decoder, draft=Writing(decoder.draft))  # type: ignore[arg-type]
        live.solve(QUESTIONS[0], POLICIES[policy], 0.5)
    assert models.draft.calls == decoder.draft.calls == 0  # type: ignore[attr-defined]
    kind = POLICIES[policy].entry.router
    study: dict[str, Any] = {
        "study": "s",
        "models": {name: {"path": f"a/{name}", "revision": "0" * 40} for name in ("d", "t")},
        "pairs": {"p": {"draft": "d", "target": "t", "latency": False}},
        "prm": {"path": "a/p", "revision": "0" * 40},
        "benchmarks": {"lab500": {"source": "lab500"}},
        "router": {"variants": {"default": {}, "mine": {"kind": kind}}},
        "sweep": {"policies": ["rsd", policy]},
    }
    validated = validate_config(study)
    assert validated.reads_states("p") and refusal(validated, "p", policy) is None
    for engine in ("vllm", "openai"):
        models_of = study["models"] | {"d": study["models"]["d"] | {"engine": engine, "top_logprobs": 20}}
        told = rf"models\.d\.engine: expected transformers, as router\.variants\.mine is of kind .*; got {engine}, "
        with pytest.raises(ConfigError, match=told):
            validate_config(study | {"models": models_of})
        unchecked = Study.model_validate(study | {"models": models_of})
        assert f"engine {engine} does not give; set models.d.engine to transformers" in str(
            refusal(unchecked, "p", policy)
        )


class Writing(ForwardingGenerator[Any]):
    """A generator that only writes."""

    def generate_one(self, context: Ids, limit: int) -> GeneratedStep:
        return self.generator.generate_one(context, limit)  # type: ignore[no-any-return]

    def reset(self) -> None:
        self.generator.reset()


def test_another_threshold_or_policy_reads_nothing_anew(tmp_path: Path) -> None:
    models, store = fake_models(), StepStore(tmp_path, "test")
    draft, target = StoredGenerator(models.draft, store), StoredGenerator(models.target, store)
    stored = replace(models, draft=draft, target=target)
    whole = sweep(stored, QUESTIONS, ["target_likelihood"], seed=7)
    read, calls = models.target.reads, models.target.calls  # type: ignore[attr-defined]
    assert store.read_steps == target.read_steps == read > 0
    store.commit("chunk")
    again = StepStore(tmp_path, "test")
    stored = replace(models, draft=StoredGenerator(models.draft, again), target=StoredGenerator(models.target, again))
    for scheduler in (Lockstep, lambda models: Continuous(models, 5)):
        assert sweep(stored, QUESTIONS, ["target_likelihood"], seed=7, scheduler=scheduler) == whole
        sweep(stored, QUESTIONS, ["target_likelihood"], 7, {"target_likelihood": [0.25, 0.5]}, scheduler)
    assert (models.target.reads, models.target.calls) == (read, calls)  # type: ignore[attr-defined]
    assert (again.read_steps, again.generated_tokens) == (0, 0)
    sweep(stored, QUESTIONS, ["target_mean_likelihood"], seed=7)
    assert again.hits > 0


def test_random_is_a_number_of_seed_and_node() -> None:
    one = asyncio.run(POLICIES["random"].score(Fixed()))
    assert one is not None and 0 <= one < 1 and one == asyncio.run(POLICIES["random"].score(Fixed()))
    assert one != asyncio.run(POLICIES["random"].score(Fixed(seed=8)))


def test_an_engine_without_entropies_is_refused_with_the_key_and_the_remedy() -> None:
    bare = GeneratedStep("We add.\n\n", "separator", (-0.5,), None)
    with pytest.raises(EngineError, match=r"first_token_entropy.*set top_logprobs of the draft"):
        asyncio.run(POLICIES["first_token_entropy"].score(Fixed(bare)))
    study = {
        "study": "s",
        "models": {
            "d": {"path": "a/b", "revision": "0" * 40, "engine": "vllm"},
            "t": {"path": "a/c", "revision": "0" * 40},
        },
        "pairs": {"p": {"draft": "d", "target": "t", "latency": False}},
        "prm": {"path": "a/d", "revision": "0" * 40},
        "benchmarks": {"lab500": {"source": "lab500"}},
        "sweep": {"policies": ["rsd", "first_token_entropy"]},
    }
    with pytest.raises(ConfigError, match=r"models\.d\.top_logprobs: expected 1 to 20.*first_token_entropy"):
        validate_config(study)
    study["models"]["d"]["top_logprobs"] = 20  # type: ignore[index]
    assert validate_config(study).sweep.policies == ["rsd", "first_token_entropy"]
    assert Model(path="x").reports == {"logprobs", "entropies", "states"}
    assert Model(path="x", engine="openai").reports == {"logprobs"}


def test_entropy_of_the_most_likely_tokens_is_a_lower_bound() -> None:
    shares = [0.5, 0.2, 0.1, 0.1, 0.05, 0.05]
    exact = -sum(share * math.log(share) for share in shares)
    bounds = [lumped_entropy(map(math.log, shares[:count])) for count in range(1, len(shares) + 1)]
    assert bounds == pytest.approx(sorted(bounds)) and bounds[-1] == pytest.approx(exact)
    assert bounds[0] == pytest.approx(math.log(2)) and lumped_entropy([0.0]) == 0.0


def test_a_policy_is_one_file_and_one_entry() -> None:
    folder = Path(registered.__file__).parents[1] / "speculation" / "policies"
    files = {file.stem for file in folder.glob("*.py")} - {"__init__", "base"}
    assert files == set(registered.POLICIES) == set(POLICIES)
    assert set(style.COLOURS) == set(registered.POLICIES) and len(set(style.COLOURS.values())) == len(style.COLOURS)
    named = {"first_token_entropy", "min_logprob", "target_likelihood", "target_mean_likelihood"}
    named |= {"scalars", "scalars_prm", "scalars_target", "probe", "scalars_probe"}
    assert named <= set(style.drawn("main", "appendix"))
    assert not named & set(Sweep().policies)  # tables of studies stay as they were
    for name, policy in POLICIES.items():
        assert policy.name == name and (policy.entry.always is None) == policy.has_threshold
