"""From a study to loaded engines: the one place that reads its models' keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from arbitrage.config.devices import model_devices
from arbitrage.config.models import Model
from arbitrage.config.prm import Prm
from arbitrage.config.router import RouterKind
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import Checkpoint, resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.hf.incremental import LiveGenerator, LiveScorer
from arbitrage.engines.prefix_cached import (
    PrefixCachedChecker,
    PrefixCachedGenerator,
    PrefixCachedReader,
    PrefixCachedScorer,
    PrefixCaching,
    PrefixReading,
)
from arbitrage.engines.scoring.answer_prm import AnswerScorer
from arbitrage.engines.scoring.labels import CLASSIFIERS, MARKED, PrmLabels, RouterLabels
from arbitrage.engines.scoring.scalar_router import ScalarRouter, kind_of
from arbitrage.engines.scoring.scorers import PrmScorer, RouterScorer, TransformersScorer
from arbitrage.engines.server.generator import OpenAiGenerator
from arbitrage.engines.server.launch import LocalServer, serve
from arbitrage.engines.vllm.generator import VllmGenerator
from arbitrage.engines.vllm.options import speculative_config
from arbitrage.engines.vllm.scorer import VllmScorer
from arbitrage.runtime.gpu_memory import USABLE, checker, checking, shares
from arbitrage.runtime.paths import StudyPaths
from arbitrage.speculation.protocols import EngineError, Generator, IncrementalGenerator, IncrementalScorer

AnyScorer = TransformersScorer | VllmScorer


@contextmanager
def open_pair(study: Study, pair: str, stage: str = "latency") -> Iterator[tuple[Generator, Generator]]:
    """Draft and target of `pair`, for as long as the context lasts; then whatever was started for them is stopped.

    study: with the models placed as a job of `stage` has them (`runtime.placement`); the stage also says which PRM and
    routers will want memory beside them. Raises EngineError, and DeviceError where they do not fit on their GPUs.
    """
    names = (study.pairs[pair].draft, study.pairs[pair].target)
    given = shares(study, stage, pair)
    share_of = {name: given[f"models.{name}"] for name in names}
    folder = StudyPaths.of(study).server_logs
    with ExitStack() as stack:
        local: dict[str, LocalServer] = {}

        def start(name: str) -> None:
            model = study.models[name]
            if model.starts_server and name not in local:
                server = serve(model_checkpoint(study, name), model, study.generation, share_of[name], folder)
                local[name] = stack.enter_context(server)

        gpus = [device for name in names if study.models[name].starts_server for device in _gpus(study.models[name])]
        if len(set(gpus)) == len(gpus):  # on one GPU the second waits for the first: vLLM measures what is free there
            for name in names:
                start(name)
        generators = []
        for name in names:
            start(name)
            generator = load_generator(study, name, local.get(name), share_of[name])
            if not isinstance(generator, TransformersGenerator):
                stack.callback(generator.close)
            generators.append(generator)
        yield generators[0], generators[1]


@contextmanager
def open_scorers(
    study: Study, pair: str, stage: str, routers: Sequence[Path], prm: bool = True
) -> Iterator[tuple[AnyScorer | None, AnyScorer | None, dict[RouterKind, ScalarRouter]]]:
    """PRM, where it is wanted, and trained routers (`load_routers`), for as long as the context lasts.

    study, stage: as for `open_pair`, whose models are opened first. Raises EngineError.
    """
    share_of = shares(study, stage, pair)
    with ExitStack() as stack:
        judge = load_prm(study, share_of.get("prm", USABLE)) if prm else None
        if isinstance(judge, VllmScorer):
            stack.callback(judge.close)
        classifier, scalar_routers = load_routers(study, routers, share_of.get("router", USABLE))
        if isinstance(classifier, VllmScorer):
            stack.callback(classifier.close)
        yield judge, classifier, scalar_routers


def _gpus(model: Model) -> list[str]:
    return [device for device in model_devices(model) if device.startswith("cuda")]


def load_generator(
    study: Study, name: str, local: LocalServer | None = None, share: float = USABLE
) -> TransformersGenerator | OpenAiGenerator | VllmGenerator:
    """Load `models.<name>` in this process, or find it on its server.

    local: the server that this job has started for it. share: of its GPUs' memory, for vLLM in this process.
    Raises EngineError where it cannot be loaded, or is still to be made.
    """
    model = study.models[name]
    checkpoint = model_checkpoint(study, name)
    if model.engine == "openai":
        return OpenAiGenerator(checkpoint, model, study.generation, local)
    if model.engine == "vllm":
        return VllmGenerator(checkpoint, model, study.generation, share)
    return TransformersGenerator(checkpoint, model, study.generation)


def model_checkpoint(study: Study, name: str) -> Checkpoint:
    """The checkpoint of `models.<name>`. Raises EngineError where a rule still has to make it."""
    model, path = study.models[name], study.model_path(name)
    if model.quantise and not Path(path).is_dir():
        raise EngineError(
            f"models.{name}: {path} is missing, which the rule quantise makes; run the pipeline, "
            f"or `arbitrage quantise --model {name} --out {path}`"
        )
    return resolve(path, model.revision, f"models.{name}", weights=model.server.url is None)


def prm_checkpoint(study: Study) -> Checkpoint:
    """The PRM's checkpoint, converted where it has a value head. Raises EngineError where that is still to be done."""
    prm, path = study.prm, study.prm_path
    if path != prm.path and not Path(path).is_dir():
        raise EngineError(
            f"prm: {path} is missing, the classifier that {prm.path} is converted to; "
            f"run `arbitrage convert-prm --out {path}`, or the pipeline, which does"
        )
    return resolve(path, prm.revision, "prm")


