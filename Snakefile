# The whole study: questions -> steps -> labels -> router -> trajectories -> latency -> curves -> figures -> report.
# The logic is in the package `arbitrage`; a rule names what a stage reads and writes and calls one command of it.
from snakemake.exceptions import WorkflowError

from arbitrage import loading, running


configfile: "config.yaml"


try:
    STUDY = loading.validate_config(config, workflow.config_settings.config)
except loading.ConfigError as fault:
    raise WorkflowError(str(fault)) from None
OUT = STUDY.folder
RESOLVED = loading.write_resolved(STUDY, STUDY.results)  # what the commands read; named by its own hash
PAIRS = list(STUDY.pairs)
TIMED_PAIRS = [name for name, pair in STUDY.pairs.items() if pair.latency]
BENCHMARKS = list(STUDY.benchmarks)
SOURCE = f"{workflow.basedir}/src/arbitrage"


wildcard_constraints:
    pair="|".join(PAIRS),
    benchmark="|".join(BENCHMARKS),
    variant="|".join(STUDY.router.variants),
    shard=r"\d+",


include: "rules/questions.smk"
include: "rules/steps.smk"
include: "rules/router.smk"
include: "rules/trajectories.smk"
include: "rules/latency.smk"
include: "rules/curves.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        rules.figures.input,
        rules.report.input,


onstart:
    try:
        running.guard_study(Path(OUT))
    except running.StudyBusy as fault:
        raise WorkflowError(str(fault)) from None
