"""The step tree: a node is a question plus the chosen steps so far, each with the model that wrote it."""

from __future__ import annotations

from dataclasses import dataclass

from arbitrage.config.pipeline import Generation
from arbitrage.speculation.protocols import AuthoredStep, FinishReason, Ids, Prompting


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

    The ids are the prompt's and the steps', separately encoded and concatenated (speculation/protocols.py says why).
    Authors do not matter here: two nodes with the same texts have the same context.
    """

    def __init__(self, generator: Prompting) -> None:
        self.generator = generator
        self._ids: dict[tuple[str, tuple[str, ...]], Ids] = {}

    def ids(self, node: Node) -> Ids:
        """Prompt and steps of `node`, as the generator reads them."""
        return self._build(node.question, tuple(step.text for step in node.steps))

    def tokens_so_far(self, node: Node) -> int:
        """Tokens of the steps of `node`, the prompt not counted."""
        return len(self.ids(node)) - len(self._build(node.question, ()))

    def _build(self, question: Question, texts: tuple[str, ...]) -> Ids:
        key = (question.question_id, texts)
        if key not in self._ids:
            if texts:
                self._ids[key] = self._build(question, texts[:-1]) + self.generator.step_ids(texts[-1])
            else:
                self._ids[key] = self.generator.prompt_ids(question.problem)
        return self._ids[key]


class Bounds:
    """When a solution ends: end of sequence, a step cut off by its limit, or the limits on steps and tokens.

    Tokens of a solution are counted in the draft's tokenizer, so that the end does not depend on the policy.
    """

    def __init__(self, generation: Generation, draft_contexts: Contexts) -> None:
        self.generation = generation
        self._contexts = draft_contexts

    def step_limit(self, node: Node) -> int:
        """Tokens the next step may have; 0 or less where the solution is full."""
        left = self.generation.max_tokens - self._contexts.tokens_so_far(node)
        return min(self.generation.max_step_tokens, left)

    def finished(self, node: Node) -> bool:
        """Whether no step may follow."""
        return (
            node.finish_reason != "separator"
            or len(node.steps) >= self.generation.max_steps
            or self.step_limit(node) < 1
        )
