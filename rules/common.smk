# Names that several rules use. STUDY is the validated configuration, PATHS says where each result is.
from functools import partial
from shlex import quote

from arbitrage.runtime import resources
from arbitrage.runtime.dependencies import results_read, settings_read, source_files
from arbitrage.runtime.outputs import CURVES, FIGURES, ROUTER_DETAILS, TABLES, quantised_models
from arbitrage.runtime.paths import StudyPaths

PATHS = StudyPaths.of(STUDY)
SOURCE = f"{workflow.basedir}/src/arbitrage"
PAIRS = list(STUDY.pairs)
BENCHMARKS = list(STUDY.benchmarks)
OWN_VLLM = "vllm" in (STUDY.prm.engine, STUDY.router.engine) or any(
    model.engine != "transformers" and model.server.url is None for model in STUDY.models.values()
)
MODELS_ENV = "../envs/vllm.yaml" if OWN_VLLM else "../envs/training.yaml"  # of the jobs that run a pair's models


wildcard_constraints:
    pair="|".join(PAIRS),
    benchmark="|".join(BENCHMARKS),
    variant="|".join(STUDY.router.variants),
    shard=r"\d+",
    seed=r"\d+",
    role="draft|target",


def reads_of(rule):
    """The values of the study that a job of `rule` depends on, as a function of its wildcards."""
    return lambda wildcards: settings_read(STUDY, rule, **dict(wildcards.items()))


def sources_of(rule):
    """The local files of checkpoints and data that a job of `rule` reads, as a function of its wildcards."""
    return lambda wildcards: source_files(STUDY, rule, **dict(wildcards.items()))


def resources_of(rule):
    """What a job of `rule` asks a cluster for: each resource as a function of wildcards and attempt."""
    return {name: partial(_resource, rule, name) for name in resources.RESOURCES}


def _resource(rule, name, wildcards, attempt):
    return resources.resources(STUDY, rule, wildcards.get("pair"), attempt, wildcards.get("variant"))[name]


def deciding_routers(trainings=STUDY.router.seeds):
    """The trained routers that decide for swept policies: of each such variant so many trainings."""
    return [PATHS.router("{pair}", variant, seed) for variant in STUDY.routing_variants for seed in range(trainings)]


def as_options(paths, option="--router"):
    """Words of a command that name trained routers, or what else an option takes one by one."""
    return " ".join(f"{option} {quote(path)}" for path in paths)


def lookahead_of(wildcards):
    """The look-ahead labels that a router variant is trained on; none where it learns the PRM's advantage."""
    if STUDY.router.variants[wildcards.variant].labels == "advantage":
        return []
    return [PATHS.lookahead(wildcards.pair, shard) for shard in range(STUDY.steps_shards)]


def states_of(wildcards):
    """The draft's hidden states, where the router variant reads them; else none."""
    if not STUDY.router.variants[wildcards.variant].reads_states:
        return []
    return [PATHS.states(wildcards.pair, shard) for shard in range(STUDY.steps_shards)]


def derived_models(pair):
    """The directories of a pair's models, and of the PRM, that other rules make first."""
    prm = [PATHS.model("_prm")] if STUDY.prm.kind == "value-head" else []
    return [PATHS.model(name) for name in quantised_models(STUDY, pair)] + prm


def is_calibrated(wildcards):
    """Whether the model is quantised by GPTQ, on labelling questions."""
    return STUDY.models[wildcards.model].quantise.method == "gptq"


def evaluation(*names):
    """The modules that compute a table: these, and what all of them count and resample with."""
    shared = ("trajectory_counts", "curves", "bootstrap", "curve_matching", "estimates", "paper_claims")
    return [f"{SOURCE}/evaluation/{name}.py" for name in (*names, *shared)]
