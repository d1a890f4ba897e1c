# ruff: noqa: N999 - the paper's own name
"""Table C.1: hyper-parameters of the router's training, ours beside the paper's."""

from pathlib import Path

import pandas as pd

from arbitrage.config.study import Study
from arbitrage.figures import markdown
from arbitrage.io.atomic import write_text
from arbitrage.io.csv_tables import write_csv

NOT_STATED = "not stated"


def hyperparameters(study: Study) -> pd.DataFrame:
    """The rows of Table C.1; columns: parameter, ours, paper; all text."""
    training, dataset, variant = study.router.training, study.dataset, study.router.variants["default"]
    label = f"{variant.classes} classes of the advantage"
    if variant.labels == "lookahead":
        label = "2 classes: only escalating ends right"
    rows = [
        (
            "starting checkpoint",
            study.router.init or study.prm.path,
            "HuggingFaceH4/Qwen2.5-Math-1.5B-Instruct-PRM-0.2",
        ),
        ("questions labelled", f"{study.questions.sample:,} ({study.questions.source})", "30,000 (NuminaMath-CoT)"),
        ("label", label, "2 classes: advantage > 0"),
        ("history annotation", "yes" if variant.annotate else "no", "yes"),
        ("class balance", "downsampling" if variant.balanced else "none", "downsampling"),
        ("target steps a context", f"{study.steps.target_samples}", "optional (release: 4)"),
        ("loss", "ordinal" if variant.ordinal else "cross-entropy", "cross-entropy"),
        ("optimiser", "AdamW", "AdamW"),
        ("schedule", "linear warm-up, linear decay", "linear warm-up, linear decay"),
        ("batch size (sequences)", f"{training.batch_size}", "1024"),
        ("learning rate", f"{training.learning_rate:g}", "1e-05"),
        ("epochs", f"{training.epochs:g}", "3"),
        ("warm-up (share of updates)", f"{training.warmup_share:g}", NOT_STATED),
        ("weight decay", f"{training.weight_decay:g}", NOT_STATED),
        ("longest input (tokens)", f"{dataset.max_length}", NOT_STATED),
        ("validation (share of questions)", f"{dataset.validation:g}", NOT_STATED),
        ("precision", "bfloat16" if training.bf16 else "float32", NOT_STATED),
        ("seed", f"{study.seed}", NOT_STATED),
    ]
    return pd.DataFrame(rows, columns=["parameter", "ours", "paper"])


def write(study: Study, csv: Path, md: Path) -> None:
    """Write Table C.1 of a study; it needs no result."""
    table = hyperparameters(study)
    write_csv(csv, table)
    title = f"# Table C.1: hyper-parameters of the router\n\nStudy {study.study}; variant `default`.\n\n"
    write_text(md, title + markdown.table(list(table.columns), table.to_numpy().tolist()))
