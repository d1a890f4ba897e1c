"""Sweep, plain decoding and live decoder on real models: the same trajectories at every threshold of a grid.

Scores are computed in fp32, in other batches by each of the three, so they agree to about 1e-7 and no further. Where a
score lies within ROUNDING of a threshold (two different steps with one score at tau = 0, say), either side is right.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from performance.plain import scores_of, steps_of
from safetensors.numpy import save_file

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router, RouterKind
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.hf.incremental import LiveGenerator, LiveScorer
from arbitrage.engines.scoring.scalar_router import ScalarRouter
from arbitrage.engines.scoring.scorers import PrmScorer, RouterScorer
from arbitrage.engines.store.cached import StoredGenerator, StoredScorer
from arbitrage.engines.store.step_store import StepStore
from arbitrage.speculation.algorithm1 import Trajectory
from arbitrage.speculation.continuous import Continuous
from arbitrage.speculation.decision import decide
from arbitrage.speculation.decoder import LiveDecoder
from arbitrage.speculation.pair import PairModels
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.policies.base import Policy
from arbitrage.speculation.protocols import ScalarScorer
from arbitrage.speculation.steps import AuthoredStep, GeneratedStep
from arbitrage.speculation.sweep import sweep
from arbitrage.speculation.tree import Node, Question
from tests.support.tiny_models import TWO_CLASSES, build_causal, build_classifier, router_from

ZOO = Path(__file__).resolve().parents[3] / "src" / "arbitrage" / "lab" / "zoo"
GRID = [round(0.1 * place, 1) for place in range(11)]  # the paper's
SEED = 5
# Those that read scalars are held against live decoding in test_sweep and stages/test_scalar_routers
COMPARED = [name for name, policy in POLICIES.items() if not policy.entry.reads_scalars or name == "probe"]
ROUNDING = 1e-6


@pytest.mark.models
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [2, pytest.param(50, marks=pytest.mark.extra)])
def test_on_the_shipped_models(tmp_path, count):
    """Questions of labolympiad, all policies; the router is the router start with a new head, not yet trained."""
    from arbitrage.lab.question_stream import benchmark_questions

    rows = benchmark_questions("labolympiad", count)
    questions = [Question(row["question_id"], row["problem"]) for row in rows]
    generation = Generation(max_steps=40, max_tokens=1024, max_step_tokens=64)
    router = router_from(ZOO / "router_start", tmp_path / "router", seed=0)
    models = _load(ZOO / "draft", ZOO / "target", ZOO / "prm", router, generation)
    _agree(*models, questions, generation, tmp_path, live_thresholds=1)


@pytest.mark.models
def test_a_rejected_step_that_the_target_agrees_with_leaves_the_draft_nothing_to_propose():
    from arbitrage.lab.question_stream import benchmark_questions

    engine = TransformersGenerator(resolve(ZOO / "draft"), Model(path=str(ZOO / "draft")), Generation())
    draft, target = LiveGenerator(engine), LiveGenerator(engine)
    (row,) = benchmark_questions("lab500", 1)
    context = target.prompt_ids(row["problem"])
    step = target.generate_one(context, 64)
    assert step.finish_reason == "separator"
    for rejected, proposed in ((target.step_ids(step.text), range(1)), ((), range(step.tokens - 2, step.tokens + 5))):
        checked = target.check_one(draft, context, 64, 4, rejected)
        assert checked.step.text == step.text
        assert checked.proposed in proposed


@pytest.mark.timeout(900)
def test_on_a_pair_whose_tokenizer_merges_across_step_boundaries(tmp_path):
    build_causal(tmp_path / "draft", "bpe", seed=3)
    build_causal(tmp_path / "target", "bpe", seed=4)
    build_classifier(tmp_path / "prm", "bpe")
    router = build_classifier(tmp_path / "router", "bpe", labels=2, router=TWO_CLASSES)
    questions = [Question(f"q{n}", f"First we add {n} and 4.\n\nWhat is it?") for n in range(8)]
    generation = Generation(max_steps=5, max_tokens=200, max_step_tokens=16)
    models = _load(tmp_path / "draft", tmp_path / "target", tmp_path / "prm", router, generation)
    _assert_merges(models[0])
    _agree(*models, questions, generation, tmp_path, live_thresholds=len(GRID))


def _assert_merges(generator: TransformersGenerator) -> None:
    """Encoding the joined text would give other ids: the case that matters here."""
    joined = generator.step_ids("a.\n\n" + "\nb")
    assert joined != generator.step_ids("a.\n\n") + generator.step_ids("\nb")


Models = tuple[TransformersGenerator, TransformersGenerator, PrmScorer, RouterScorer]


def _load(draft: Path, target: Path, prm: Path, router: Path, generation: Generation) -> Models:
    return (
        TransformersGenerator(resolve(draft), Model(path=str(draft)), generation),
        TransformersGenerator(resolve(target), Model(path=str(target)), generation),
        PrmScorer(resolve(prm), Prm(path=str(prm)), generation.separator),
        RouterScorer(resolve(router), Router()),
    )


def _agree(
    draft: TransformersGenerator,
    target: TransformersGenerator,
    prm: PrmScorer,
    router: RouterScorer,
    questions: list[Question],
    generation: Generation,
    folder: Path,
    live_thresholds: int,
) -> None:
    """Hold the sweep against plain decoding at every threshold, and against the live decoder at some of them.

    And against itself: another time, bit for bit; under the continuous scheduler, step by step.

    live_thresholds: how many thresholds of the grid a question and policy are decoded live at, another start each.
    """
    probes: dict[RouterKind, ScalarScorer] = {"probe": _probe(folder / "probe", draft.model.config.hidden_size)}
    plain = PairModels(draft, target, prm, router, generation, probes)
    stored = _stored(plain, folder / "one")
    swept = sweep(stored, questions, COMPARED, SEED)
    few = questions[:4]
    one = sweep(_stored(plain, folder / "two"), few, COMPARED, SEED)
    assert one == sweep(_stored(plain, folder / "three"), few, COMPARED, SEED)  # to the last bit
    at_once = sweep(_stored(plain, folder / "four"), few, COMPARED, SEED, scheduler=_continuous)
    decoder = LiveDecoder(
        LiveGenerator(draft), LiveGenerator(target), LiveScorer(prm), LiveScorer(router), generation, SEED, probes
    )
    escalations = compared = on_an_edge = 0
    for policy in map(POLICIES.__getitem__, COMPARED):
        for threshold in GRID if policy.has_threshold else [0.0]:
            ends = _plain(plain, questions, policy, threshold)
            for question, end in zip(questions, ends, strict=True):
                compared += 1
                if end.steps != _at(swept, question, policy, threshold).node.steps:
                    on_an_edge += 1
                    assert _hangs_on_rounding(stored, policy, end, threshold), (policy.name, threshold, question)
                escalations += sum(step.model == "target" for step in end.steps)
            for question in few:
                end = _at(at_once, question, policy, threshold).node
                compared += 1
                if end.steps != _at(swept, question, policy, threshold).node.steps:
                    on_an_edge += 1
                    assert _hangs_on_rounding(stored, policy, end, threshold), (policy.name, threshold, question)
        for place, question in enumerate(questions):
            for threshold in [GRID[(place + 3 * n) % len(GRID)] for n in range(live_thresholds)]:
                live = decoder.solve(question, policy, threshold)
                steps = [AuthoredStep(step.author, step.chosen.text) for step in live.steps]
                compared += 1
                if tuple(steps) != _at(swept, question, policy, threshold).node.steps:
                    on_an_edge += 1
                    assert _hangs_on_rounding(stored, policy, Node(question, tuple(steps)), threshold), policy.name
    assert escalations > 0
    assert on_an_edge <= 0.005 * compared, f"{on_an_edge} of {compared} solutions hang on rounding"


def _stored(plain: PairModels, folder: Path) -> PairModels:
    """The same models behind a store of their own, with nothing kept of earlier contexts."""
    assert plain.router is not None
    for engine in (plain.draft, plain.target, plain.prm, plain.router):
        engine.forget()  # type: ignore[attr-defined]
    store = StepStore(folder, "test")
    return PairModels(
        StoredGenerator(plain.draft, store),
        StoredGenerator(plain.target, store),
        StoredScorer(plain.prm, store),
        StoredScorer(plain.router, store),
        plain.generation,
        plain.scalar_routers,
    )


def _probe(folder: Path, width: int) -> ScalarRouter:
    """A probe that is not trained: a random direction."""
    folder.mkdir()
    form = {"kind": "probe", "network": "logistic", "loss": "weighted", "names": [], "state_width": width}
    (folder / "router.json").write_text(json.dumps(form))
    out = np.random.default_rng(SEED).normal(size=(1, width)) / width**0.5
    weights = {"mean": np.zeros(width), "scale": np.ones(width), "out.weight": out, "out.bias": np.zeros(1)}
    save_file(weights, folder / "model.safetensors")
    return ScalarRouter(folder)


def _continuous(models: PairModels) -> Continuous:
    return Continuous(models, 6)


def _at(swept: Sequence[Trajectory], question: Question, policy: Policy, threshold: float) -> Trajectory:
    (found,) = [t for t in swept if t.node.question == question and t.policy is policy and threshold in t.interval]
    return found


def _hangs_on_rounding(models: PairModels, policy: Policy, end: Node, threshold: float) -> bool:
    """Whether every decision that led to `end` is the sweep's own, or was taken within ROUNDING of the threshold."""
    node = Node(end.question)
    for step in end.steps:
        (score,) = _scores(models, policy, [node], steps_of(models, "draft", [node]))
        differs = decide(policy, score, threshold) != (step.model == "target")
        if differs and abs(score - threshold) > ROUNDING:
            return False
        node = node.child(step, "separator")
    return True


