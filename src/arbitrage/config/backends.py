"""How a model is run where the engine is not transformers: vLLM in the job's process, or a server over HTTP."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from arbitrage.config.section import Count, Section

PROMPT_ROOM = 4096  # ids a prompt may have where `vllm.max_context` is absent


class VllmRoom(Section):
    """Memory and speed of a model that vLLM runs."""

    aside: ClassVar[frozenset[str]] = frozenset({"memory_share", "cache_gib"})

    memory_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of each GPU's memory; absent: of the 0.9 that models take, its weights and what is left for "
        "keys and values, so that all models on the GPU hold as many contexts",
    )
    cache_gib: float | None = Field(
        None, gt=0, description="Memory of keys and values, GiB; absent: what is left of `memory_share`, 1 on a CPU"
    )
    max_context: Count | None = Field(
        None, description="Longest context, in tokens; absent: `generation.max_tokens` and 4,096 of prompt"
    )
    eager: bool | None = Field(
        None, description="No compilation and no CUDA graphs: a faster start, slower steps; absent: on a CPU only"
    )

    def longest(self, max_tokens: int) -> int:
        """Ids of the longest context to make room for, where solutions have at most `max_tokens`."""
        return self.max_context or max_tokens + PROMPT_ROOM


class Vllm(VllmRoom):
    """vLLM, in the job's own process or as a server that the job starts (`engine: openai` without `server.url`)."""

    tensor_parallel: Count = Field(1, description="GPUs the model is cut over, from the one its `device` names on")
    quantisation: str | None = Field(
        None, description="How weights are packed (gptq, awq, gguf ...); absent: as the checkpoint's config.json says"
    )


class Server(Section):
    """An OpenAI-compatible completions endpoint (vLLM, SGLang, llama.cpp); its tokenizer is read from `path`."""

    aside: ClassVar[frozenset[str]] = frozenset(
        {"url", "api_key_variable", "concurrency", "timeout_s", "retries", "ready_s"}
    )

    url: str | None = Field(
        None, description="Base URL (http://host:port/v1) of a server that runs; absent: the job starts a vLLM server"
    )
    model: str | None = Field(None, description="The name it serves the model by; absent: the only one it lists")
    api_key_variable: str | None = Field(
        None, description="Environment variable that holds the API key; none if absent"
    )
    concurrency: Count = Field(64, description="Requests under way at once")
    timeout_s: float = Field(600.0, gt=0, description="Seconds a request may take")
    retries: int = Field(5, ge=0, description="Times a failed request is sent again, with growing pauses")
    ready_s: float = Field(900.0, gt=0, description="Seconds a server may take to come up")
