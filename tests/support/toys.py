"""Toys of the shipped studies: the same files, with small local models, local data and few questions laid over them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from arbitrage.config.backends import Vllm
from arbitrage.config.load import read_study
from arbitrage.config.models import Model
from arbitrage.config.prm import Prm
from arbitrage.config.study import Study
from tests.support.tiny_models import build_causal, build_classifier
from tests.support.tiny_prms import build_answering, build_marked, build_value_head, prm_tokenizer

ROOT = Path(__file__).resolve().parents[2]
# The shipped ones, not a user's beside them; without git, all.
_TRACKED = subprocess.run(["git", "ls-files", "studies/*.yaml"], cwd=ROOT, capture_output=True, text=True, check=False)
STUDIES = [ROOT / path for path in _TRACKED.stdout.splitlines()] or sorted((ROOT / "studies").glob("*.yaml"))
QUESTIONS = 8  # labelled; some are held out from the router's training
PROBLEMS = [f"What is {number} + {number + 1}?" for number in range(QUESTIONS)]

SIZES: dict[str, Any] = {
    "questions": {"pool": 2 * QUESTIONS, "sample": QUESTIONS},
    "generation": {"max_steps": 3, "max_tokens": 40, "max_step_tokens": 16},
    "steps": {"questions_per_job": QUESTIONS},
    "sweep": {"questions_per_job": 2, "chunk": 2},
    "dataset": {"max_examples": 24},
    "latency": {"questions": 1, "acceptances": [0.5], "warmup": 0, "heldout": 0.5},
    "curves": {"resamples": 20, "points": 10},
    "figures": {"dpi": 50},
}


def toy_of(study_file: Path, folder: Path) -> dict[str, Any]:
    """What makes a toy of a study: to be laid over it."""
    study = read_study([study_file])
    changes: dict[str, Any] = json.loads(json.dumps(SIZES))
    changes["models"] = {name: _model(model, folder, seed) for seed, (name, model) in enumerate(study.models.items())}
    changes["benchmarks"] = {name: {"limit": 2} for name in study.benchmarks}
    changes["router"] = {"seeds": 2, "training": {"batch_size": 8, "epochs": 1.0}}
    changes["prm"] = _here(_prm(study.prm, folder / "prm"))
    if study.router.init:
        start = build_classifier(folder / "start", "bpe", head="token", labels=2)
        changes["router"] |= {"init": str(start), "revision": None, "device": "cpu"}
    if study.questions.source == "numina":
        _local_data(study, changes, folder)
    return changes


def _here(directory: Path) -> dict[str, Any]:
    return {"path": str(directory), "revision": None, "device": "cpu"}


def _model(model: Model, folder: Path, seed: int) -> dict[str, Any]:
    """A model's changes: a tiny checkpoint of its family, or rounding where it is quantised by tools of others."""
    on_cpu: dict[str, Any] = {"engine": "transformers", "device": "cpu", "batch_size": 8}
    on_cpu["vllm"] = Vllm().model_dump()
    if model.whole_prompt:  # of special tokens that a tiny tokenizer lacks
        on_cpu["prompt"] = "plain"
    if model.quantise:
        return on_cpu | {"quantise": {"method": "round", "bits": 4, "group_size": 16}}
    family = "qwen2" if "qwen" in str(model.path).lower() else "llama"
    name = str(model.path).replace("/", "--")
    return on_cpu | _here(build_causal(folder / name, "bpe", seed=seed, architecture=family))  # type: ignore[arg-type]


def _prm(prm: Prm, directory: Path) -> Path:
    """A tiny PRM of the same kind, whose tokenizer has the tokens it needs."""
    if prm.kind == "value-head":
        return build_value_head(directory, prm_tokenizer(chat_template=None))
    if prm.kind in ("auto", "classifier"):
        return build_classifier(directory, "bpe")
    template = prm.resolved_template(prm.kind)
    tokenizer = prm_tokenizer(*filter(None, dict.fromkeys((template.mark, template.right, template.wrong))))
    return (build_marked if prm.kind == "marks" else build_answering)(directory, tokenizer)


def _local_data(study: Study, changes: dict[str, Any], folder: Path) -> None:
    """The questions as files with the columns of NuminaMath, MATH-500 and OlympiadBench."""
    rows = {
        "numina": [{"source": "olympiads", "problem": each, "solution": f"\\boxed{{{each}}}"} for each in PROBLEMS],
        "math500": [
            {"problem": f"Solve {n}x = 6.", "solution": "-", "answer": "2", "subject": "Algebra", "unique_id": f"m{n}"}
            for n in (3, 6)
        ],
        "olympiadbench": [
            {
                "id": n,
                "subfield": "Algebra",
                "context": None,
                "question": f"Find all n > {n}.",
                "solution": ["-"],
                "final_answer": ["$5$"],
                "is_multiple_answer": False,
                "answer_type": "Numerical",
                "unit": None,
                "error": None,
            }
            for n in (1, 2)
        ],
    }
    for source, lines in rows.items():
        (folder / f"{source}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    changes["questions"] |= {"path": str(folder / "numina.jsonl"), "revision": None}
    for name, benchmark in study.benchmarks.items():
        changes["benchmarks"][name] |= {"path": str(folder / f"{benchmark.source}.jsonl"), "revision": None}
