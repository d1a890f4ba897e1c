"""The model cards of a bundle: of each router what a card on the hub says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from arbitrage.config.router import Labels
from arbitrage.config.study import Study
from arbitrage.io.csv_tables import read_csv
from arbitrage.publishing.check_records import named_code
from arbitrage.runtime.paths import REPORT, StudyPaths

FORESEEN: dict[Labels, str] = {
    "advantage": "would be scored higher",
    "lookahead": "would lead to a right answer, and the draft's to a wrong one",
}
SETTINGS = ("loss", "learning_rate", "batch_size", "epochs", "warmup_share", "weight_decay", "bf16", "optimizer")
LOADING = """\
from arbitrage.speculation.steps import AuthoredStep
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.scoring.scorers import RouterScorer
from arbitrage.config.router import Router

router = RouterScorer(resolve("{name}"), Router())
step = AuthoredStep("draft", "3 + 4 = 7{separator}")
print(router.score([router.input_ids("What is (3 + 4) * 5?", [], step)]))  # escalate where it is above the threshold
"""
SCALARS_LOADING = """\
from arbitrage.engines.scoring.scalar_router import ScalarRouter

router = ScalarRouter("{name}")
print(router.names)  # docs/routers.md says what they are
print(router.score_one([0.0] * router.format.width))  # escalate where it is above the threshold
"""


def router_card(folder: Path, study: Study, name: str, record: Mapping[str, Any]) -> str:
    """Model card of the router in `<folder>/<name>`.

    study: with no absolute path in it; name: `router/<pair>/<variant>/model`; record: its provenance.
    """
    from huggingface_hub import ModelCardData

    _, pair, variant, _, _ = name.split("/")
    training = json.loads((folder / name / "training.json").read_text(encoding="utf-8"))
    form = json.loads((folder / name / "router.json").read_text(encoding="utf-8"))
    settings = study.router.variants[variant]
    told = (
        _of_classifier(study, name, training, form, settings.labels)
        if settings.kind == "classifier"
        else _of_scalars(name, training, form, settings.labels)
    )
    data = ModelCardData(**told.data, tags=["arbitrage", "speculative-decoding", "step-router"])
    lines = [
        f"---\n{data.to_yaml()}\n---",
        f"# Router of {pair} (study {study.study})",
        "",
        *told.purpose,
        "It is meant for these two models, and knows no others:",
        "",
        f"- draft: {model_in_words(study, study.pairs[pair].draft)}",
        f"- target: {model_in_words(study, study.pairs[pair].target)}",
        "",
        *told.start,
        "## Data",
        "",
        *_data(folder, study, name, settings.labels),
        "",
        "## Training",
        "",
        f"{training['examples']:,} examples, {training['updates']:,} updates, seed {training['seed']}, "
        f"{training['parameters']:,} parameters; "
        + ", ".join(f"{key} {training[key]}" for key in SETTINGS if key in training)
        + ".",
        "",
        "## Quality, on held-out questions",
        "",
        *_quality(folder, study, pair, variant),
        "",
        "## Loading",
        "",
        *told.loading,
        "",
        "## Provenance",
        "",
        f"Study {record['study_hash']}, arbitrage {named_code(record['code'])}, {record['started']} to "
        f"{record['ended']} on "
        f"{record['hardware']['cpu']}{''.join(f', {gpu}' for gpu in record['hardware']['gpus'])}. sha256 of the "
        f"directory, without this card: `{record['sha256']}`.",
        "",
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Told:
    """What a card says of a kind of router: its metadata, and paragraphs."""

    data: dict[str, Any]
    purpose: list[str]
    start: list[str]
    loading: list[str]


def _of_classifier(
    study: Study, name: str, training: Mapping[str, Any], form: Mapping[str, Any], labels: Labels
) -> _Told:
    start, revision = study.router_init
    licence = licence_of(training["init"], training["revision"])
    metadata = {
        "license": licence,
        "base_model": start if revision else None,
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
    }
    purpose = (
        "Foresees, from a problem, the steps so far and the draft model's next step, whether the target model's step "
        f"{FORESEEN[labels]} (arXiv 2512.05033). Its number is the probability of that; a step is escalated "
        "to the target where it is above a threshold."
    )
    loading = (
        "An ordinary sequence-classification checkpoint in safetensors. `router.json` says how to read it: "
        f"{form['classes']} classes, of which {form['boundary']} and above mean an advantage"
        f"{'; ordinal' if form['ordinal'] else ''}; "
        f"{'each step is tagged by who wrote it' if form['annotate'] else 'steps have no tags'}. The score is read at "
        "the last token, a separator's. With the package `arbitrage`:"
    )
    separator = form["separator"].encode("unicode_escape").decode()
    derived = (
        f"{pinned(start, revision)}, with a new classification head. Licence of the start: "
        f"{licence or 'not known here'}; what is derived from it is bound by it."
    )
    return _Told(
        metadata,
        [purpose],
        ["## Trained from", "", derived, ""],
        [loading, "", f"```python\n{LOADING.format(name=name, separator=separator)}```"],
    )


def _of_scalars(name: str, training: Mapping[str, Any], form: Mapping[str, Any], labels: Labels) -> _Told:
    names, width = form["names"], form.get("state_width", 0)
    scalars = f"{len(names)} scalars ({', '.join(names)})" if names else ""
    state = f"the draft's hidden state of {width} numbers (last layer, last token of the step)" if width else ""
    purpose = (
        "Foresees, from what the draft model makes of its next step, whether the target "
        f"model's step {FORESEEN[labels]}. It reads {', then '.join(filter(None, (scalars, state)))}, "
        f"was trained with the loss `{form['loss']}`, and its number lies in (0, 1); a step is escalated to the target "
        "where that is above a threshold."
    )
    loading = (
        f"model.safetensors holds mean and scale of what it reads and the weights of "
        f"{'one hidden layer and ' if form['network'] == 'mlp' else ''}a logit; `router.json` names the scalars in "
        "their order. With the package `arbitrage`, in numpy:"
    )
    return _Told(
        {"library_name": "arbitrage"},
        [purpose],
        [],
        [loading, "", f"```python\n{SCALARS_LOADING.format(name=name)}```"],
    )


def _data(folder: Path, study: Study, name: str, labels: Labels) -> list[str]:
    """What the router was trained and held out on."""
    report = json.loads((folder / name).parents[1].joinpath("dataset", REPORT).read_text(encoding="utf-8"))
    questions = study.questions
    source = questions.path or questions.hub
    train, validation = report["train"], report["validation"]
    judged = f"scored by {pinned(study.prm.path, study.prm.revision)}"
    if labels == "lookahead":
        judged = "judged by the answers to which the target goes on from either"
    return [
        f"- questions: {pinned(source, questions.revision) if source else 'generated by the lab'}, "
        f"{questions.sample:,} asked for, none of them in a benchmark of the study",
        f"- labels: both models' next steps in the same context, {judged}",
        f"- training: {train['examples']:,} steps of {train['questions']:,} questions"
        f"{', balanced' if report['balance'] else ''}; before, the classes' shares were "
        f"{_shares(train['shares_before'])}",
        f"- held out: {validation['examples']:,} steps of {validation['questions']:,} other questions; "
        f"the classes' shares are {_shares(validation['shares'])}",
    ]


def _quality(folder: Path, study: Study, pair: str, variant: str) -> list[str]:
    """The router's row of quality.csv, and those of the rankings that need no training."""
    table = read_csv(StudyPaths(folder).router_quality)
    rows = table[(table["pair"] == pair) & ((table["ranking"] == variant) | ~table["trained"])]
    lines = ["| ranking | rho with the advantage | accuracy on label 0 | on label 1 | steps |", "|---|---|---|---|---|"]
    for row in rows.to_dict("records"):
        metrics = (
            "" if pd.isna(row[key]) else f"{row[key]:.3f} [{row[f'{key}_low']:.3f}, {row[f'{key}_high']:.3f}]"
            for key in ("rho", "accuracy_0", "accuracy_1")
        )
        ranking = f"mean of {row['trainings']} trainings, this one among them" if row["trained"] else row["ranking"]
        lines.append(f"| {ranking} | {' | '.join(metrics)} | {row['steps']:,} |")
    return [*lines, "", f"In brackets: {study.curves.confidence:.0%} intervals, over questions and trainings."]


def licence_of(path: str, revision: str | None) -> str | None:
    """The licence that the card of a checkpoint names: in its directory, or in the hub's cache; None where unknown."""
    from huggingface_hub import metadata_load, try_to_load_from_cache

    card: object = Path(path) / "README.md"
    if not Path(path).is_dir():
        card = try_to_load_from_cache(path, "README.md", revision=revision) if path.count("/") == 1 else None
    if not isinstance(card, str | Path) or not Path(card).is_file():
        return None
    licence = (metadata_load(card) or {}).get("license")
    return str(licence) if licence else None


def model_in_words(study: Study, name: str) -> str:
    """A model in words."""
    model = study.models[name]
    if model.quantise:
        recipe = model.quantise
        size = recipe.gguf_type or f"{recipe.bits} bits"
        return f"{name}, {size} ({recipe.method}) of {model_in_words(study, recipe.model)}"
    return f"{pinned(str(model.path), model.revision)}, {model.dtype}"


def pinned(path: str, revision: str | None) -> str:
    return f"`{path}`" + (f" at revision `{revision}`" if revision else "")


def _shares(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.1%}" for share in shares)
