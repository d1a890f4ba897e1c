# The whole study: questions -> steps -> labels -> router -> trajectories -> latency -> curves -> figures -> report.
# The logic is in the package `arbitrage`; a rule names what a stage reads and writes and calls one command of it.
from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from arbitrage.config import load, revisions
from arbitrage.preflight import recheck
from arbitrage.runtime import invocation, locks, resources
from arbitrage.runtime.dependencies import settings_read, source_files


configfile: "config.yaml"


ONLY_ZOO = invocation.only("zoo")  # which makes the very models that the study may name

try:
    STUDY = load.validate_config(config, workflow.config_settings.config, check_paths=not ONLY_ZOO)
except load.ConfigError as error:
    raise WorkflowError(str(error)) from None
STUDY, UNPINNED = revisions.pinned(STUDY)
load.announce(STUDY)


include: "rules/common.smk"


# On a cluster these run where Snakemake runs: they take seconds, or need the network (questions and benchmarks).
localrules:
    all,
    check,
    benchmark,
    questions,
    steps,
    trajectories,
    router_quality,
    cost_model,
    figure,
    table,
    figures,
    pictures,
    report,


wildcard_constraints:
    pair="|".join(PAIRS),
    benchmark="|".join(BENCHMARKS),
    variant="|".join(STUDY.router.variants),
    shard=r"\d+",


include: "rules/check.smk"
include: "rules/questions.smk"
include: "rules/zoo.smk"
include: "rules/quantise.smk"
include: "rules/convert.smk"
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
    for line in UNPINNED:
        logger.warning(f"A branch that cannot be pinned to a commit: {line}")
    try:
        locks.guard_study(Path(OUT))
        # Not for the zoo alone, which makes models; not with jobs' own environments, where only a job can look.
        if not (ONLY_ZOO or workflow.deployment_settings.deployment_method):
            recheck.recheck(STUDY)
    except (locks.StudyBusy, recheck.NotReady) as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    if Path(OUT, "summary.md").exists():
        logger.info(
            f"Start with {OUT}/summary.md; figures are in {OUT}/figures. To check them: arbitrage verify {OUT}"
        )


onerror:
    logger.info(
        "Ended early; what is finished is kept. If a job failed, its log, named above, says why. The same command goes on "
        "from here."
    )
