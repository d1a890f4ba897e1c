"""The questions: those that are labelled, and the benchmarks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arbitrage.config.section import Count, Section


class Questions(Section):
    """The questions whose steps are labelled for the router (paper: 30,000 of NuminaMath-CoT, stratified by source)."""

    source: Literal["lab", "numina"] = Field("lab", description="`lab`: generated; `numina`: NuminaMath-CoT's columns")
    path: str | None = Field(None, description="Local JSONL or Parquet with NuminaMath's columns, instead of the hub")
    dataset: str = Field("AI-MO/NuminaMath-CoT", description="Hub data set for `numina`")
    revision: str | None = Field(None, description="Commit of the hub data set (or a branch, pinned at the first run)")
    pool: Count = Field(6000, description="Rows the lab generates to sample from; unused by `numina`")
    sample: Count = Field(2000, description="Questions to sample, by largest remainder over `source`")
    overlap_ngram: Count = Field(
        13, description="A question sharing a word n-gram of this length with a benchmark goes"
    )


# Rows of the whole benchmarks, to reckon the number of jobs with; of olympiadbench as on the hub
BENCHMARK_SIZES = {"lab500": 500, "labolympiad": 500, "math500": 500, "olympiadbench": 674}
HUB_NAMES = {"math500": "HuggingFaceH4/MATH-500", "olympiadbench": "Hothan/OlympiadBench"}


class Benchmark(Section):
    """Evaluation questions."""

    source: Literal["lab500", "labolympiad", "math500", "olympiadbench"] = Field(description="Which benchmark")
    path: str | None = Field(
        None, description="Local JSONL or Parquet with the benchmark's columns, instead of the hub"
    )
    dataset: str | None = Field(None, description="Hub data set, where not the benchmark's own")
    revision: str | None = Field(None, description="Commit of the hub data set (or a branch, pinned at the first run)")
    limit: Count | None = Field(None, description="Use a seeded sample of this many questions; all if absent")

    @property
    def hub(self) -> str | None:
        """The data set of the hub it is read from where no `path` is given; None where it is generated."""
        return self.dataset or HUB_NAMES.get(self.source)

    @property
    def size(self) -> int:
        """How many questions there are to be expected: `limit`, or all of the benchmark."""
        whole = BENCHMARK_SIZES[self.source]
        return min(self.limit or whole, whole)
