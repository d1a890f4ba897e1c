"""A small simulated world that fills the tables as the pipeline does: for tests of what is computed from them.

A question is a chain of steps; each model writes the same step whenever it stands at the same node, right with its own
probability, and a step after a wrong one is hardly ever right again. Scores are noisy views of correctness. Each
policy's trajectories come from really splitting threshold intervals at the scores of the nodes it meets, so that
everything the evaluation assumes about the tables holds here too.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arbitrage.config.policies import DEFAULT_POLICIES
from arbitrage.io.tables import write_table

PAIRS = {"small": 0.85, "lowbit": 0.93}  # how often the draft's step is right after right steps
BENCHMARKS = {"lab500": (3, 8), "labolympiad": (6, 14)}  # steps of a question
SECONDS = {"draft": 0.001, "target": 0.005, "catch_up": 0.0002, "rsd": 0.002, "router": 0.003, "fixed": 0.01}
SECONDS |= {"target_likelihood": 0.004, "warm": 0.0005}
PROMPT_TOKENS = 40
ROUTER_WEIGHTS = 1500
SPECULATIVE = {4: 2.0, 8: 2.5}  # draft tokens a round: how many times as fast the target alone is
Node = tuple[str, ...]  # who wrote each step so far


def questions_of(benchmark: str, count: int) -> list[str]:
    return [f"{benchmark}-{number:04d}" for number in range(count)]


def _uniform(*key: object) -> float:
    """A number in (0, 1) that is always the same for the same key."""
    return (int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=6).digest(), "big") + 0.5) / 2**48


@functools.cache
def node(
    pair: str, benchmark: str, question: str, history: Node, right_so_far: bool, training: int = 0
) -> dict[str, Any]:
    """What both models write after `history`, their scores, and the policies' numbers; training: of the router."""
    where = (pair, benchmark, question, history)
    steps: dict[str, Any] = {}
    for model, skill in (("draft", PAIRS[pair]), ("target", 0.975)):
        # The models fail on the same hard steps: one draw decides for both.
        right = _uniform(benchmark, question, len(history)) < skill if right_so_far else _uniform(*where, model) < 0.05
        noise = 0.9 * math.log(1 / max(_uniform(*where, model, "noise"), 1e-9) - 1)
        score = 1 / (1 + math.exp(-((1.6 if right else -1.2) + noise)))
        steps[model] = {"right": right, "score": score, "tokens": 6 + int(10 * _uniform(*where, model, "tokens"))}
    if steps["draft"]["right"] and steps["target"]["right"] and _uniform(*where, "same") < 0.6:
        steps["target"] = dict(steps["draft"])  # the very same text has the very same score
    advantage = steps["target"]["score"] - steps["draft"]["score"]
    blur = _uniform(*where, "router") - 0.5 + 0.3 * training * (_uniform(*where, "training", training) - 0.5)
    steps["policies"] = {
        "rsd": steps["draft"]["score"],
        "oracle": advantage,
        "router": 1 / (1 + math.exp(-(3.0 * advantage - 0.6 + 2.5 * blur))),
        "random": _uniform(*where, "u"),
        "confidence": 0.6 * _uniform(*where, "c") + (0.0 if steps["draft"]["right"] else 0.25),
        "first_token_entropy": 2.0 * _uniform(*where, "entropy") + (0.0 if steps["draft"]["right"] else 0.5),
        "target_likelihood": 0.7 * _uniform(*where, "likely") + (0.0 if steps["draft"]["right"] else 0.29),
        "min_logprob": 0.8 * _uniform(*where, "lowest") + (0.0 if steps["draft"]["right"] else 0.15),
    }
    return steps


