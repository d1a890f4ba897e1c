"""What the official client gets is what the live decoder writes, with who wrote it and why."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from arbitrage.config.policies import POLICIES as ENTRIES
from arbitrage.speculation.decoder import LiveSolution
from arbitrage.speculation.policies import POLICIES
from arbitrage.speculation.tree import Question
from tests.support.fakes import fake_decoder
from tests.support.served import MODEL, Served

PROBLEM = "What is 3 times 4?"


def alone(policy: str, threshold: float | None, problem: str = PROBLEM) -> LiveSolution:
    return fake_decoder(seed=7).solve(Question("live", problem), POLICIES[policy], threshold)


LONG = next(each for each in map("What is {}?".format, range(50)) if len(alone("target_only", None, each).steps) > 2)


def asked(problem: str = PROBLEM, **extra: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": problem}], "extra_body": extra}


@pytest.mark.parametrize("policy", ENTRIES)
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_a_reply_is_the_live_decoders_solution_step_by_step(server: Served, policy: str, threshold: float) -> None:
    solution = alone(policy, threshold)
    reply = server.openai().chat.completions.create(**asked(policy=policy, threshold=threshold))
    own: Any = reply.model_extra["arbitrage"]
    at = threshold if ENTRIES[policy].has_threshold else None
    assert reply.choices[0].message.content == solution.text
    assert (own["policy"], own["threshold"]) == (policy, at)
    assert own["acceptance"] == sum(step.author == "draft" for step in solution.steps) / len(solution.steps)
    assert own["steps"] == [
        {
            "author": step.author,
            "decision": "accept" if step.author == "draft" else "escalate",
            "score": step.policy_score,
            "threshold": at,
            "tokens": step.chosen.tokens,
            "text": step.chosen.text,
        }
        for step in solution.steps
    ]


def test_usage_counts_the_tokens_of_prompt_and_solution_and_by_model(server: Served) -> None:
    solution = alone("oracle", 0.1)
    reply = server.openai().chat.completions.create(**asked(policy="oracle", threshold=0.1))
    usage: Any = reply.usage
    assert usage.prompt_tokens == len(PROBLEM) + 1  # a token a character
    assert usage.completion_tokens == sum(step.chosen.tokens for step in solution.steps)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    drafts = [step.draft.tokens for step in solution.steps if step.draft]
    targets = [step.target.tokens for step in solution.steps if step.target]
    assert usage.by_model["draft"]["written"] == sum(drafts) and usage.by_model["target"]["written"] == sum(targets)
    assert sum(each["kept"] for each in usage.by_model.values()) == usage.completion_tokens


def test_a_stream_is_a_chunk_a_step_and_ends_with_the_summary_and_the_usage(server: Served) -> None:
    request = asked(policy="rsd", threshold=0.4)
    whole = server.openai().chat.completions.create(**request)
    chunks = list(
        server.openai().chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
    )
    *steps, last, usage = chunks
    assert [step.model_extra["arbitrage"]["step"] for step in steps] == whole.model_extra["arbitrage"]["steps"]
    assert "".join(step.choices[0].delta.content for step in steps) == whole.choices[0].message.content
    assert [step.choices[0].delta.role for step in steps] == ["assistant"] + [None] * (len(steps) - 1)
    assert [step.choices[0].finish_reason for step in steps] == [None] * len(steps)
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.model_extra["arbitrage"]["acceptance"] == whole.model_extra["arbitrage"]["acceptance"]
    assert (usage.choices, usage.usage) == ([], whole.usage)
    assert len({chunk.id for chunk in chunks}) == 1 and {chunk.model for chunk in chunks} == {MODEL}


def test_a_solution_that_did_not_end_by_itself_ends_by_length(server: Served) -> None:
    problems = [f"What is {number}?" for number in range(20)]
    reasons = set()
    for problem in problems:
        solution = alone("draft_only", None, problem)
        reply = server.openai().chat.completions.create(**asked(problem, policy="draft_only"))
        expected = "stop" if solution.steps[-1].chosen.finish_reason == "eos" else "length"
        assert reply.choices[0].finish_reason == expected
        reasons.add(expected)
    assert reasons == {"stop", "length"}


def test_the_clients_limit_of_tokens_holds(server: Served) -> None:
    whole = alone("target_only", None, LONG)
    first, *others = (step.chosen.text for step in whole.steps)
    assert others
    chat = server.openai().chat.completions
    one = chat.create(**asked(LONG, policy="target_only"), max_tokens=1)
    all_of_it = chat.create(**asked(LONG, policy="target_only"), max_completion_tokens=10**9)
    assert (one.choices[0].finish_reason, one.choices[0].message.content) == ("length", first)
    assert all_of_it.choices[0].message.content == whole.text


def test_the_last_user_message_is_the_question_in_parts_or_whole(server: Served) -> None:
    parts = [{"type": "text", "text": PROBLEM[:5]}, {"type": "text", "text": PROBLEM[5:]}]
    earlier = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": None, "refusal": "no"}]
    messages: Any = [*earlier, {"role": "user", "content": parts}]
    reply = server.openai().chat.completions.create(model=MODEL, messages=messages)
    assert reply.choices[0].message.content == alone("router", 0.5).text  # the server's policy and threshold


def test_many_at_once_get_what_each_gets_alone(server: Served) -> None:
    policies = [name for name in ENTRIES for _ in range(4)]
    requests = [asked(f"What is {number}?", policy=name, threshold=0.4) for number, name in enumerate(policies)]
    client = server.openai()
    with ThreadPoolExecutor(len(requests)) as threads:
        replies = list(threads.map(lambda each: client.chat.completions.create(**each), requests))
    for number, (name, reply) in enumerate(zip(policies, replies, strict=True)):
        assert reply.choices[0].message.content == alone(name, 0.4, f"What is {number}?").text
    assert server.idle()


def test_the_models_are_listed_with_what_they_can_be_asked(server: Served) -> None:
    client = server.openai()
    (model,) = client.models.list().data
    assert (model.id, model.object) == (MODEL, "model") and client.models.retrieve(MODEL) == model
    own: Any = model.model_extra["arbitrage"]
    assert own["policies"] == list(ENTRIES) and (own["policy"], own["threshold"]) == ("router", 0.5)


def test_metrics_count_requests_steps_tokens_and_batches(server: Served) -> None:
    def numbers() -> dict[str, float]:
        page = httpx2.get(f"{server.url}/metrics").text
        lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    before = numbers()
    reply: Any = server.openai().chat.completions.create(**asked(policy="oracle", threshold=0.1))
    after = numbers()
    grown = {name: after[name] - before.get(name, 0.0) for name in after}
    steps = reply.model_extra["arbitrage"]["steps"]
    assert grown['arbitrage_requests_total{outcome="completed"}'] == 1
    assert after["arbitrage_requests_running"] == 0
    for author in ("draft", "target"):
        written = reply.usage.by_model[author]["written"]
        assert grown[f'arbitrage_tokens_total{{model="{author}"}}'] == written > 0
        count = sum(step["author"] == author for step in steps)
        assert grown[f'arbitrage_steps_total{{author="{author}"}}'] == count
        assert grown[f'arbitrage_model_requests_total{{model="{author}"}}'] == len(steps)
    assert grown["arbitrage_request_seconds_count"] == 1
    assert httpx2.get(f"{server.url}/health").json() == {"status": "ok", "failing": [], "running": 0}
