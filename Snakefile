# A study of "Arbitrage: Efficient Reasoning via Advantage-Aware Speculation", from questions to the report.
# A rule says what a stage reads and writes, and calls the command of its name; the logic is in the package `arbitrage`.
# results/<study>/questions/     evaluation questions, and those to label      rules/questions.smk
#                 models/        models in few bits, a converted PRM           rules/models.smk
#                 steps/         paired, scored, labelled steps                rules/label.smk
#                 lookahead/     where labelled steps lead, for some routers   rules/label.smk
#                 states/        the draft's hidden states, for some routers   rules/label.smk
#                 router/        data sets, routers, their held-out quality    rules/router.smk
#                 trajectories/  every policy's solutions, graded              rules/sweep.smk
#                 latency/ curves/  timed solutions, cost models, curves       rules/latency.smk, rules/curves.smk
#                 figures/ tables/  of the paper, from this study              rules/figures.smk
#                 summary.md     our numbers beside the paper's                rules/report.smk
#                 report/        all of it to look at in a browser             rules/report.smk; logs/ timings/ of all
from arbitrage.cli import workflow as study_workflow

if not workflow.config_settings.configfiles:  # a study stands alone; this one is the default

    configfile: "config.yaml"


STUDY = study_workflow.open_study(config, workflow)
study_workflow.count_gpus(STUDY, workflow)


include: "rules/common.smk"
include: "rules/fetch.smk"
include: "rules/questions.smk"
include: "rules/models.smk"
include: "rules/label.smk"
include: "rules/router.smk"
include: "rules/sweep.smk"
include: "rules/latency.smk"
include: "rules/curves.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        rules.figures.input,
        rules.report.output,
        rules.page.output,


onstart:
    study_workflow.start(STUDY)


onsuccess:
    logger.info(study_workflow.after_success(STUDY))


onerror:
    logger.info(study_workflow.AFTER_ERROR)
