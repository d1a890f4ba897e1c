"""What writes steps: the draft and target models, and the engines that run them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from arbitrage.config.backends import Server, Vllm
from arbitrage.config.policies import Report
from arbitrage.config.prompts import PROMPTS, WHOLE_PROMPTS, PromptName
from arbitrage.config.section import Count, Name, Section


class Quantise(Section):
    """Make this model from another one: weights in few bits."""

    model: Name = Field(description="The model (a key of `models`) that is quantised")
    method: Literal["round", "gptq", "gguf"] = Field(
        "round",
        description="`round`: nearest level, stored as full-precision weights; `gptq`: calibrated and packed, by "
        "llm-compressor; `gguf`: by llama.cpp's tools, then unpacked",
    )
    bits: int | None = Field(None, ge=2, le=8, description="Bits a weight; for `round` and `gptq`")
    group_size: Count = Field(64, description="Weights that share one scale; for `round` and `gptq`")
    calibration: Count = Field(256, description="Labelling questions `gptq` is calibrated on, with their solutions")
    gguf_type: str | None = Field(None, description="llama.cpp's name of the type, such as Q3_K_L; for `gguf`")

    @model_validator(mode="after")
    def _method_has_its_size(self) -> Quantise:
        if self.method == "gguf" and self.gguf_type is None:
            raise ValueError("method gguf needs `gguf_type`, such as Q3_K_L")
        if self.method != "gguf" and self.bits is None:
            raise ValueError(f"method {self.method} needs `bits`, 2 to 8")
        return self


class Model(Section):
    """A draft or target model: a local directory or a hub id with a pinned revision, or made by quantisation."""

    path: str | None = Field(None, description="Local directory, or hub id (owner/name)")
    revision: str | None = Field(None, description="Commit of the hub repository; required for a hub id")
    quantise: Quantise | None = Field(None, description="Instead of `path`: round another model's weights")
    engine: Literal["transformers", "vllm", "openai"] = Field(
        "transformers",
        description="What runs it: `transformers` or `vllm` in the job's process, or an `openai`-compatible server",
    )
    vllm: Vllm = Field(Vllm(), description="For `engine: vllm`, and for servers that a job starts")
    server: Server = Field(Server(), description="For `engine: openai`")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Type of weights and activations")
    device: str = Field(
        "cpu",
        description="torch device of the model: cpu, cuda, cuda:1 ... (which GPU counts where `placement` is apart)",
    )
    batch_size: Count = Field(64, description="Contexts decoded together; part of what makes results repeatable")
    top_logprobs: int = Field(
        0,
        ge=0,
        le=20,
        description="Most likely tokens whose log-probabilities a vLLM engine or server reports with every token: from "
        "them come the entropies that policies such as `first_token_entropy` read (0: none; transformers knows all)",
    )
    prompt: PromptName = Field(
        "plain",
        description="System message of the chat template: `qwen`, `llama3` (`## Step k:`, then a boxed sentence), or "
        "`plain`, none; `arbitrage-llama3`: the whole prompt as the paper's release writes it for Llama 3",
    )
    system_prompt: str | None = Field(None, description="System message in your own words, instead of `prompt`")

    @property
    def reports(self) -> frozenset[Report]:
        """What its steps carry beside their text, or its engine gives of them: only transformers has hidden states."""
        if self.engine == "transformers":
            return frozenset(("logprobs", "entropies", "states"))
        return frozenset(("logprobs", "entropies") if self.top_logprobs else ("logprobs",))

    @property
    def reads(self) -> bool:
        """Whether its engine gives log-probabilities of what another model wrote."""
        return self.engine != "openai"

    @property
    def starts_server(self) -> bool:
        """Whether a job that runs it starts a vLLM server for it."""
        return self.engine == "openai" and self.server.url is None

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if (self.path is None) == (self.quantise is None):
            raise ValueError("give exactly one of `path` and `quantise`")
        return self

    @property
    def whole_prompt(self) -> str | None:
        """A prompt with `{problem}` in it, read as it is in place of the chat template; None where there is none."""
        return WHOLE_PROMPTS.get(self.prompt) if self.system_prompt is None else None

    @property
    def system(self) -> str | None:
        """The system message; None where there is none."""
        return PROMPTS[self.prompt] if self.system_prompt is None else self.system_prompt


class Pair(Section):
    """A draft and a target that take turns."""

    draft: Name = Field(description="A key of `models`")
    target: Name = Field(description="A key of `models`")
    latency: bool = Field(
        True, description="Measure latency for this pair (pointless where weights are only rounded in place)"
    )
