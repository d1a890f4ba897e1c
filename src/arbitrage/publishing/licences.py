"""Whose licence holds for what of a bundle."""

from __future__ import annotations

from arbitrage.config.revisions import HubEntry, hub_entries
from arbitrage.config.study import Study


def question_sets(study: Study) -> list[HubEntry]:
    """The data sets of the hub whose questions are in the study's tables, each once."""
    return list({entry.name: entry for entry in hub_entries(study) if entry.kind == "dataset"}.values())


def own_files(study: Study) -> list[str]:
    """Local files whose questions are in the study's tables."""
    return sorted({source.path for source in (study.questions, *study.benchmarks.values()) if source.path})


def licence_words(study: Study, licence: str) -> str:
    """What of the tables is under `licence`, and what keeps another one."""
    others = [f"the data set {entry}" for entry in question_sets(study)]
    others += [f"the file {name}" for name in own_files(study)]
    own = f"{licence} for code and for what this study wrote"
    return f"{own}; questions of {', '.join(others)} keep the licence they have there" if others else own
