"""Sizes and lengths of the zoo's training: the `zoo` section of a study's configuration."""

from __future__ import annotations

from pydantic import Field, model_validator

from arbitrage.config.section import Section


class LanguageModelSize(Section):
    """Shape and training length of the draft or the target."""

    width: int = Field(ge=16, description="Hidden width; a multiple of `heads`")
    layers: int = Field(ge=1, description="Layers; they, more than the width, decide the time a token")
    heads: int = Field(ge=1, description="Attention heads")
    inner: int = Field(ge=16, description="Width of the feed-forward layers")
    steps: int = Field(ge=1, description="Optimiser steps")
    learning_rate: float = Field(default=2e-3, gt=0, description="Peak learning rate of AdamW; Muon's is five times it")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> LanguageModelSize:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self


class PrmSize(Section):
    """Size and training length of the process reward model."""

    layers: int = Field(default=6, ge=1, description="Layers kept of the target, from the first")
    questions: int = Field(default=900, ge=10, description="Questions of the prm split, six solutions each")
    steps: int = Field(default=400, ge=1, description="Optimiser steps")
    tokens_per_batch: int = Field(default=3072, ge=256, description="Padded tokens a batch")
    learning_rate: float = Field(default=5e-4, gt=0, description="Peak learning rate of AdamW; Muon's is five times it")


class Zoo(Section):
    """Everything that decides what a retrained zoo looks like."""

    seed: int = Field(default=0, ge=0, lt=2**31, description="Seed of initial weights, questions and sampling")
    device: str = Field(default="cpu", description="torch device to train on: cpu, cuda, cuda:1, ...")
    threads: int = Field(default=1, ge=1, description="CPU threads of each training job")
    tokenizer_questions: int = Field(default=20_000, ge=100, description="Questions the vocabulary is counted in")
    tokens_per_batch: int = Field(default=1536, ge=256, description="Padded tokens a batch of language-model training")
    evaluation_questions: int = Field(default=500, ge=1, le=500, description="Questions a benchmark is measured on")
    low_bits: list[int] = Field(default=[3, 4], description="Roundings of the target to measure, in bits")
    low_bit_group_size: int = Field(default=16, ge=2, description="Weights that share a scale when rounded")
    draft: LanguageModelSize = Field(
        default=LanguageModelSize(width=64, layers=2, heads=2, inner=192, steps=2400), description="The draft"
    )
    target: LanguageModelSize = Field(
        default=LanguageModelSize(width=112, layers=8, heads=4, inner=224, steps=3700), description="The target"
    )
    prm: PrmSize = Field(default=PrmSize(), description="The process reward model")
