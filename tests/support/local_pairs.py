"""A study of local Hugging Face directories and local data: one configuration; only paths and engine change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

ASKED = [
    ("What is 17 + 26?", "43"),
    ("A pen costs 3 dollars. How many dollars do 7 pens cost?", "21"),
    ("What is the remainder when 23 is divided by 5?", "3"),
    ("Solve for x: 2x + 6 = 20.", "7"),
    ("What is the next number in the sequence 2, 4, 8, 16?", "32"),
    ("A train travels 60 miles in one hour. How many miles does it travel in 4 hours?", "240"),
    ("What is 9 squared minus 1?", "80"),
    ("Tom has 12 apples and gives away 5. How many are left?", "7"),
]
LABELLED = [(f"What is {number} + {number + 1}?", str(2 * number + 1)) for number in range(8)]


def local_study(
    folder: Path, engine: str, draft: Path, target: Path, prm: dict[str, Any], start: Path
) -> dict[str, Any]:
    """The configuration; its data is written to `folder`.

    prm: its section; start: the checkpoint that the router starts from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labelled = [
        {"source": "orca_math", "problem": each, "solution": f"\\boxed{{{answer}}}"} for each, answer in LABELLED
    ]
    asked = [
        {"problem": each, "solution": "-", "answer": answer, "subject": "Algebra", "unique_id": f"local/{place}"}
        for place, (each, answer) in enumerate(ASKED)
    ]
    for name, rows in (("labelled", labelled), ("asked", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    running = {"engine": engine, "batch_size": 16, "vllm": {"cache_gib": 0.25}}
    return {
        "study": "local",
        "results": str(folder / "results"),
        "models": {
            "draft": {"path": str(draft), **running},
            "target": {"path": str(target), **running},
        },
        "pairs": {"local": {"draft": "draft", "target": "target"}},
        "prm": prm,
        "questions": {"source": "numina", "path": str(folder / "labelled.jsonl"), "sample": 8, "overlap_ngram": 40},
        "benchmarks": {
            "asked": {"source": "math500", "path": str(folder / "asked.jsonl")},
        },
        "generation": {"max_steps": 4, "max_tokens": 96, "max_step_tokens": 32},
        "steps": {"shards": 1, "chunk": 8},
        "sweep": {"shards": 1, "chunk": 8, "thresholds": [0.1, 0.3, 0.5, 0.7, 0.9]},
        "dataset": {"validation": 0.3},
        "router": {
            "init": str(start),
            "training": {"epochs": 1.0, "batch_size": 8},
        },
        "latency": {"questions": 2, "acceptances": [0.3, 0.7], "warmup": 0, "heldout": 0.5},
        "curves": {"resamples": 50, "points": 10},
        "figures": {"dpi": 50},
    }


def cut_layers(source: Path, directory: Path, layers: int) -> Path:
    """Write the first `layers` layers of the causal model in `source`, with its head and tokenizer; its directory."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype="float32")
    model.model.layers = model.model.layers[:layers]
    model.config.num_hidden_layers = layers
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    return directory
