"""Memory of GPUs: what each model of a job takes there, and what is left for keys and values, from files alone.

Weights are as large as they are, and each engine needs some room beside them. The rest of a GPU goes to keys and values
in proportion to what a context takes in each model, so that all models on it hold the same number of contexts: every
question is in all of them at once. A model that is cut over several GPUs is bounded by the fullest of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from arbitrage.config.devices import last_ordinal, model_devices
from arbitrage.config.models import Model
from arbitrage.config.prm import Prm
from arbitrage.config.router import Router
from arbitrage.config.study import Study
from arbitrage.runtime.gpus import DeviceError, memory_bytes
from arbitrage.runtime.memory import BYTES, GB, TRAINED_BYTES, Shape, shape
from arbitrage.runtime.placement import loads_router

GIB = 2**30
USABLE = 0.9  # of a GPU's memory: what others hold there, fragments, and what no estimate knows is in the rest
ENGINE_BYTES = 2 * GIB  # beside weights, of vLLM: a CUDA context, activations of its longest pass, CUDA graphs
SCORER_BYTES = 2 * GIB  # of PRM, router, and a model on transformers: activations of a batch, beside what is cached
EXCHANGED_BYTES = 4  # of a weight trained on several GPUs: its gradient once more, in DistributedDataParallel's buckets
TRAINING_BYTES = 4 * GIB  # of a router: activations of a micro-batch, recomputed layer by layer


@dataclass(frozen=True)
class Part:
    """What one model puts on one GPU, in bytes.

    subject: its key in the study; gpu: the ordinal; weights; beside: activations and the like; context: keys and values
    of one context of the study's longest (0 where nothing is cached); share, cached: the share of the GPU, or the bytes
    for keys and values, that the study gives it itself; proposed: tokens a round of a draft that is loaded with it.
    """

    subject: str
    gpu: int
    weights: int
    beside: int
    context: int
    share: float | None = None
    cached: int | None = None
    proposed: int = 0

    def given(self, size: float) -> float | None:
        """Bytes for its keys and values on a GPU of `size` bytes, by the study's own words; None without any."""
        if self.cached is not None:
            return self.cached
        return None if self.share is None else self.share * size - self.weights - self.beside


@dataclass(frozen=True)
class Portion:
    """A part with its bytes for keys and values, less than 0 where nothing is left, on a GPU of `size` bytes."""

    part: Part
    cache: float
    size: float

    @property
    def contexts(self) -> float:
        """Contexts of the study's longest that it holds at once."""
        return self.cache / self.part.context if self.part.context else float(self.cache >= 0)

    @property
    def share(self) -> float:
        """Of the GPU's memory, with all that the model needs."""
        return (self.part.weights + self.part.beside + self.cache) / self.size


def parts(study: Study, stage: str, pair: str, shapes: Mapping[str, Shape]) -> Iterator[Part]:
    """What a job of `stage` puts on GPUs, as the devices in `study` say (`placement.placed`): models, PRM, routers.

    stage: one of `placement.STAGES`, or `router`, a training. shapes: by subject (`models.<name>`, `prm`, `router`); a
    model without one is left out.
    """
    limit = study.generation.max_tokens
    if stage == "router":
        found, settings = shapes.get("router"), study.router
        classified = any(variant.kind == "classifier" for variant in settings.variants.values())
        if found is not None and classified and last_ordinal(settings.device) >= 0:
            taken = training(study, found)
            for gpu in range(study.resources.router.gpus or 1):
                yield Part("router", gpu, taken.weights, taken.beside, 0)
        return
    draft, target = study.pairs[pair].draft, study.pairs[pair].target
    for name in dict.fromkeys((draft, target)):
        yield from _parts_of(f"models.{name}", study.models[name], shapes, limit)
    for count in checking(study, stage, pair):
        own = study.models[target]
        draft_there = study.models[draft].model_copy(update={"device": own.device, "vllm": own.vllm})
        proposing = _parts_of(f"models.{draft}", draft_there, shapes, limit)
        for part, beside in zip(_parts_of(f"models.{target}", own, shapes, limit), proposing, strict=True):
            both = {key: getattr(part, key) + getattr(beside, key) for key in ("weights", "context")}
            yield replace(part, subject=checker(target, count), share=None, proposed=count, **both)
    for subject, scorer, loaded in (("prm", study.prm, True), ("router", study.router, loads_router(study, stage))):
        found, ordinal = shapes.get(subject), last_ordinal(scorer.device)
        if found is not None and loaded and ordinal >= 0:
            paged, room = scorer.engine == "vllm", scorer.vllm
            longest = min(room.longest(limit) if paged else limit, found.positions)
            yield Part(
                subject,
                ordinal,
                found.weight_bytes(scorer.dtype),
                ENGINE_BYTES if paged else SCORER_BYTES,
                found.cached * BYTES[scorer.dtype] * longest,
                share=room.memory_share if paged else None,
                cached=int(room.cache_gib * GIB) if paged and room.cache_gib else None,
            )


