"""What every engine of PRM and router promises: the scores of plain forward passes, however they are asked for."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from arbitrage.config.models import Model
from arbitrage.config.study import Study
from arbitrage.engines import factory
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.factory import AnyScorer, live_scorer
from arbitrage.engines.scoring.skywork import convert_value_head
from arbitrage.engines.vllm.scorer import VllmScorer
from arbitrage.speculation.lane import Lane
from arbitrage.speculation.scheduling import Request
from arbitrage.speculation.steps import AuthoredStep, Ids, ScoreRequest
from tests.support.tiny_models import TWO_CLASSES, build_classifier
from tests.support.tiny_prms import PROBLEM, STEPS, build_value_head, prm_tokenizer

pytestmark = pytest.mark.timeout(300)
ENGINES = ["transformers", pytest.param("vllm", marks=pytest.mark.extra)]
KINDS = ["one label", "a label for every token", "value head", "router", "ordinal router", "the lab's"]
ORDINAL = {"classes": 4, "boundary": 2, "ordinal": True, "annotate": False, "separator": "\n\n"}
ZOO = Path("src/arbitrage/lab/zoo")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each kind, with attention heads of 32, as vLLM's build for CPUs wants them."""
    root = tmp_path_factory.mktemp("scorers")
    original = build_value_head(root / "skywork", prm_tokenizer(chat_template=None), bias=True, width=128)
    convert_value_head(resolve(original), root / "value")
    return {
        "one label": build_classifier(root / "one", "bpe", width=128),
        "a label for every token": build_classifier(root / "tokens", "bpe", head="token", labels=2, width=128),
        "value head": root / "value",
        "router": build_classifier(root / "router", labels=2, router=TWO_CLASSES, width=128),
        "ordinal router": build_classifier(root / "ordinal", labels=3, router=ORDINAL, width=128),
        "the lab's": ZOO / "router_start",
    }


@pytest.fixture(scope="module", params=ENGINES)
def opened(request: pytest.FixtureRequest, directories: dict[str, Path]) -> Iterator[Callable[[str], AnyScorer]]:
    """Opens the engine in turn on a checkpoint, by kind; the same one when asked again."""
    if request.param == "vllm" and importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM (docs/engines.md)")
    scorers: dict[str, AnyScorer] = {}

    def open_(kind: str) -> AnyScorer:
        if kind not in scorers:
            scorers[kind] = load(kind, directories[kind], request.param)
        return scorers[kind]

    yield open_
    for scorer in scorers.values():
        if isinstance(scorer, VllmScorer):
            scorer.close()


def load(kind: str, directory: Path, engine: str) -> AnyScorer:
    settings = {"engine": engine, "batch_size": 4} | ({"vllm": {"cache_gib": 0.0625}} if engine == "vllm" else {})
    study = Study.model_validate(
        {
            "study": "s",
            "models": {"m": Model(path="m").model_dump()},
            "pairs": {"p": {"draft": "m", "target": "m"}},
            "prm": {"path": str(directory), **settings},
            "router": settings,
            "benchmarks": {"b": {"source": "lab500"}},
        }
    )
    return factory.load_router(study, directory) if "router" in kind else factory.load_prm(study)


@pytest.fixture(params=KINDS)
def scorer(request: pytest.FixtureRequest, opened: Callable[[str], AnyScorer]) -> AnyScorer:
    return opened(str(request.param))


def inputs_of(scorer: AnyScorer) -> list[Ids]:
    """Three steps of two questions, one of which has a long beginning in common; and an input of a single step."""
    problems = [PROBLEM, "First we add. " * 12 + PROBLEM]
    found = [scorer.input_ids(problem, STEPS[:at], STEPS[at]) for problem in problems for at in range(3)]
    return [*found, scorer.input_ids(PROBLEM, [], AuthoredStep("draft", "7"))]


@torch.inference_mode()
def expected(scorer: AnyScorer, inputs: list[Ids]) -> list[float]:
    """Scores by whole forward passes of transformers' own classes, one input at a time."""
    directory = Path(scorer.name)
    checkpoint = resolve(directory)
    automatic: Any = (
        AutoModelForTokenClassification if "Token" in checkpoint.head else AutoModelForSequenceClassification
    )
    model = automatic.from_pretrained(directory, dtype=torch.float32).eval()
    found = []
    for ids in inputs:
        logits = model(torch.tensor([ids])).logits.reshape(-1, model.config.num_labels)[-1]
        if model.config.num_labels == 1:
            found.append(float(logits.sigmoid()[0]))
        elif model.config.num_labels == 2:
            found.append(float(logits.softmax(-1)[1]))
        else:  # ordinal, boundary 2: P(class > 1)
            found.append(float(logits.sigmoid()[1]))
    return found


def test_scores_are_those_of_plain_forward_passes_in_batches_and_alone_and_again(scorer: AnyScorer) -> None:
    inputs = inputs_of(scorer)
    plain = expected(scorer, inputs)
    assert max(plain) - min(plain) > 10 * TOLERANCE
    scorer.forget()
    for again in (inputs, inputs, inputs[::-1]):  # with and without prefixes that were kept
        wanted = [plain[inputs.index(ids)] for ids in again]
        assert scorer.score(again) == pytest.approx(wanted, abs=TOLERANCE)
    assert [scorer.score([ids])[0] for ids in inputs] == pytest.approx(plain, abs=TOLERANCE)


def test_under_the_continuous_scheduler_each_request_gets_its_own_score(scorer: AnyScorer) -> None:
    inputs = inputs_of(scorer)

    async def ask() -> list[float]:
        lane = Lane(scorer, "test")
        worker = asyncio.create_task(lane.work())
        requests = [Request("prm", ScoreRequest(ids), "q", (0, 0, 0), 0, (at,)) for at, ids in enumerate(inputs)]
        scores = await asyncio.gather(*map(lane.submit, requests))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        lane.close()
        return list(scores)

    assert asyncio.run(ask()) == pytest.approx(expected(scorer, inputs), abs=TOLERANCE)


def test_live_it_reads_what_is_new_and_everything_after_a_reset(scorer: AnyScorer) -> None:
    live, inputs = live_scorer(scorer), inputs_of(scorer)
    found, read = [], []
    for ids in inputs[3:6]:  # three steps of one question
        found.append(live.score_one(ids))
        read.append(live.last_tokens)
    assert found == pytest.approx(expected(scorer, inputs[3:6]), abs=TOLERANCE)
    assert read[0] == len(inputs[3]) and sum(read[1:]) < len(inputs[5])
    live.reset()
    live.score_one(inputs[3])
    assert live.last_tokens == len(inputs[3])


def test_what_is_too_long_is_shortened_and_counted(opened: Callable[[str], AnyScorer]) -> None:
    scorer = opened("one label")
    before, history = scorer.shortened, [AuthoredStep("draft", "Then x + x = 4." * 8)] * 40
    ids = scorer.input_ids(PROBLEM, history, STEPS[0])
    assert scorer.shortened == before + 1 and scorer.max_context - 100 < len(ids) <= scorer.max_context == 1024
    assert scorer.score([ids]) == pytest.approx(expected(scorer, [ids]), abs=TOLERANCE)


def test_engines_are_told_apart_by_identity(directories: dict[str, Path], opened: Callable[[str], AnyScorer]) -> None:
    here, other = opened("router"), load("router", directories["router"], "transformers")
    assert (here.identity == other.identity) == (not isinstance(here, VllmScorer))