def solve(
    pair: str,
    benchmark: str,
    question: str,
    policy: str,
    decide: Callable[[float], bool] | None = None,
    training: int = 0,
) -> list[dict[str, Any]]:
    """All trajectories of a policy on a question: `steps`, `right`, and the interval [low, high) of thresholds.

    With `decide` (score → escalate?) the one trajectory of plain decoding at a threshold.
    """
    shortest, longest = BENCHMARKS[benchmark]
    length = shortest + int((longest - shortest + 1) * _uniform(benchmark, question, "length"))
    open_ends: list[tuple[list[dict[str, Any]], Node, bool, float, float]] = [([], (), True, -math.inf, math.inf)]
    done = []
    while open_ends:
        steps, history, right, low, high = open_ends.pop()
        if len(history) == length:
            done.append({"steps": steps, "right": right, "low": low, "high": high})
            continue
        here = node(pair, benchmark, question, history, right, training)
        score = here["policies"].get(policy)
        if decide is not None:
            parts = [(decide(score), low, high)]
        elif policy in ("draft_only", "target_only"):
            parts = [(policy == "target_only", low, high)]
        else:  # a score s exceeds exactly the thresholds below it; rsd accepts there, the others escalate
            below, above = (low, min(high, score)), (max(low, score), high)
            parts = [(policy != "rsd", *below), (policy == "rsd", *above)]
        for escalate, begin, end in parts:
            if begin < end:
                author = "target" if escalate else "draft"
                step = _step(here, author, policy, score, len(history) + 1 == length)
                open_ends.append(([*steps, step], (*history, author), right and here[author]["right"], begin, end))
    return sorted(done, key=lambda trajectory: trajectory["low"])


def _step(here: dict[str, Any], author: str, policy: str, score: float | None, last: bool) -> dict[str, Any]:
    asked = author == "target" or policy == "oracle"
    drafted = policy != "target_only"
    text = f"so ${here[author]['tokens']}$ is {'right' if here[author]['right'] else 'wrong'}"
    return {
        "model": author,
        "text": text if last else f"{text}\n\n",
        "draft_step": f"draft of {here['draft']['tokens']} tokens" if drafted else None,
        "draft_score": here["draft"]["score"] if drafted else None,
        "target_score": here["target"]["score"] if asked else None,
        "policy_score": score,
        "draft_tokens": here["draft"]["tokens"] if drafted else 0,
        "target_tokens": here["target"]["tokens"] if asked else 0,
        "finish_reason": "eos" if last else "separator",
    }


def trajectories(
    pair: str,
    benchmark: str,
    questions: int,
    policies: tuple[str, ...] = DEFAULT_POLICIES,
    trainings: int = 1,
) -> list[dict[str, Any]]:
    """Rows of the table `trajectories`, those of the router for each of its trainings."""
    return [
        {
            "study": "synthetic",
            "pair": pair,
            "benchmark": benchmark,
            "question_id": question,
            "policy": policy,
            "router_seed": training if policy == "router" else None,
            "threshold_low": found["low"],
            "threshold_high": found["high"],
            "prompt_tokens": PROMPT_TOKENS,
            "steps": found["steps"],
            "answer": "1" if found["right"] else None if _uniform(question, "lost") < 0.1 else "0",
            "correct": found["right"],
        }
        for question in questions_of(benchmark, questions)
        for policy in policies
        for training in range(trainings if policy == "router" else 1)
        for found in solve(pair, benchmark, question, policy, training=training)
    ]


def latency(
    pair: str, benchmark: str, questions: int, noise: float = 0.03, policies: tuple[str, ...] = ("rsd", "router")
) -> list[dict[str, Any]]:
    """Rows of the table `latency`: times made of SECONDS by what the decoder does, with relative noise."""
    settings: list[tuple[str, float | None]] = [("draft_only", None), ("target_only", None)]
    settings += [(policy, tau) for policy in policies for tau in (0.15, 0.3, 0.45, 0.6, 0.75)]
    rows = []
    for question in questions_of(benchmark, questions):
        for policy, tau in settings:
            steps = next(
                found["steps"]
                for found in solve(pair, benchmark, question, policy)
                if tau is None or found["low"] <= tau < found["high"]
            )
            rows.append(_timed(pair, benchmark, question, policy, tau, steps, noise))
            if tau is None:  # in one generation, which saves a tenth
                rows.append(rows[-1] | {"uninterrupted": True, "wall_s": 0.9 * rows[-1]["wall_s"]})
            if policy == "target_only":
                rows += [
                    rows[-1] | {"speculative_tokens": tokens, "wall_s": rows[-1]["wall_s"] / times}
                    for tokens, times in SPECULATIVE.items()
                ]
    return rows