def router_start(study: Study) -> Checkpoint:
    """The checkpoint routers start from: `router.init`, or the PRM. Raises EngineError."""
    if study.router.init is None:
        return prm_checkpoint(study)
    return resolve(study.router.init, study.router.revision, "router.init")


@contextmanager
def open_checkers(study: Study, pair: str) -> Iterator[dict[int, VllmGenerator]]:
    """Engines of the target on vLLM in which the draft proposes tokens, by how many a round, for as long as the context
    lasts; none where vLLM does not run both, or their vocabularies differ. Raises EngineError.

    study: with its models placed for timing; the pair's models, PRM and routers are opened first.
    """
    names, models, engines = study.pairs[pair], study.models, dict[int, VllmGenerator]()
    if not (counts := checking(study, "latency", pair)):
        yield engines
        return
    draft, target = (model_checkpoint(study, name) for name in (names.draft, names.target))
    rows = {each.configs()[0].get_text_config(decoder=True).vocab_size for each in (draft, target)}
    if len(rows) > 1 or draft.tokenizer().get_vocab() != target.tokenizer().get_vocab():
        yield engines
        return
    share_of = shares(study, "latency", pair)
    with ExitStack() as stack:
        for count in counts:
            told = speculative_config(draft, models[names.draft].vllm, models[names.target].vllm, count)
            share = share_of[checker(names.target, count)]
            engines[count] = VllmGenerator(target, models[names.target], study.generation, share, told)
            stack.callback(engines[count].close)
        yield engines


def live_generator(generator: Generator, checkers: Mapping[int, VllmGenerator] | None = None) -> IncrementalGenerator:
    """`generator` for one question at a time, with a cache that is kept between calls. checkers: `open_checkers`."""
    if checkers and isinstance(generator, PrefixReading):
        return PrefixCachedChecker(generator, checkers)
    if isinstance(generator, TransformersGenerator):
        return LiveGenerator(generator)
    if isinstance(generator, PrefixReading):
        return PrefixCachedReader(generator)
    if isinstance(generator, PrefixCaching):
        return PrefixCachedGenerator(generator)
    raise EngineError(f"{type(generator).__name__} cannot decode live")