@dataclass(frozen=True)
class Training:
    """What the training of a router takes on each of its GPUs, in bytes; sharded: a part of the router each (FSDP)."""

    weights: int
    beside: int
    sharded: bool


def training(study: Study, found: Shape) -> Training:
    """What the router of shape `found` takes in training; sharded where it must be, and several GPUs share it.

    Whole on each GPU (DistributedDataParallel) it has its weights, gradients, AdamW's two moments, and the gradients
    that are exchanged. Sharded it is whole for a moment, when it is loaded, and its embeddings whenever they compute.
    """
    gpus, settings = study.resources.router.gpus or 1, study.router.training
    layers = min(settings.top_layers or found.layers, found.layers)
    trained = found.parameters * layers // max(found.layers, 1)
    frozen = (found.parameters - trained) * BYTES["float32"]
    whole = (TRAINED_BYTES + (EXCHANGED_BYTES if gpus > 1 else 0)) * trained + frozen
    size = gpu_bytes(study, 0)
    if gpus == 1 or size is None or whole + TRAINING_BYTES <= USABLE * size:
        return Training(whole, TRAINING_BYTES, sharded=False)
    loaded = BYTES["float32"] * found.parameters * (gpus + 1) // gpus
    part = TRAINED_BYTES * trained // gpus + frozen
    return Training(max(loaded, part), TRAINING_BYTES + BYTES["float32"] * found.embedded, sharded=True)


