# Names that several rules use. STUDY is the validated configuration; `STUDY.reads` picks what a rule depends on.
OUT = STUDY.folder
SOURCE = f"{workflow.basedir}/src/arbitrage"
PAIRS = list(STUDY.pairs)
TIMED_PAIRS = [name for name, pair in STUDY.pairs.items() if pair.latency]
BENCHMARKS = list(STUDY.benchmarks)
NEEDS_ROUTER = "router" in STUDY.sweep.policies
OWN_VLLM = any(model.engine != "transformers" and model.server.url is None for model in STUDY.models.values())
MODELS_ENV = "../envs/vllm.yaml" if OWN_VLLM else "../envs/training.yaml"  # of the jobs that run a pair's models
CURVES = {"accuracy_acceptance": "curves", "outcomes": "deferrals", "comparison": "comparison"}  # file -> its module


def reads_of(stage):
    """The values of the study that a job of `stage` depends on, as a function of its wildcards."""
    return lambda wildcards: settings_read(STUDY, stage, **dict(wildcards.items()))


def sources_of(stage):
    """The local files of checkpoints and data that a job of `stage` reads, as a function of its wildcards."""
    return lambda wildcards: source_files(STUDY, stage, **dict(wildcards.items()))


def quantised(*pairs):
    """The directories of models of `pairs`, and of the PRM, that a rule has to make first."""
    names = {name for pair in pairs for name in (STUDY.pairs[pair].draft, STUDY.pairs[pair].target)}
    made = [STUDY.model_path(name) for name in sorted(names) if STUDY.models[name].quantise]
    return made + ([STUDY.prm_path] if STUDY.prm.kind == "value-head" else [])


def made_by(*methods):
    """A pattern for the names of models that one of `methods` makes; one that fits nothing where there are none."""
    names = [name for name, model in STUDY.models.items() if model.quantise and model.quantise.method in methods]
    return "|".join(names) or "(?!)"


def evaluation(*names):
    """The modules that compute a table: these, and what all of them count and resample with."""
    return [
        f"{SOURCE}/evaluation/{name}.py"
        for name in (*names, "trajectory_counts", "curves", "bootstrap", "curve_matching")
    ]


def curve_file(kind):
    """Where the curves called `kind` go."""
    return f"{OUT}/curves/{kind}.csv"


def resources_of(stage):
    """What a job of `stage` asks a cluster for: each resource as a function of wildcards and attempt."""
    return {name: partial(_resource, stage, name) for name in resources.RESOURCES}


def _resource(stage, name, wildcards, attempt):
    return resources.resources(STUDY, stage, wildcards.get("pair"), attempt)[name]
