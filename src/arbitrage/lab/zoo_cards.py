"""Model cards of the zoo, written from what training and evaluation measured."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import yaml

from arbitrage.io.atomic import write_text

ROLES = {
    "draft": "The small model that proposes each step.",
    "target": "The deeper model that steps are escalated to.",
    "prm": "The process reward model that scores a step in its context: sigmoid of its one logit, "
    "read at the separator that closes the step.",
}
DATA = {
    "draft": "Fresh questions of the split `zoo-training`, profile `training`; no question is repeated on purpose.",
    "target": "Fresh questions of the split `zoo-training`, profile `training`; no question is repeated on purpose.",
    "prm": "Greedy, sampled and turn-taking solutions of draft and target to questions of the split `prm`, "
    "labelled step by step by the exact checker; a tenth of the questions is held out.",
}
CARD = "README.md"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recipe(role: str, record: dict[str, Any]) -> str:
    """What a study's configuration says to train this model, or its last part, from its training record."""
    if role == "prm":
        names = ("layers", "questions", "steps", "tokens_per_batch", "learning_rate")
        zoo = {role: {name: record[name] for name in names}}
    else:
        shape = dict(zip(("width", "layers", "heads", "inner"), record["shape"], strict=True))
        size = shape | {name: record[name] for name in ("steps", "learning_rate")}
        zoo = {"tokens_per_batch": record["tokens_per_batch"], role: size}
    zoo = {"seed": record["seed"], **zoo}
    line: str = yaml.safe_dump(zoo, default_flow_style=True, sort_keys=False, width=math.inf)
    return f"zoo: {line.strip()}"


def earlier_training(record: dict[str, Any]) -> list[str]:
    """Lines on the run whose weights this training went on from, if there was one."""
    before = record.get("before")
    if before is None:
        return []
    return [
        f"That is the second of two parts; the first had {before['steps']} steps with seed {before['seed']} and "
        f"learning rate {before['learning_rate']}{'; ' + before['note'] if 'note' in before else ''}. "
        "`make zoo` trains a model of the same kind from nothing, in one part.",
        "",
    ]


def card_text(role: str, directory: Path, metrics: dict[str, Any]) -> str:
    """The card of one model as Markdown with a front matter."""
    record = json.loads((directory / "training.json").read_text())
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: transformers",
        "---",
        f"# Lab {role}",
        "",
        f"{ROLES[role]} Llama architecture, {record['parameters']:,} parameters, fp32. "
        "Part of the zoo of the embedded study; it knows the lab's generated questions and nothing else.",
        "",
        "## Training",
        "",
        f"Recipe, as a study's configuration: `{recipe(role, record)}`",
        "",
        *earlier_training(record),
        f"Data: {DATA[role]} Seed {record['seed']}.",
        f"{record['tokens']:,.0f} tokens in {record['seconds']:,.0f} s; final loss {record['final_loss']:.4f} "
        f"({'nats a judged step' if role == 'prm' else 'nats a learned token'}, mean of the last 50 steps).",
        "",
        "## Measured",
        "",
    ]
    if role == "prm":
        for name in ("auroc", "auroc_draft_steps", "auroc_target_steps"):
            lines.append(f"- {name}: {record[name]:.4f} on {record['held_out_steps']:,.0f} held-out steps in all")
    else:
        for benchmark in ("lab500", "labolympiad"):
            measured = metrics[benchmark][role]
            lines.append(
                f"- {benchmark}: {measured['accuracy']:.1%} of answers and {measured['step_accuracy']:.1%} of steps "
                f"after right ones ({metrics['questions_per_benchmark']} questions, greedy)"
            )
        lines.append(f"- {metrics['milliseconds_per_token'][role]:.2f} ms a token (batch 1, cached forward, CPU)")
    lines += ["", "## SHA-256", ""]
    for path in sorted(directory.iterdir()):
        if path.name != CARD and not path.name.startswith("."):
            lines.append(f"- `{path.name}` {file_sha256(path)}")
    return "\n".join(lines) + "\n"


def write_cards(zoo: Path, metrics: dict[str, Any]) -> None:
    """Write the card of every model in the zoo."""
    for role in ROLES:
        write_text(zoo / role / CARD, card_text(role, zoo / role, metrics))
