"""The step tree: a node is a question plus the chosen steps so far, each with the model that wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from arbitrage.config.pipeline import Generation
from arbitrage.speculation.protocols import Prompting, Reading
from arbitrage.speculation.steps import AuthoredStep, FinishReason, GeneratedStep, Ids, ReadRequest


@dataclass(frozen=True, slots=True)
class Question:
    """What the models are asked."""

    question_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class Node:
    """A question and the chosen steps so far. `finish_reason` is the last step's; "separator" at the root."""

    question: Question
    steps: tuple[AuthoredStep, ...] = ()
    finish_reason: FinishReason = "separator"

    @property
    def path(self) -> tuple[tuple[str, str], ...]:
        """(model, text) of every step: with the question, the node's name."""
        return tuple((step.model, step.text) for step in self.steps)

    def child(self, step: AuthoredStep, finish_reason: FinishReason) -> Node:
        """The node after one more step."""
        return Node(self.question, (*self.steps, step), finish_reason)


class Contexts:
    """Token ids of nodes for one generator, each built from its parent's.

    The ids are the prompt's and the steps', separately encoded and concatenated (speculation/steps.py says why).
    Authors do not matter here: two nodes with the same texts have the same context.
    """

    def __init__(self, generator: Prompting) -> None:
        self.generator = generator
        self._ids: dict[str, dict[tuple[str, ...], Ids]] = {}  # by question, then by the texts of the steps

    def forget(self, question_id: str | None = None) -> None:
        """Drop what was built for one question, or for all."""
        if question_id is None:
            self._ids.clear()
        else:
            self._ids.pop(question_id, None)

    def ids(self, node: Node) -> Ids:
        """Prompt and steps of `node`, as the generator reads them."""
        return self._build(node.question, tuple(step.text for step in node.steps))

    def tokens_so_far(self, node: Node) -> int:
        """Tokens of the steps of `node`, the prompt not counted."""
        return len(self.ids(node)) - len(self._build(node.question, ()))

    def reading(self, node: Node, step: GeneratedStep) -> ReadRequest:
        """What a `Reading` generator reads of another's `step` at `node`.

        The ids of its text, which are those that the node after it has, and `end_ids` where it ended by `eos`. What
        does not fit into the model's context is not read.
        """
        end = cast(Reading, self.generator).end_ids if step.finish_reason == "eos" else ()
        ids = self._build(node.question, (*(each.text for each in node.steps), step.text)) + end
        return ReadRequest(ids[: self.generator.max_context - 1], len(self.ids(node)))

    def with_step(self, node: Node, text: str) -> Ids:
        """The ids of `node` and of one more step: the next node's. What does not fit the model's context is cut off."""
        return self._build(node.question, (*(each.text for each in node.steps), text))[: self.generator.max_context]

    def _build(self, question: Question, texts: tuple[str, ...]) -> Ids:
        ids = self._ids.setdefault(question.question_id, {})
        if texts not in ids:
            if texts:
                ids[texts] = self._build(question, texts[:-1]) + self.generator.step_ids(texts[-1])
            else:
                ids[texts] = self.generator.prompt_ids(question.problem)
        return ids[texts]


class Bounds:
    """When a solution ends: end of sequence, a step cut off by its limit, the limits on steps and tokens, or the end of
    a model's context.

    Tokens of a solution are counted in the draft's tokenizer, and it has to fit into both models' contexts, so that the
    end does not depend on the policy.
    """

    def __init__(self, generation: Generation, draft_contexts: Contexts, target_contexts: Contexts) -> None:
        self.generation = generation
        self._contexts = draft_contexts
        self._both = (draft_contexts, target_contexts)

    def step_limit(self, node: Node) -> int:
        """Tokens the next step may have; 0 or less where the solution, or a model's context, is full."""
        left = self.generation.max_tokens - self._contexts.tokens_so_far(node)
        room = min(contexts.generator.max_context - len(contexts.ids(node)) for contexts in self._both)
        return min(self.generation.max_step_tokens, left, room)

    def finished(self, node: Node) -> bool:
        """Whether no step may follow."""
        return (
            node.finish_reason != "separator"
            or len(node.steps) >= self.generation.max_steps
            or self.step_limit(node) < 1
        )

    def fits(self, question: Question) -> bool:
        """Whether its prompt leaves both models room for a first token; questions of which it does not are left out."""
        return not self.finished(Node(question))