def _timed(
    pair: str, benchmark: str, question: str, policy: str, tau: float | None, steps: list[dict[str, Any]], noise: float
) -> dict[str, Any]:
    unseen, catch_up, score_tokens = PROMPT_TOKENS, 0, PROMPT_TOKENS if tau is not None else 0
    warm = policy == "target_likelihood"  # the target reads all there is as it judges
    for number, step in enumerate(steps):
        if tau is not None:
            own = 1 if warm and step["target_tokens"] else step["target_tokens"]
            score_tokens += step["draft_tokens"] + (own if number + 1 < len(steps) else 0)
        if warm:
            continue
        if step["model"] == "target":
            catch_up, unseen = catch_up + unseen, 1  # the last token it wrote is not in its cache
        else:
            unseen += step["draft_tokens"]
    escalations = sum(step["model"] == "target" for step in steps)
    caught_up = SECONDS["catch_up"] * catch_up + SECONDS["warm"] * escalations * warm
    draft = SECONDS["draft"] * sum(step["draft_tokens"] for step in steps)
    target = SECONDS["target"] * sum(step["target_tokens"] for step in steps)
    score = SECONDS[policy] * len(steps) if tau is not None else 0.0
    factor = 1 + noise * (2 * _uniform(question, policy, tau, "clock") - 1)
    return {
        "study": "synthetic",
        "pair": pair,
        "benchmark": benchmark,
        "question_id": question,
        "policy": policy,
        "threshold": tau,
        "uninterrupted": False,
        "speculative_tokens": 0,
        "wall_s": factor * (SECONDS["fixed"] + draft + target + score + caught_up),
        "draft_s": draft * factor,
        "score_s": score * factor,
        "target_s": target * factor,
        "catch_up_s": caught_up * factor,
        "other_s": SECONDS["fixed"] * factor,
        "draft_tokens": sum(step["draft_tokens"] for step in steps),
        "target_tokens": sum(step["target_tokens"] for step in steps),
        "catch_up_tokens": catch_up,
        "score_calls": len(steps) if tau is not None else 0,
        "score_tokens": score_tokens,
        "steps": len(steps),
        "escalations": escalations,
    }


def heldout(
    variants: dict[str, float], questions: int, pair: str = "small", trainings: int = 1
) -> list[dict[str, Any]]:
    """Rows of the table `heldout`: a router score sees the advantage as clearly as its variant says (0: not at all)."""
    rows = []
    for (variant, clarity), training in itertools.product(variants.items(), range(trainings)):
        for question in questions_of("lab500", questions):
            for index, step in enumerate(
                solve(pair, "lab500", question, "oracle", lambda advantage: advantage > 0)[0]["steps"]
            ):
                advantage = (
                    step["target_score"] - step["draft_score"] if step["model"] == "target" else step["policy_score"]
                )
                noise = 2 * _uniform(variant, question, index, *([training] if training else [])) - 1
                rows.append(
                    {
                        "study": "synthetic",
                        "pair": pair,
                        "variant": variant,
                        "router_seed": training,
                        "question_id": question,
                        "step_index": index,
                        "advantage": advantage,
                        "label": int(advantage > 0),
                        "router_score": 1 / (1 + math.exp(-(clarity * advantage + 2 * noise))),
                        "draft_score": step["draft_score"],
                        "draft_confidence": 0.5 * _uniform(question, index, "confidence") + 0.2 * (advantage > 0),
                    }
                )
    return rows


