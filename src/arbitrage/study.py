"""The typed configuration of a study: every key, its default, its range, and what it means.

`config.yaml` (the lab) overlaid by `--configfile` and `--config` is validated against `Study` before any job starts;
`arbitrage.loading` does that and is the only place that reads YAML. A rule's `params` hold only the sections its stage
reads (`Study.reads`), so that changing one key reruns just the rules that depend on it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from arbitrage.section import Count, Name, Section, Share
from arbitrage.zoo import Zoo

PolicyName = Literal["draft_only", "target_only", "rsd", "oracle", "router", "random", "confidence"]
THRESHOLD_POLICIES: tuple[PolicyName, ...] = ("rsd", "oracle", "router", "random", "confidence")


class Quantise(Section):
    """Make this model from another one by rounding its linear weights group-wise to few bits."""

    model: Name = Field(description="The model (a key of `models`) whose weights are rounded")
    bits: int = Field(ge=2, le=8, description="Bits a weight")
    group_size: Count = Field(64, description="Weights that share one scale")


class Model(Section):
    """A draft or target model: a local directory or a hub id with a pinned revision, or made by quantisation."""

    path: str | None = Field(None, description="Local directory, or hub id (owner/name)")
    revision: str | None = Field(None, description="Commit of the hub repository; required for a hub id")
    quantise: Quantise | None = Field(None, description="Instead of `path`: round another model's weights")
    engine: Literal["transformers"] = Field("transformers", description="What runs the model")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of weights and activations")
    device: str = Field("cpu", description="torch device of the model: cpu, cuda, cuda:1 ...")
    batch_size: Count = Field(64, description="Contexts decoded together; part of what makes results repeatable")
    system_prompt: str | None = Field(None, description="System message of the chat template; none if absent")

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if (self.path is None) == (self.quantise is None):
            raise ValueError("give exactly one of `path` and `quantise`")
        return self


class Prm(Section):
    """The process reward model: a sequence- or token-classification checkpoint scored at the step's last token."""

    path: str = Field(description="Local directory, or hub id")
    revision: str | None = Field(None, description="Commit of the hub repository; required for a hub id")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of weights and activations")
    device: str = Field("cpu", description="torch device")
    batch_size: Count = Field(64, description="Steps scored together")


class Pair(Section):
    """A draft and a target that take turns."""

    draft: Name = Field(description="A key of `models`")
    target: Name = Field(description="A key of `models`")
    latency: bool = Field(
        True, description="Measure latency for this pair (pointless where weights are only rounded in place)"
    )


class Questions(Section):
    """The questions whose steps are labelled for the router (paper: 30,000 of NuminaMath-CoT, stratified by source)."""

    source: Literal["lab", "numina"] = Field("lab", description="`lab`: generated; `numina`: NuminaMath-CoT's columns")
    path: str | None = Field(None, description="Local JSONL or Parquet with NuminaMath's columns, instead of the hub")
    dataset: str = Field("AI-MO/NuminaMath-CoT", description="Hub data set for `numina`")
    revision: str | None = Field(None, description="Commit of the hub data set")
    pool: Count = Field(6000, description="Rows the lab generates to sample from; unused by `numina`")
    sample: Count = Field(2000, description="Questions to sample, by largest remainder over `source`")
    overlap_ngram: Count = Field(
        13, description="A question sharing a word n-gram of this length with a benchmark goes"
    )


class Benchmark(Section):
    """Evaluation questions."""

    source: Literal["lab500", "labolympiad", "math500", "olympiadbench"] = Field(description="Which benchmark")
    path: str | None = Field(
        None, description="Local JSONL or Parquet with the benchmark's columns, instead of the hub"
    )
    dataset: str | None = Field(None, description="Hub data set, where not the benchmark's own")
    revision: str | None = Field(None, description="Commit of the hub data set")
    limit: Count | None = Field(None, description="Use a seeded sample of this many questions; all if absent")


class Generation(Section):
    """How steps are written (paper: greedy, at most 100 steps and 4,096 tokens)."""

    separator: str = Field("\n\n", min_length=1, description="Text that ends a step")
    max_steps: Count = Field(100, description="Steps of a solution")
    max_tokens: Count = Field(4096, description="Tokens of a solution, prompt not counted")
    max_step_tokens: Count = Field(512, description="Tokens of one step")


class Steps(Section):
    """Labelling: paired steps along the oracle's own path at threshold 0."""

    shards: Count = Field(2, description="Jobs the questions are cut into")
    chunk: Count = Field(250, description="Questions finished whole, or redone whole, within a shard")
    target_samples: Count = Field(1, description="Target steps a context; their mean score sets the label")
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="Of the samples after the greedy one")

    @model_validator(mode="after")
    def _samples_need_temperature(self) -> Steps:
        if self.target_samples > 1 and self.temperature == 0.0:
            raise ValueError("target_samples > 1 needs temperature > 0 (equal samples carry no information)")
        return self


class Dataset(Section):
    """From labelled steps to the router's training data."""

    validation: float = Field(0.2, gt=0.0, lt=1.0, description="Share of questions held out, chosen by question")
    max_length: Count = Field(1024, description="Longer inputs are left out and counted")
    max_examples: Count | None = Field(None, description="Cap on training steps after balancing; a seeded sample")


class Variant(Section):
    """One way to label, annotate and balance the router's data (Tables 1-3 of the paper)."""

    classes: Literal[2, 4, 10] = Field(2, description="Label classes: the sign of the advantage, or finer quantiles")
    ordinal: bool = Field(False, description="Ordinal loss (cumulative logits) instead of cross-entropy; classes > 2")
    annotate: bool = Field(True, description="Prefix each step with who wrote it (`Model 0: `, `Model 1: `)")
    balance: bool = Field(True, description="Downsample the majority class of the training part")

    @model_validator(mode="after")
    def _ordinal_needs_classes(self) -> Variant:
        if self.ordinal and self.classes == 2:
            raise ValueError("ordinal needs classes > 2")
        return self


