"""The lab's process reward model: trained on the checker's labels of both models' steps.

It starts from the target's first layers and is trained at every step of a solution at once; it is served as an ordinary
sequence classifier that reads the separator closing the step in question (score = sigmoid of its one logit).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from arbitrage.lab.batches import IGNORED, Batch, Document, group_by_length, pad_documents
from arbitrage.lab.checker import check_step
from arbitrage.lab.families import SEPARATOR
from arbitrage.lab.generation import context_ids, continue_texts, load_language_model, load_tokenizer, split_steps
from arbitrage.lab.question_stream import draw_questions
from arbitrage.lab.training import Schedule, optimise, write_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

HELD_OUT_SHARE = 0.1
MAX_STEPS = 30


@dataclass(frozen=True, slots=True)
class Judged:
    """A solution with the checker's verdict on each step, and who wrote each step (0 draft, 1 target)."""

    problem: str
    steps: tuple[str, ...]
    authors: tuple[int, ...]
    right: tuple[bool, ...]


def judge(problem: str, steps: Sequence[str], authors: Sequence[int]) -> Judged:
    """The checker's verdicts on a solution of at most MAX_STEPS steps."""
    kept = tuple(steps[:MAX_STEPS])
    right = tuple(check_step(problem, kept[:index], step) for index, step in enumerate(kept))
    return Judged(problem, kept, tuple(authors[: len(kept)]), right)


def write_judged(
    models: Sequence[Any], tokenizer: "PreTrainedTokenizerFast", questions: int, seed: int
) -> list[Judged]:
    """Solutions of `questions` questions of the prm split by (draft, target), in several manners each.

    Alone, greedily and sampled; and taking turns: one model goes on, from a random step, where another had begun,
    so that both are seen after right and after wrong steps of either.
    """
    stream = draw_questions("prm", seed, "training")
    problems = [next(stream).problem for _ in range(questions)]
    rng = Random(f"prm {seed}")
    judged: list[Judged] = []
    begun: list[tuple[list[str], list[int]]] = [([], []) for _ in problems]
    # (author, temperature, whether to go on where the last one is cut off)
    manners = ((0, 0.0, False), (1, 0.7, True), (0, 1.0, True), (1, 1.0, False), (0, 0.7, True), (1, 0.0, True))
    for number, (author, temperature, goes_on) in enumerate(manners):
        starts = []
        for steps, authors in begun:
            cut = rng.randint(0, max(0, len(steps) - 1)) if goes_on else 0
            starts.append((steps[:cut], authors[:cut]))
        contexts = [context_ids(tokenizer, problem, start[0]) for problem, start in zip(problems, starts, strict=True)]
        texts = continue_texts(models[author], tokenizer, contexts, temperature, seed=seed + number)
        begun = []
        for problem, start, text in zip(problems, starts, texts, strict=True):
            written = split_steps(text)[:MAX_STEPS]
            begun.append((start[0] + written, start[1] + [author] * len(written)))
            judged.append(judge(problem, *begun[-1]))
        print(f"manner {number + 1} of {len(manners)}: {len(judged)} solutions", flush=True)
    return judged


def encode_judged(tokenizer: "PreTrainedTokenizerFast", judged: Judged) -> Document:
    """Ids of a solution with every step closed, and labels (0 or 1) at the separators."""
    separator = tokenizer.convert_tokens_to_ids(SEPARATOR)
    ids = context_ids(tokenizer, judged.problem, judged.steps)
    places = [place for place, token in enumerate(ids) if token == separator]
    labels = [IGNORED] * len(ids)
    for place, right in zip(places, judged.right, strict=True):
        labels[place] = int(right)
    return ids, labels


def step_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The classifier's logit at every position, (documents, positions)."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits: torch.Tensor = model.score(hidden)[..., 0]
    return logits