def _plain(models: PairModels, questions: list[Question], policy: Policy, threshold: float) -> list[Node]:
    """Decode all questions at one threshold, in lock-step and remembering nothing: where each ends."""
    nodes = {question: Node(question) for question in questions}
    while here := [node for node in nodes.values() if not models.bounds.finished(node)]:
        drafts = steps_of(models, "draft", here)
        ends = {node: ("draft", step) for node, step in zip(here, drafts, strict=True)}
        scores = _scores(models, policy, here, drafts)
        escalated = [node for node, score in zip(here, scores, strict=True) if decide(policy, score, threshold)]
        for node, step in zip(escalated, steps_of(models, "target", escalated), strict=True):
            ends[node] = ("target", step)
        for node, (author, step) in ends.items():
            nodes[node.question] = node.child(AuthoredStep(author, step.text), step.finish_reason)
    return list(nodes.values())


_AVERAGES = {"target_likelihood": min, "target_mean_likelihood": fmean}


def _read(models: PairModels, here: list[Node], drafts: list[GeneratedStep]) -> list[tuple[float, ...]]:
    """What the target reads of each draft step: its text, and the token that ends it."""
    inputs, starts = [], []
    for node, draft in zip(here, drafts, strict=True):
        context = models.contexts["target"].ids(node)
        end = models.target.end_ids if draft.finish_reason == "eos" else ()  # type: ignore[attr-defined]
        inputs.append(context + models.target.step_ids(draft.text) + end)
        starts.append(len(context))
    return models.target.read(inputs, starts)  # type: ignore[attr-defined,no-any-return]