def steps(pair: str, questions: int) -> list[dict[str, Any]]:
    """Rows of the table `steps`, those that `heldout` scores: the way along which the better step is chosen."""
    rows = []
    for question in questions_of("lab500", questions):
        history: list[dict[str, str]] = []
        solved = solve(pair, "lab500", question, "oracle", lambda advantage: advantage > 0)[0]["steps"]
        for index, step in enumerate(solved):
            advantage = step["policy_score"]
            rows.append(
                {"study": "synthetic", "pair": pair, "question_id": question, "problem": f"What is {question}?"}
                | {"step_index": index, "history": list(history), "draft_step": step["draft_step"]}
                | {"target_steps": [step["text"]], "draft_score": step["draft_score"]}
                | {"target_scores": [step["draft_score"] + advantage], "advantage": advantage}
                | {"label": int(advantage > 0), "draft_confidence": 0.2, "tokens_so_far": 0}
                | {"draft_logprobs": [-0.1] * step["draft_tokens"], "draft_entropies": None, "target_logprobs": None}
            )
            history.append({"model": step["model"], "text": step["text"]})
    return rows


def labelling_questions(questions: int) -> list[dict[str, Any]]:
    """Rows of the table `questions`: those of `steps`, in three families of which one is small."""
    return [
        {"study": "synthetic", "question_id": question, "source": ("chain", "sum", "rare")[min(number % 16 // 7, 2)]}
        | {"problem": f"What is {question}?", "solution": "", "answers": ["1"], "grading": "{}"}
        for number, question in enumerate(questions_of("lab500", questions))
    ]


def dataset_report(kind: str = "classifier", loss: str = "label", classes: int = 2) -> dict[str, Any]:
    """What `report.json` of a data set says that is shown: balanced for `label`, else with its natural shares."""
    tokens = {"p5": 20, "p50": 60, "p95": 120, "max": 200, "total": 0}
    if kind != "classifier":
        tokens = dict.fromkeys(tokens, 0)
    natural = [0.8 * 2 / classes] * (classes // 2) + [0.2 * 2 / classes] * (classes // 2)
    balanced = loss == "label"
    train = {"questions": 80, "examples": 400 if balanced else 1000, "tokens": tokens, "shares_before": natural}
    train["shares"] = [1 / classes] * classes if balanced else natural
    return {
        "kind": kind,
        "loss": loss,
        "labels": "advantage",
        "classes": classes,
        "boundary": classes // 2,
        "train": train,
        "validation": {"questions": 20, "examples": 250, "tokens": tokens, "shares": natural},
        "left_out": {"too_long_train": 30, "too_long_validation": 5, "ungraded": 0, "balance_or_cap": 600 * balanced},
    }


def write_world(
    folder: Path, questions: int = 40, timed: int = 12, pairs: tuple[str, ...] = tuple(PAIRS), trainings: int = 3
) -> dict[str, list[Path]]:
    """Write the tables of a whole study below `folder`; their paths by table. Latency: pair `small` only."""
    paths: dict[str, list[Path]] = {
        "trajectories": [],
        "latency": [folder / "latency" / "small.parquet"],
        "heldout": [],
    }
    timed_rows: list[dict[str, Any]] = []
    for pair in pairs:
        for benchmark in BENCHMARKS:
            path = folder / "trajectories" / pair / f"{benchmark}.parquet"
            write_table(path, "trajectories", trajectories(pair, benchmark, questions, trainings=trainings))
            paths["trajectories"].append(path)
            if pair == "small":
                timed_rows += latency(pair, benchmark, timed)
    write_table(paths["latency"][0], "latency", timed_rows)
    variants = {"default": 3.0, "four-class": 2.5, "four-class-ordinal": 2.4, "ten-class": 2.2}
    variants |= {"no-annotation": 1.0, "no-balance": 2.6, "scalars": 2.0}
    for variant, clarity in variants.items():
        path = folder / "router" / f"{variant}.parquet"
        write_table(path, "heldout", heldout({variant: clarity}, questions, trainings=trainings))
        paths["heldout"].append(path)
    router = folder / "router" / "small" / "default" / "seed-0" / "model"
    router.mkdir(parents=True)
    (router / "training.json").write_text(json.dumps({"parameters": ROUTER_WEIGHTS}))
    return paths
