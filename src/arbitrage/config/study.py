"""The typed configuration of a study: every key, its default, its range, and what it means.

`config.yaml` (the lab) overlaid by `--configfile` and `--config` is validated against `Study` before any job starts;
`config.load` does that and is the only place that reads YAML. A rule's `params` hold only the sections its stage reads
(`Study.reads`), so that changing one key reruns just the rules that depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from arbitrage.config.devices import last_ordinal
from arbitrage.config.models import Model, Pair
from arbitrage.config.pipeline import Curves, Figures, Generation, Latency, Steps, Sweep
from arbitrage.config.placement import Placement
from arbitrage.config.policies import POLICIES
from arbitrage.config.prm import Prm
from arbitrage.config.questions import Benchmark, Questions
from arbitrage.config.resources import Resources
from arbitrage.config.router import Dataset, Router
from arbitrage.config.section import Count, Name, Section
from arbitrage.config.zoo import Zoo


class Study(Section):
    """A study: PRM, benchmarks and one or more pairs, carried from questions to figures."""

    study: Name = Field(description="Its name; results go to <results>/<study>/")
    results: str = Field("results", description="Folder of all results")
    seed: int = Field(42, ge=0, lt=2**31, description="Seed of every random choice")
    threads: Count = Field(1, description="torch threads a job")
    scheduler: Literal["auto", "lockstep", "continuous"] = Field(
        "auto",
        description="How labelling and sweeps turn single steps and scores into batches: `lockstep`, the same batches "
        "on every run; `continuous`, each engine works whenever something waits for it; `auto`, lockstep where "
        "transformers runs all models of a pair, PRM and router on the CPU",
    )
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
    placement: Placement = Placement()
    resources: Resources = Resources()

    @property
    def ablation_pair(self) -> str:
        """The pair on which every router variant is trained."""
        return self.router.ablation_pair or next(iter(self.pairs))

    @property
    def whole_benchmarks(self) -> dict[str, Benchmark]:
        """The benchmarks, none of whose questions are labelled: another `limit` of one changes no router."""
        return {name: benchmark.whole for name, benchmark in self.benchmarks.items()}

    @property
    def folder(self) -> str:
        """Where this study's results go."""
        return f"{self.results}/{self.study}"

    def scheduler_of(self, pair: str) -> Literal["lockstep", "continuous"]:
        """The scheduler of a pair's labelling and sweeps."""
        if self.scheduler != "auto":
            return self.scheduler
        running = {(each.engine, each.device) for each in self.loaded(pair)}
        return "lockstep" if running == {("transformers", "cpu")} else "continuous"

    def loaded(self, pair: str) -> tuple[Model | Prm | Router, ...]:
        """What a job of a pair may load: draft, target, PRM and router."""
        return self.models[self.pairs[pair].draft], self.models[self.pairs[pair].target], self.prm, self.router

    def checked_by_vllm(self, pair: str) -> list[int]:
        """Tokens a round of a pair's token-level speculative decoding on vLLM; each has an engine of its own.

        Both models are on vLLM, in one dtype, as it loads the draft in the target's; and no GGUF files.
        """
        draft, target = self.models[self.pairs[pair].draft], self.models[self.pairs[pair].target]
        alike = draft.engine == target.engine == "vllm" and draft.dtype == target.dtype
        packed = "gguf" in (draft.vllm.quantisation, target.vllm.quantisation)
        return self.latency.speculative_tokens if alike and not packed else []

    def speculating(self, tokens: Sequence[int]) -> Study:
        """The study where token-level speculative decoding has so many `tokens` a round: in an engine each, on vLLM."""
        latency = self.latency.model_copy(update={"speculative_tokens": list(tokens)})
        return self.model_copy(update={"latency": latency})

    def origin(self, name: str) -> Model:
        """The model whose weights model `name` has: the one it is quantised from, or itself."""
        model = self.models[name]
        return self.models[model.quantise.model] if model.quantise else model

    def model_path(self, name: str) -> str:
        """Where model `name` is: its own path, or where the rule `quantise` writes it."""
        return self.models[name].path or f"{self.folder}/models/{name}"

    @property
    def prm_path(self) -> str:
        """Where the PRM is: its own path, or where the rule `convert_prm` writes it (no model's name begins so)."""
        return f"{self.folder}/models/_prm" if self.prm.kind == "value-head" else self.prm.path

    @property
    def router_init(self) -> tuple[str, str | None]:
        """The checkpoint routers start from, and its revision: `router.init`, or the PRM."""
        return (self.router.init, self.router.revision) if self.router.init else (self.prm_path, self.prm.revision)

    @property
    def timed_pairs(self) -> list[str]:
        """The pairs whose latency is measured."""
        return [name for name, pair in self.pairs.items() if pair.latency]

    def eager_on_gpu(self, pair: str) -> list[str]:
        """Names of a pair's models that transformers runs on a GPU.

        Decoding alone, they take their time to start kernels: a token's follows the number of layers, not the size.
        """
        names = dict.fromkeys((self.pairs[pair].draft, self.pairs[pair].target))
        models = {name: self.models[name] for name in names}
        return [
            name for name, each in models.items() if each.engine == "transformers" and last_ordinal(each.device) >= 0
        ]

    def variant_of(self, policy: str) -> str | None:
        """The router variant that decides for `policy`: `default` where it is of its kind, or else the first that is.

        None where the policy has no router, or the study no variant of its kind.
        """
        kind, variants = POLICIES[policy].router, self.router.variants
        return next((name for name in ("default", *variants) if variants[name].kind == kind), None)

    @property
    def routing_variants(self) -> list[str]:
        """The variants that decide for swept policies, in the order of these."""
        variants = dict.fromkeys(map(self.variant_of, self.sweep.policies))
        return [name for name in variants if name is not None]

    @property
    def target_reads_labelled(self) -> bool:
        """Whether the target reads the draft's steps while they are labelled, as a router variant is trained on it."""
        return any(variant.kind == "scalars+target" for variant in self.router.variants.values())

    def variants_of(self, pair: str) -> list[str]:
        """Router variants trained for `pair`: all on the ablation pair, the default and those that route on others."""
        if pair == self.ablation_pair:
            return list(self.router.variants)
        return list(dict.fromkeys(["default", *self.routing_variants]))

    def looks_ahead(self, pair: str) -> bool:
        """Whether a router of `pair` is trained on look-ahead labels, so that its labelled steps need them."""
        return any(self.router.variants[name].labels == "lookahead" for name in self.variants_of(pair))

    def reads_states(self, pair: str) -> bool:
        """Whether a router of `pair` reads the draft's hidden states, so that its labelled steps need them."""
        return any(self.router.variants[name].reads_states for name in self.variants_of(pair))

    @property
    def steps_shards(self) -> int:
        """Jobs that label the questions of a pair."""
        return self.steps.shards_of(self.questions.sample)

    def sweep_shards(self, benchmark: str) -> int:
        """Jobs that sweep `benchmark` for a pair."""
        return self.sweep.shards_of(self.benchmarks[benchmark].size)

    def reads(self, *keys: str) -> dict[str, Any]:
        """The values at dotted `keys`, for a rule's `params`: changing one of them reruns the rule.

        What a section sets `aside` is left out: steps and scores are known by what wrote them, not by where it ran.
        """
        values: dict[str, Any] = {}
        for key in keys:
            value: Any = self
            rest = key
            while rest:
                if isinstance(value, dict):  # a name may hold dots itself
                    part = max((name for name in value if f"{rest}.".startswith(f"{name}.")), key=len)
                    value, rest = value[part], rest[len(part) + 1 :]
                else:
                    part, _, rest = rest.partition(".")
                    value = getattr(value, part)
            values[key] = _plain(value)
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return {key: _plain(getattr(value, key)) for key in type(value).model_fields if key not in value.aside}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
