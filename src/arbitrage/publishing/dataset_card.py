"""README.md of a bundle: a dataset card, whose header tells `datasets.load_dataset` which tables there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbitrage.config.study import Study
from arbitrage.publishing.check_records import named_code
from arbitrage.publishing.croissant import ABOUT, PackedTable
from arbitrage.publishing.licences import licence_words, own_files, question_sets
from arbitrage.publishing.software import Software

LOADING = """\
from datasets import load_dataset

steps = load_dataset(".", "steps", split="train")  # or the path of this folder
"""


def dataset_card(
    study: Study,
    tables: Sequence[PackedTable],
    routers: Sequence[str],
    summary: Mapping[str, Any],
    made_by: Software,
    doi: str | None,
) -> str:
    """The text. routers: the directories of its routers; summary: the provenance record of summary.md; doi: the
    bundle's own, left out where None."""
    from huggingface_hub import DatasetCardData

    foreign = question_sets(study) or own_files(study)
    header = DatasetCardData(
        language="en",
        license="other" if foreign else made_by.license.lower(),
        license_name="see-licence-below" if foreign else None,
        pretty_name=f"Results of the study {study.study}",
        tags=["arbitrage", "speculative-decoding", "process-reward-model"],
        configs=_configs(tables),
    )
    kinds = list(dict.fromkeys(table.kind for table in tables))
    return "\n".join(
        [
            f"---\n{header.to_yaml()}\n---",
            f"# Results of the study {study.study}",
            "",
            "A reproduction of “Arbitrage: Efficient Reasoning via Advantage-Aware Speculation” (arXiv 2512.05033).",
            f"Study {summary['study_hash']}, made by arbitrage {named_code(summary['code'])}.",
            *([f"DOI: [{doi}](https://doi.org/{doi})"] if doi else []),
            "",
            "- `summary.md`: headline numbers beside the paper's",
            "- `CLAIMS.md`: each claim of the paper with our value, and the command that finds it again",
            "- `figures/`, `tables/`, `curves/`: what they are drawn from and written in",
            "- `questions/`, `steps/`, `trajectories/`, `latency/`, `router/*/*/heldout.parquet`: the tables behind",
            "- `router/*.csv`: the routers' quality, data, calibration and mistakes on held-out steps",
            "- `router/*/default/dataset/`: what the router was trained on, and held out from",
            *(f"- `{name}/`: the router of {name.split('/')[1]}, with a model card" for name in routers),
            "- `study.json`: every setting; `workflow/`: the rules that ran",
            "- `*.provenance.json`: what made each file, from what, where and when; `ro-crate-metadata.json`: the same "
            "for a machine, as a Provenance Run Crate",
            "- `croissant.json`: every table with its columns, in the Croissant format",
            "- `manifest.json`: sha256 of every file. `arbitrage verify` on the zip, or on this folder, checks it all",
            "",
            "## Loading",
            "",
            f"```python\n{LOADING}```",
            "",
            "| configuration | what |",
            "| --- | --- |",
            *(f"| `{kind}` | {ABOUT[kind]} |" for kind in kinds),
            "",
            "`croissant.json` explains every column.",
            "",
            "## Licence",
            "",
            f"{licence_words(study, made_by.license)}.",
            "",
            "## Citing",
            "",
            f"```bibtex\n{made_by.paper_bibtex}\n```",
            "",
        ]
    )


def _configs(tables: Sequence[PackedTable]) -> list[dict[str, Any]]:
    """One configuration a kind of table; its splits say what the rows are for."""
    files: dict[str, dict[str, list[str]]] = {}
    for table in tables:
        files.setdefault(table.kind, {}).setdefault(_split(table), []).append(table.path)
    return [
        {
            "config_name": kind,
            "data_files": [{"split": split, "path": paths} for split, paths in splits.items()],
            **({"default": True} if kind == "steps" else {}),
        }
        for kind, splits in files.items()
    ]


def _split(table: PackedTable) -> str:
    """What a table is for: training a router, choosing and judging one, or testing on benchmarks."""
    if table.kind == "questions":
        return "train" if table.id == "questions/labelling" else "test"
    if table.kind == "examples":
        return table.id.rpartition("/")[2]
    return {"steps": "train", "lookahead": "train", "heldout": "validation"}.get(table.kind, "test")