def _scores(models: PairModels, policy: Policy, here: list[Node], drafts: list[GeneratedStep]) -> list[float]:
    """By the table of docs/method.md, without the policies' own code."""
    steps = [AuthoredStep("draft", step.text) for step in drafts]
    if policy.name == "rsd":
        return scores_of(models, "prm", here, steps)
    if policy.name == "router":
        return scores_of(models, "router", here, steps)
    if policy.name == "random":
        names = [repr((SEED, node.question.question_id, node.path)) for node in here]
        return [int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big") / 2**56 for name in names]
    if policy.name == "oracle":
        targets = [AuthoredStep("target", step.text) for step in steps_of(models, "target", here)]
        both = scores_of(models, "prm", here + here, steps + targets)
        pairs = enumerate(zip(steps, targets, strict=True))
        return [0.0 if a.text == b.text else both[len(here) + row] - both[row] for row, (a, b) in pairs]
    if policy.name == "probe":
        contexts = [models.contexts["draft"].ids(node) for node in here]
        inputs = [ids + models.draft.step_ids(step.text) for ids, step in zip(contexts, drafts, strict=True)]
        (probe,) = models.scalar_routers.values()
        return [probe.score_one(state) for state in models.draft.states(inputs)]  # type: ignore[attr-defined]
    if policy.entry.target_reads:
        return [1 - math.exp(_AVERAGES[policy.name](read)) for read in _read(models, here, drafts)]
    if policy.name == "first_token_entropy":
        return [step.entropies[0] if step.entropies else math.nan for step in drafts]
    if policy.name == "min_logprob":
        return [1 - math.exp(min(step.logprobs)) for step in drafts]
    return [1 - math.exp(step.mean_logprob) for step in drafts]