def step_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Mean binary cross-entropy over the steps of a batch."""
    judged = batch.labels != IGNORED
    logits = step_logits(model, batch.ids)[judged].float()
    return binary_cross_entropy_with_logits(logits, batch.labels[judged].float())


def classifier_from(target: Any, layers: int) -> Any:
    """A one-logit sequence classifier that starts from the first `layers` layers of a language model."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    settings = target.config.to_dict() | {"num_hidden_layers": layers, "num_labels": 1}
    for key in ("architectures", "layer_types", "id2label", "label2id"):
        settings.pop(key, None)
    model = LlamaForSequenceClassification(LlamaConfig(**settings))
    own = model.state_dict()
    own.update({name: value for name, value in target.state_dict().items() if name in own})
    model.load_state_dict(own)
    return model


def epochs(documents: list[Document], pad: int, tokens_per_batch: int, seed: int) -> Iterator[Batch]:
    """Endless passes over the documents, in batches of similar length, shuffled anew each time."""
    groups = group_by_length(documents, tokens_per_batch)
    shuffle = torch.Generator().manual_seed(seed)
    while True:
        for index in torch.randperm(len(groups), generator=shuffle).tolist():
            yield pad_documents(groups[index], pad)


def area_under_curve(scores: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right step scores above a wrong one, ties counting half. NaN without both kinds."""
    values = torch.tensor(scores, dtype=torch.float64)
    truth = torch.tensor(right)
    wrong, good = values[~truth].sort().values, values[truth]
    if not len(wrong) or not len(good):
        return float("nan")
    below = torch.searchsorted(wrong, good, right=False) + torch.searchsorted(wrong, good, right=True)
    return float(below.double().mean() / 2 / len(wrong))


@torch.inference_mode()
def score_judged(model: Any, tokenizer: "PreTrainedTokenizerFast", judged: Sequence[Judged]) -> list[list[float]]:
    """The score in (0, 1) of every step of every solution."""
    scores = []
    for solution in judged:
        ids, labels = encode_judged(tokenizer, solution)
        logits = step_logits(model, torch.tensor([ids], device=model.device))[0]
        scores.append(torch.sigmoid(logits[torch.tensor(labels) != IGNORED]).tolist())
    return scores


def quality(model: Any, tokenizer: "PreTrainedTokenizerFast", judged: Sequence[Judged]) -> dict[str, float]:
    """AUROC for step correctness over all held-out steps, and by author of the step."""
    rows = [
        (score, author, right)
        for solution, scores in zip(judged, score_judged(model, tokenizer, judged), strict=True)
        for score, author, right in zip(scores, solution.authors, solution.right, strict=True)
    ]
    result = {"held_out_steps": float(len(rows)), "wrong_share": sum(not row[2] for row in rows) / len(rows)}
    for name, authors in (("auroc", (0, 1)), ("auroc_draft_steps", (0,)), ("auroc_target_steps", (1,))):
        chosen = [row for row in rows if row[1] in authors]
        result[name] = area_under_curve([row[0] for row in chosen], [row[2] for row in chosen])
    return result


def train_prm(
    draft: Path, target: Path, out: Path, layers: int, questions: int, schedule: Schedule, seed: int, device: str
) -> dict[str, float]:
    """Write solutions, judge them, train the PRM, write it to `out`; returns its quality on held-out questions."""
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(target)
    models = [load_language_model(draft, device), load_language_model(target, device)]
    judged = write_judged(models, tokenizer, questions, seed)
    held_problems = {solution.problem for solution in judged[: max(1, int(questions * HELD_OUT_SHARE))]}
    held_out = [solution for solution in judged if solution.problem in held_problems]
    training = [encode_judged(tokenizer, solution) for solution in judged if solution.problem not in held_problems]
    model = classifier_from(models[1], layers).to(device)
    batches = epochs(training, int(tokenizer.pad_token_id), schedule.tokens_per_batch, seed)
    measured: dict[str, Any] = dict(optimise(model, batches, step_loss, schedule, device))
    measured |= quality(model, tokenizer, held_out)
    steps = sum(len(solution.steps) for solution in judged)
    record = {"seed": seed, "layers": layers, "questions": questions, "judged_steps": steps}
    record |= {"parameters": model.num_parameters(), **asdict(schedule), **measured}
    write_model(out, model, tokenizer, record)
    print(json.dumps(measured, indent=2))
    return measured