class RouterTraining(Section):
    """Table C.1. The paper states batch size, learning rate and epochs; the rest is our declared choice."""

    epochs: float = Field(3.0, gt=0, description="Passes over the data (paper: 3)")
    batch_size: Count = Field(32, description="Sequences an update (paper: 1024)")
    micro_batch_size: Count = Field(32, description="Sequences at once; the rest is gradient accumulation")
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate of AdamW (paper: 1e-5)")
    warmup_share: Share = Field(0.1, description="Share of updates with linear warm-up")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay")
    bf16: bool = Field(False, description="Train in bfloat16 autocast")


class Router(Section):
    """The router: what it starts from, how it is trained, which variants are compared."""

    init: str | None = Field(None, description="Checkpoint to start from, local or hub id; the PRM if absent")
    revision: str | None = Field(None, description="Commit of the hub repository of `init`")
    device: str = Field("cpu", description="torch device of training and scoring")
    batch_size: Count = Field(64, description="Steps scored together")
    training: RouterTraining = RouterTraining()
    variants: dict[Name, Variant] = Field({"default": Variant()}, description="By name; `default` routes")
    ablation_pair: Name | None = Field(None, description="Pair on which all variants are trained; the first if absent")

    @field_validator("variants")
    @classmethod
    def _has_default(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        if "default" not in variants:
            raise ValueError("needs a variant named `default`: the one that routes")
        return variants


class Sweep(Section):
    """Evaluation trajectories."""

    policies: list[PolicyName] = Field(
        ["draft_only", "target_only", *THRESHOLD_POLICIES], min_length=1, description="Policies to evaluate"
    )
    thresholds: Literal["exact"] | list[float] = Field(
        "exact", description="`exact`: every distinct trajectory; a list: only those a listed threshold yields"
    )
    shards: Count = Field(2, description="Jobs the questions of a benchmark are cut into")
    chunk: Count = Field(50, description="Questions finished whole, or redone whole, within a shard")


class Latency(Section):
    """Wall-clock measurements with the live decoder, batch 1."""

    questions: Count = Field(20, description="Timed questions a benchmark")
    acceptances: list[Share] = Field(
        [0.1, 0.3, 0.5, 0.7, 0.9], min_length=1, description="Where RSD and router are timed"
    )
    warmup: int = Field(2, ge=0, description="Solutions decoded before the clock counts")
    heldout: float = Field(0.25, gt=0.0, lt=1.0, description="Share of timed questions kept from the cost model's fit")


class Curves(Section):
    """Bootstrap and curves."""

    resamples: Count = Field(1000, description="Bootstrap resamples over questions")
    confidence: float = Field(0.95, gt=0.0, lt=1.0, description="Of the intervals")
    points: Count = Field(200, description="Most points a curve is written with, besides the paper's grid 0, 0.1 ... 1")


class Figures(Section):
    """What the figures show beyond the curves."""

    example_acceptance: Share = Field(0.8, description="Fig. 6: acceptance rate of both policies (paper: 0.8)")
    dpi: int = Field(150, ge=50, le=600, description="Of the PNG files")


class Study(Section):
    """A study: PRM, benchmarks and one or more pairs, carried from questions to figures."""

    study: Name = Field("lab", description="Name; results go to <results>/<study>/")
    results: str = Field("results", description="Folder of all results")
    seed: int = Field(42, ge=0, lt=2**31, description="Seed of every random choice")
    threads: Count = Field(1, description="torch threads a job")
    models: dict[Name, Model] = Field(min_length=1, description="Models by name")
    pairs: dict[Name, Pair] = Field(min_length=1, description="Pairs by name")
    prm: Prm
    benchmarks: dict[Name, Benchmark] = Field(min_length=1, description="Benchmarks by name")
    questions: Questions = Questions()
    generation: Generation = Generation()
    steps: Steps = Steps()
    dataset: Dataset = Dataset()
    router: Router = Router()
    sweep: Sweep = Sweep()
    latency: Latency = Latency()
    curves: Curves = Curves()
    figures: Figures = Figures()
    zoo: Zoo = Zoo()

    @property
    def ablation_pair(self) -> str:
        """The pair on which every router variant is trained."""
        return self.router.ablation_pair or next(iter(self.pairs))

    @property
    def folder(self) -> str:
        """Where this study's results go."""
        return f"{self.results}/{self.study}"

    def model_path(self, name: str) -> str:
        """Where model `name` is: its own path, or where the rule `quantise` writes it."""
        return self.models[name].path or f"{self.folder}/models/{name}"

    @property
    def router_init(self) -> tuple[str, str | None]:
        """The checkpoint routers start from, and its revision: `router.init`, or the PRM."""
        return (self.router.init, self.router.revision) if self.router.init else (self.prm.path, self.prm.revision)

    def variants_of(self, pair: str) -> list[str]:
        """Router variants trained for `pair`: all on the ablation pair, the default on the others."""
        return list(self.router.variants) if pair == self.ablation_pair else ["default"]

    def reads(self, *keys: str) -> dict[str, Any]:
        """The values at dotted `keys`, for a rule's `params`: changing one of them reruns the rule."""
        found: dict[str, Any] = {}
        for key in keys:
            value: Any = self
            for part in key.split("."):
                value = value[part] if isinstance(value, dict) else getattr(value, part)
            found[key] = value.model_dump() if isinstance(value, BaseModel) else _plain(value)
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