def live_scorer(scorer: AnyScorer) -> IncrementalScorer:
    """`scorer` for one question at a time, with a cache that is kept between calls."""
    return PrefixCachedScorer(scorer) if isinstance(scorer, VllmScorer) else LiveScorer(scorer)


def load_prm(study: Study, share: float = USABLE) -> AnyScorer:
    """Load the study's process reward model, of any kind. share: of its GPU's memory, for vLLM. Raises EngineError."""
    prm, checkpoint = study.prm, prm_checkpoint(study)
    if prm.kind == "auto":
        prm = prm.model_copy(update={"kind": kind_by_head(prm.path, checkpoint.head)})
    if study.router.init is None and prm.kind not in ("classifier", "value-head"):
        raise EngineError(
            f"router.init: not given, and no router can start from the PRM {prm.path}, which is of kind {prm.kind}; "
            "name a classification checkpoint or a small causal model"
        )
    if prm.engine == "vllm":
        require_engine(prm, prm.kind)
        labels = PrmLabels(checkpoint.path, prm, study.generation.separator)
        return VllmScorer(checkpoint, prm, labels, study.generation, share)
    kind = AnswerScorer if prm.kind in ("token", "judge") else PrmScorer
    return kind(checkpoint, prm, study.generation.separator)


def require_engine(prm: Prm, kind: str) -> None:
    """Raises EngineError where `prm.engine` does not run a PRM of `kind`, which its checkpoint may have told."""
    try:
        prm.require_engine(kind)
    except ValueError as error:
        raise EngineError(f"{prm.path}: {error}") from error


def kind_by_head(path: str, head: str) -> Literal["marks", "classifier"]:
    """What `prm.kind: auto` stands for, by the head of the checkpoint at `path`. Raises EngineError."""
    if head.endswith("ForProcessRewardModel"):
        return "marks"
    if head.endswith(CLASSIFIERS):
        return "classifier"
    raise EngineError(
        f"{path}: its head is {head}, so prm.kind auto does not know what it is; expected "
        f"{', '.join('*' + each for each in dict.fromkeys((*CLASSIFIERS, *MARKED)))}. Set prm.kind: value-head for "
        "Skywork-o1-Open-PRM, token for a PRM that answers with a token, judge for a chat model"
    )


def load_router(study: Study, directory: str | Path, share: float = USABLE) -> RouterScorer | VllmScorer:
    """Load a trained classifier from `directory`. share: of its GPU's memory, for vLLM. Raises EngineError."""
    checkpoint = resolve(directory, key="router")
    if study.router.engine == "vllm":
        labels = RouterLabels(checkpoint.path, checkpoint.directory)
        return VllmScorer(checkpoint, study.router, labels, study.generation, share)
    return RouterScorer(checkpoint, study.router)


def load_routers(
    study: Study, directories: Sequence[Path], share: float = USABLE
) -> tuple[RouterScorer | VllmScorer | None, dict[RouterKind, ScalarRouter]]:
    """Load trained routers, at most one a kind: the classifier (None without one), and those that read scalars.

    Raises EngineError.
    """
    by_kind = routers_by_kind(directories)
    twice = [kind for kind, paths in by_kind.items() if len(paths) > 1]
    if twice:
        raise EngineError(f"got {len(by_kind[twice[0]])} routers of kind {twice[0]}; expected one of each kind")
    classifier = by_kind.pop("classifier", None)
    scalar_routers = {kind: ScalarRouter(path) for kind, (path,) in by_kind.items()}
    return load_router(study, classifier[0], share) if classifier else None, scalar_routers


def routers_by_kind(directories: Sequence[Path]) -> dict[RouterKind, list[Path]]:
    """The directories of trained routers of each kind, in the order given. Raises EngineError where one holds none."""
    by_kind: dict[RouterKind, list[Path]] = {}
    for directory in directories:
        by_kind.setdefault(kind_of(directory), []).append(directory)
    return by_kind
