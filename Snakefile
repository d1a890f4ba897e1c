# The whole study: questions -> steps -> labels -> router -> trajectories -> latency -> curves -> figures -> report.
# The logic is in the package `arbitrage`; a rule names what a stage reads and writes and calls one command of it.
from pathlib import Path

from snakemake.exceptions import WorkflowError

from arbitrage import loading, running


configfile: "config.yaml"


try:
    STUDY = loading.validate_config(config, workflow.config_settings.config)
except loading.ConfigError as fault:
    raise WorkflowError(str(fault)) from None
loading.announce(STUDY)


include: "rules/common.smk"


wildcard_constraints:
    pair="|".join(PAIRS),
    benchmark="|".join(BENCHMARKS),
    variant="|".join(STUDY.router.variants),
    shard=r"\d+",


include: "rules/questions.smk"
include: "rules/zoo.smk"
include: "rules/quantise.smk"
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
        rules.report.output,


onstart:
    try:
        running.guard_study(Path(OUT))
    except running.StudyBusy as fault:
        raise WorkflowError(str(fault)) from None