def _parts_of(subject: str, model: Model, shapes: Mapping[str, Shape], limit: int) -> Iterator[Part]:
    """The parts of a model that writes, solutions of at most `limit` tokens; none where a server elsewhere has it."""
    found = shapes.get(subject)
    if found is None or model.server.url is not None:
        return
    devices = [device for device in model_devices(model) if last_ordinal(device) >= 0]
    bits = model.quantise.bits if model.quantise and model.quantise.method == "gptq" else None
    heads = max(1, -(-found.kv_heads // max(len(devices), 1)))  # on each GPU: a head is never cut
    position = found.cached * heads // max(found.kv_heads, 1) * BYTES[model.dtype]
    paged, cache = model.engine != "transformers", model.vllm.cache_gib
    for device in devices:
        yield Part(
            subject,
            last_ordinal(device),
            found.weight_bytes(model.dtype, bits) // len(devices),
            ENGINE_BYTES if paged else SCORER_BYTES,
            position * min(model.vllm.longest(limit), found.positions),
            share=model.vllm.memory_share if paged else None,
            cached=int(cache * GIB) if paged and cache else None,
        )


def checking(study: Study, stage: str, pair: str) -> list[int]:
    """Tokens a round of the engines in which vLLM has a pair's target check its draft's, in a job of `stage`."""
    return study.checked_by_vllm(pair) if stage == "latency" else []


def checker(target: str, count: int) -> str:
    """The subject of the engine in which `models.<target>` checks `count` tokens of the draft's a round."""
    return f"models.{target} with {count} proposed tokens"


def divided(members: Sequence[Part], sizes: Mapping[int, float]) -> list[Portion]:
    """Each part with its keys and values, on GPUs of so many bytes by ordinal."""
    on: dict[int, list[Part]] = defaultdict(list)
    for part in members:
        on[part.gpu].append(part)
    contexts: dict[str, float] = {}  # of the models whose keys and values take what is left
    for gpu, own in on.items():
        free = USABLE * sizes[gpu] - sum(part.weights + part.beside + (part.given(sizes[gpu]) or 0) for part in own)
        open_parts = [part for part in own if part.given(sizes[gpu]) is None]
        each = free / (sum(part.context for part in open_parts) or 1)
        for part in open_parts:
            contexts[part.subject] = min(each, contexts.get(part.subject, each))
    portions = []
    for part in members:
        size = sizes[part.gpu]
        given = part.given(size)
        cache = contexts[part.subject] * (part.context or 1) if given is None else given  # or 1: all that is left
        portions.append(Portion(part, cache, size))
    return portions


def shortage(study: Study, stage: str, portions: Sequence[Portion]) -> str | None:
    """What does not fit in a job of `stage`, and what to do about it; None where every model holds one context."""
    least = min(portions, key=lambda portion: portion.contexts, default=None)
    if least is None or least.contexts >= 1:
        return None
    on: dict[int, list[Part]] = defaultdict(list)
    for portion in portions:
        if portion.part.gpu == least.part.gpu or portion.contexts == least.contexts:
            on[portion.part.gpu] = [each.part for each in portions if each.part.gpu == portion.part.gpu]
    gpu, own = max(on.items(), key=lambda item: sum(part.weights + part.beside + part.context for part in item[1]))
    weights, beside, context = (sum(getattr(part, key) for part in own) for key in ("weights", "beside", "context"))
    if least.part.given(least.size) is not None:
        remedy = f"raise vllm.memory_share or vllm.cache_gib of {least.part.subject}, or leave it out"
    elif any(part.proposed for part in own):
        remedy = "name fewer latency.speculative_tokens, or [], each is an engine of both models, or take larger GPUs"
    elif getattr(study.placement, stage, "apart") == "together":
        remedy = f"set placement.{stage} to apart, lower vllm.max_context, or take larger GPUs"
    elif stage == "router":
        remedy = "raise resources.router.gpus, set router.training.top_layers, or name a smaller router.init"
    else:
        remedy = "give its models devices of their own, cut the largest over more, or take larger GPUs"
    subjects = ", ".join(part.subject for part in own)
    return (
        f"GPU {gpu} has {least.size / GIB:.1f} GiB, {USABLE:.0%} of it for models; {subjects} take "
        f"{weights / GIB:.1f} of weights, {beside / GIB:.1f} beside them and {context / GIB:.1f} for one context of "
        f"the longest: {remedy}"
    )


def shares(study: Study, stage: str, pair: str) -> dict[str, float]:
    """The share of each of its GPUs' memory that vLLM may take for each model in a job of `stage`, by subject.

    study: with its models placed; PRM and router are among them where vLLM runs them. As configured
    (`vllm.memory_share`); or what `divided` gives it; or, where a size or the memory of a GPU cannot be known, an equal
    part of USABLE for all models on the fullest of its GPUs. Raises DeviceError where they do not fit.
    """
    names = dict.fromkeys((study.pairs[pair].draft, study.pairs[pair].target))
    own: dict[str, Model | Prm | Router] = {f"models.{name}": study.models[name] for name in names}
    own |= {key: each for key, each in (("prm", study.prm), ("router", study.router)) if each.engine == "vllm"}
    shapes, target = local_shapes(study, pair), study.pairs[pair].target
    checkers = [checker(target, count) for count in checking(study, stage, pair)]
    members = list(parts(study, stage, pair, shapes))
    sizes = {part.gpu: gpu_bytes(study, part.gpu) for part in members}
    known = {gpu: size for gpu, size in sizes.items() if size is not None}
    if members and len(known) == len(sizes) and all(part.weights and part.context for part in members):
        portions = divided(members, known)
        if reason := shortage(study, stage, portions):
            raise DeviceError(reason)
        found = {portion.part.subject: portion.share for portion in portions}
    else:
        loaded = (*names, *[target] * len(checkers))
        models_on = Counter(last_ordinal(device) for name in loaded for device in model_devices(study.models[name]))
        models_on.update(map(last_ordinal, (study.prm.device, study.router.device)))
        found = {
            subject: USABLE / max(models_on[last_ordinal(device)] for device in _devices(each))
            for subject, each in own.items()
        }
        found |= dict.fromkeys(checkers, found[f"models.{target}"])
    given = {subject: each.vllm.memory_share or found.get(subject, USABLE) for subject, each in own.items()}
    return given | {subject: found.get(subject, USABLE) for subject in checkers}


def _devices(model: Model | Prm | Router) -> list[str]:
    return model_devices(model) if isinstance(model, Model) else [model.device]


def local_shapes(study: Study, pair: str) -> dict[str, Shape]:
    """Shapes of the models, PRM and router of `pair`, by subject; unknown ones where they are not on this machine."""
    names = (study.pairs[pair].draft, study.pairs[pair].target)
    origins = {name: study.origin(name) for name in names}
    found = {f"models.{name}": shape(str(origin.path), origin.revision) for name, origin in origins.items()}
    return found | {"prm": shape(study.prm_path, study.prm.revision), "router": shape(*study.router_init)}


def gpu_bytes(study: Study, gpu: int) -> float | None:
    """Bytes of a job's GPU: as the study names them, or as this machine's driver does; None where nobody does."""
    named = study.resources.gpu_memory_gb
    return named * GB if named is not None else memory_bytes(gpu)
