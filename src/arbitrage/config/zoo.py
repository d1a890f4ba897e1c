"""Sizes and lengths of the zoo's training: the `zoo` section of a study's configuration."""

from __future__ import annotations

from pydantic import Field, model_validator

from arbitrage.config.section import Section, Share


class TrainingLength(Section):
    """How long and how fast a model, or a part of one, is trained."""

    steps: int = Field(ge=1, description="Optimiser steps, of two batches each")
    tokens_per_batch: int = Field(default=3072, ge=256, description="Padded tokens a batch")
    learning_rate: float = Field(
        default=3e-3, gt=0, description="Peak learning rate of AdamW; Muon's, and the embeddings', is five times it"
    )


class LanguageModelSize(TrainingLength):
    """Shape and training length of a language model that is trained from nothing."""

    width: int = Field(ge=16, description="Hidden width; a multiple of `heads`")
    layers: int = Field(ge=1, description="Layers; they, more than the width, decide the time a token")
    heads: int = Field(ge=1, description="Attention heads")
    inner: int = Field(ge=16, description="Width of the feed-forward layers")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> LanguageModelSize:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self


class TargetSize(TrainingLength):
    """Depth and training length of the target, which goes on from the base."""

    layers: int = Field(ge=1, description="Layers; at least the base's, whose layers are spread among them")


class SolutionsSize(Section):
    """How many questions draft and target solve, in six manners each, for the PRM to learn from."""

    questions: int = Field(default=1200, ge=1, description="Questions whose solutions are learned from")
    held_out: int = Field(default=500, ge=1, description="Questions whose solutions the PRM is measured on")


class JudgeSize(TrainingLength):
    """Size and training of a judge, which goes on from a language model. Only its new layers are trained."""

    rank: int = Field(ge=4, description="Channels of the code by which expected and present token are compared")
    new_layers: int = Field(ge=1, description="Layers above those of the language model and the set one")


class Zoo(Section):
    """Everything that decides what a retrained zoo looks like."""

    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of initial weights, questions and sampling")
    device: str = Field(default="cpu", description="torch device to train on: cpu, cuda, cuda:1, ...")
    threads: int = Field(
        default=1,
        ge=1,
        description="CPU threads of each training job; where it trains on a GPU, processes that prepare its documents",
    )
    tokenizer_questions: int = Field(default=20_000, ge=100, description="Questions the vocabulary is counted in")
    evaluation_questions: int = Field(default=500, ge=1, le=500, description="Questions a benchmark is measured on")
    low_bits: list[int] = Field(default=[3, 4], description="Roundings of the target to measure, in bits")
    low_bit_group_size: int = Field(default=32, ge=2, description="Weights that share a scale when rounded")
    marked_share: Share = Field(
        default=0.25,
        description="Share of the base's documents whose steps begin with an author's mark, as a router's do",
    )
    draft: LanguageModelSize = Field(
        default=LanguageModelSize(width=64, layers=2, heads=2, inner=192, steps=2000, tokens_per_batch=1536),
        description="The draft",
    )
    base: LanguageModelSize = Field(
        default=LanguageModelSize(width=96, layers=8, heads=4, inner=256, steps=2200),
        description="The language model that target and PRM begin from",
    )
    target: TargetSize = Field(default=TargetSize(layers=16, steps=500, learning_rate=1e-3), description="The target")
    solutions: SolutionsSize = Field(default=SolutionsSize(), description="What the judges learn from")
    prm: JudgeSize = Field(
        default=JudgeSize(rank=40, new_layers=2, steps=250, learning_rate=3e-4),
        description="The process reward model, which goes on from the base",
    )
    router_base: LanguageModelSize = Field(
        default=LanguageModelSize(width=64, layers=2, heads=2, inner=192, steps=3200, tokens_per_batch=1536),
        description="The language model that the router start begins from",
    )
    router_start: JudgeSize = Field(
        default=JudgeSize(rank=30, new_layers=1, steps=250, learning_rate=2e-3),
        description="The shallow judge that routers start from",
    )
    prm_middle: JudgeSize = Field(
        default=JudgeSize(rank=30, new_layers=1, steps=600, learning_rate=2e-3),
        description="A weaker PRM, for the sensitivity page: as the router start is made, trained longer",
    )
    prm_weak: JudgeSize = Field(
        default=JudgeSize(rank=30, new_layers=1, steps=30, learning_rate=2e-3),
        description="The weakest PRM of that page, stopped early",
    )

    @model_validator(mode="after")
    def _depths_fit_the_base(self) -> Zoo:
        if self.target.layers < self.base.layers:
            raise ValueError(
                f"target.layers {self.target.layers} is below base.layers {self.base.layers}; give as many"
            )
        return self

    @model_validator(mode="after")
    def _groups_divide_the_targets_layers(self) -> Zoo:
        for name in ("width", "inner"):
            inputs = getattr(self.base, name)  # the target has the base's shape
            if self.low_bits and inputs % self.low_bit_group_size:
                raise ValueError(
                    f"low_bit_group_size {self.low_bit_group_size} does not divide base.{name} {inputs}; give a number "
                    "that does, or low_bits: []"
                )
        return self
