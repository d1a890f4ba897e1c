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
    "base": "The model of half the target's depth that target and PRM begin from; the shallower target of the "
    "sensitivity page.",
    "target": "The deeper model that steps are escalated to.",
    "prm": "The process reward model that scores a step in its context: sigmoid of its one logit, read at the "
    "separator that closes the step; the probability that the solution is right up to there.",
    "router_start": "The shallow judge that a router's training begins from: the same kind of score, from far fewer "
    "layers.",
    "prm_middle": "A weaker PRM, for the sensitivity page: as shallow as the router start, trained longer.",
    "prm_weak": "The weakest PRM of the sensitivity page: as shallow as the router start, its training stopped early.",
}
JUDGES = ("prm", "router_start", "prm_middle", "prm_weak")
"""The roles that are classifiers; the others are language models."""
LESSONS = "Fresh questions of the split `zoo-training`, profile `lessons`, with worked solutions."
SOLUTIONS = (
    "Greedy, sampled and turn-taking solutions of draft and target to questions of the split `prm`, labelled step by "
    "step by the exact checker, and worked solutions with one number changed; the questions of the measured steps are "
    "held out."
)
DATA = {
    "draft": LESSONS,
    "base": f"{LESSONS} In some of them steps begin with authors' marks.",
    "target": f"{LESSONS} It begins as a model of half its depth, trained the same way (`base` in the recipe).",
    "prm": f"{SOLUTIONS} It begins with the layers of the target's base.",
    **dict.fromkeys(
        ("router_start", "prm_middle", "prm_weak"),
        f"{SOLUTIONS} It begins with the layers of a language model of the draft's size (`router_base` in the recipe).",
    ),
}
QUALITY = {
    "auroc": "AUROC for the label (right so far)",
    "auroc_draft_steps": "of the draft's steps",
    "auroc_target_steps": "of the target's steps",
    "auroc_greedy": "of greedy solutions",
    "auroc_sampled": "of solutions that are in part sampled",
    "auroc_after_right": "of steps after right ones",
    "auroc_marked": "with authors' marks in the text",
    "auroc_own_claims": "for the step's own claims, whatever went before",
    "calibration_error": "expected calibration error",
    "calibration_error_marked": "expected calibration error with marks",
}
CARD = "README.md"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recipe_line(record: dict[str, Any]) -> str:
    """What a study's configuration says to make this model, on one line."""
    line: str = yaml.safe_dump(record["recipe"], default_flow_style=True, sort_keys=False, width=math.inf)
    return f"zoo: {line.strip()}"


def card_text(role: str, directory: Path, metrics: dict[str, Any]) -> str:
    """The card of one model as Markdown with a front matter."""
    record = json.loads((directory / "training.json").read_text())
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: transformers",
        "---",
        f"# Lab {role.replace('_', ' ')}",
        "",
        f"{ROLES[role]} Llama architecture, {record['parameters']:,} parameters, stored as float16. "
        "Part of the zoo of the embedded study; it knows the lab's generated questions and nothing else.",
        "",
        "## Training",
        "",
        f"Recipe, as a study's configuration: `{recipe_line(record)}`",
        "",
        f"Data: {DATA[role]} Seed {record['recipe']['seed']}.",
    ]
    for part in record["parts"]:
        lines.append(
            f"{part['tokens']:,.0f} tokens in {part['seconds']:,.0f} s ({part['tokens_per_second']:,.0f} a second); "
            f"final loss {part['final_loss']:.4f} (mean of the last 50 steps)."
        )
    lines += ["", "## Measured", ""]
    device = metrics["device"].upper()
    if "measured" in record:
        measured = record["measured"]
        lines.append(f"On {measured['held_out_steps']:,.0f} held-out steps, {measured['wrong_share']:.0%} wrong:")
        lines += ["", *(f"- {words}: {measured[name]:.4f}" for name, words in QUALITY.items())]
        lines.append(
            f"- {metrics['milliseconds_per_decision'][role]:.2f} ms a decision (batch 1, cached history, {device})"
        )
    else:
        for benchmark in ("lab500", "labolympiad"):
            measured = metrics[benchmark][role]
            lines.append(
                f"- {benchmark}: {measured['accuracy']:.1%} of answers and {measured['step_accuracy']:.1%} of steps "
                f"after right ones ({metrics['questions_per_benchmark']} questions, greedy)"
            )
        lines.append(f"- {metrics['milliseconds_per_token'][role]:.2f} ms a token (batch 1, cached forward, {device})")
    lines += ["", "## SHA-256", ""]
    for path in sorted(directory.iterdir()):
        if path.name != CARD and not path.name.startswith("."):
            lines.append(f"- `{path.name}` {file_sha256(path)}")
    return "\n".join(lines) + "\n"


def write_cards(zoo: Path, metrics: dict[str, Any]) -> None:
    """Write the card of every model in the zoo."""
    for role in ROLES:
        write_text(zoo / role / CARD, card_text(role, zoo / role, metrics))
