"""The router: its data, its variants, its training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from arbitrage.config.backends import VllmRoom
from arbitrage.config.section import Count, Name, Section, Share

RouterKind = Literal["classifier", "scalars", "scalars+prm", "scalars+target", "probe", "scalars+probe"]
Loss = Literal["label", "weighted", "regression"]
Labels = Literal["advantage", "lookahead"]

IN_VAIN = 0.05  # advantage lost where a step is escalated and the target writes what is scored alike
RECOMMENDED: RouterKind = "scalars+target"  # the most accurate at the same acceptance in the lab (docs/routers.md)


class Dataset(Section):
    """From labelled steps to the router's training data."""

    validation: float = Field(0.2, gt=0.0, lt=1.0, description="Share of questions held out, chosen by question")
    max_length: Count = Field(4096, description="Longer inputs, in tokens, are left out and counted")
    max_examples: Count | None = Field(
        None,
        description="Cap on the training steps of classifiers, after balancing; a seeded sample. Routers that read "
        "numbers take all",
    )


class Variant(Section):
    """One way to build a router: what it reads, and how its data are labelled, annotated and balanced (Tables 1-3)."""

    kind: RouterKind = Field(
        "classifier",
        description="What it reads: `classifier`, the text, by a model as large as the PRM (the paper's); `scalars`, "
        "the token statistics that the draft's step comes with; `scalars+prm`, the PRM's score of that step too; "
        "`scalars+target`, the target's log-probabilities of it too; `probe`, the draft's hidden state at the end of "
        "that step; `scalars+probe`, both; "
        f"`recommended` is `{RECOMMENDED}` (docs/routers.md)",
    )
    network: Literal["mlp", "logistic"] = Field(
        "mlp", description="Of the kinds that read numbers, not text: one hidden layer, or logistic regression"
    )
    loss: Loss | None = Field(
        None,
        description="Trained on: `label`, the class of the advantage (the paper's; where absent, a classifier's); "
        "`weighted`, its sign, each step weighted by the size of its advantage (where absent, that of the other "
        "kinds); `regression`, the advantage itself",
    )
    labels: Labels = Field(
        "advantage",
        description="What escalating a step gains: `advantage`, by the PRM's scores (the paper's); `lookahead`, by the "
        "answers where the target writes all that follows: 1 where only escalating ends right, -1 where only accepting "
        "does, else 0 (docs/routers.md)",
    )

    classes: Literal[2, 4, 10] = Field(2, description="Label classes: the sign of the advantage, or finer quantiles")
    ordinal: bool = Field(False, description="Ordinal loss (cumulative logits) instead of cross-entropy; classes > 2")
    annotate: bool = Field(True, description="Prefix each step with who wrote it (`Model 0: `, `Model 1: `)")
    balance: bool | None = Field(
        None,
        description="Downsample the majority class of the training part; where absent, with loss `label` only: the "
        "other losses say themselves what a step counts",
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _recommended_by_name(cls, kind: object) -> object:
        return RECOMMENDED if kind == "recommended" else kind

    @property
    def reads_states(self) -> bool:
        """Whether it reads the draft's hidden states."""
        return self.kind in ("probe", "scalars+probe")

    @property
    def objective(self) -> Loss:
        """The loss it is trained on."""
        return self.loss or ("label" if self.kind == "classifier" else "weighted")

    @property
    def balanced(self) -> bool:
        """Whether the majority class of its training part is downsampled."""
        return self.objective == "label" if self.balance is None else self.balance

    @model_validator(mode="after")
    def _keys_fit_each_other(self) -> Variant:
        if self.ordinal and self.classes == 2:
            raise ValueError("ordinal needs classes > 2")
        if self.classes > 2 and self.objective != "label":
            raise ValueError(f"classes {self.classes} needs loss `label`: {self.objective} knows the sign only")
        if self.classes > 2 and self.labels != "advantage":
            raise ValueError(f"classes {self.classes} needs labels `advantage`: {self.labels} knows -1, 0 and 1 only")
        if self.kind != "classifier" and (self.classes > 2 or not self.annotate):
            raise ValueError(
                f"kind {self.kind} reads no text: leave out classes and annotate, which are a classifier's"
            )
        if self.kind == "classifier" and self.network != "mlp":
            raise ValueError("network is of the kinds that read numbers: give a kind such as scalars, or leave it out")
        return self


class RouterTraining(Section):
    """Table C.1. The paper states batch size, learning rate and epochs; the rest is our declared choice."""

    epochs: float = Field(3.0, gt=0, le=10_000, description="Passes over the data (paper: 3)")
    batch_size: Count = Field(1024, description="Judged steps an update, about: questions are kept whole (paper: 1024)")
    micro_batch_tokens: Count = Field(
        4096, description="Tokens read at once, or one input where it is longer; the rest is gradient accumulation"
    )
    learning_rate: float = Field(1e-5, gt=0, le=1, description="Peak learning rate of AdamW (paper: 1e-5)")
    head_first: bool = Field(
        True, description="Fit the new head to the frozen checkpoint before all weights are trained"
    )
    top_layers: Count | None = Field(
        None,
        description="Layers, from the last one down, that are trained with the head, the others frozen; all if absent "
        "(the paper's)",
    )
    warmup_share: Share = Field(0.1, description="Share of updates with linear warm-up")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay")
    bf16: bool = Field(False, description="Train in bfloat16 autocast")
    recompute: bool = Field(
        False, description="Keep no activations but each layer's input (gradient checkpointing): less memory, slower"
    )


class Router(Section):
    """The router: what it starts from, how it is trained, which variants are compared."""

    init: str | None = Field(None, description="Checkpoint to start from, local or hub id; the PRM if absent")
    revision: str | None = Field(None, description="Commit of the hub repository of `init`")
    device: str = Field(
        "cpu", description="torch device beside the other models; where the router is alone in a job, its first GPU"
    )
    engine: Literal["transformers", "vllm"] = Field(
        "transformers",
        description="What runs it where it scores, in the job's process; training and held-out scores are torch's",
    )
    vllm: VllmRoom = Field(VllmRoom(), description="For `engine: vllm`")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Type of weights and activations where it scores; training keeps float32 weights"
    )
    batch_size: Count = Field(64, description="Steps scored together")
    training: RouterTraining = RouterTraining()
    seeds: Count = Field(
        3,
        le=100,
        description="Trainings of every variant, from seeds of their own; with 1 no verdict is given on a router",
    )
    variants: dict[Name, Variant] = Field(
        {"default": Variant()},
        description="By name. A policy that decides by a router takes `default` where that is of its kind, or else the "
        "first of its kind",
    )
    ablation_pair: Name | None = Field(None, description="Pair on which all variants are trained; the first if absent")

    @field_validator("variants")
    @classmethod
    def _has_default(cls, variants: dict[str, Variant]) -> dict[str, Variant]:
        if "default" not in variants:
            raise ValueError("needs a variant named `default`: the one that routes")
        return variants
