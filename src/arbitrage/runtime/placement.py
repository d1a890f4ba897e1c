"""Which GPUs of a job its models are on, by the study's `placement`."""

from __future__ import annotations

from arbitrage.config.devices import last_ordinal, model_devices
from arbitrage.config.policies import needing
from arbitrage.config.study import Study

STAGES = ("label", "lookahead", "sweep", "latency")  # those that run a pair's models


def placed(study: Study, stage: str, pair: str) -> Study:
    """`study` with the devices on which a job of `stage` has the models of `pair`, PRM and router among them.

    stage: one of STAGES. Together, a job has as many GPUs as the widest of draft and target is cut over; models are
    dealt out to them in turn, the widest first, so that a target cut over four shares none of them with two others.
    """
    if getattr(study.placement, stage) == "apart":
        return study
    pairs = study.pairs[pair]
    names = [name for name in (pairs.draft, pairs.target) if last_ordinal(study.models[name].device) >= 0]
    widths = {name: len(model_devices(study.models[name])) for name in names if study.models[name].server.url is None}
    gpus, free = max(widths.values(), default=1), 0

    def take(width: int) -> dict[str, str]:
        nonlocal free
        first = free if free + width <= gpus else 0
        free = (first + width) % gpus
        return {"device": f"cuda:{first}"}

    models = dict(study.models)
    for name in sorted(widths, key=lambda each: -widths[each]):
        models[name] = models[name].model_copy(update=take(widths[name]))
    prm, router = (
        scorer.model_copy(update=take(1)) if last_ordinal(scorer.device) >= 0 else scorer
        for scorer in (study.prm, study.router)
    )
    return study.model_copy(update={"models": models, "prm": prm, "router": router})


def loads_router(study: Study, stage: str) -> bool:
    """Whether a job of `stage` loads a trained classifier: the sweep does where its policy is swept, one at a time."""
    return stage == "latency" or (stage == "sweep" and bool(needing("router").intersection(study.sweep.policies)))
