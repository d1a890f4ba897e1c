# The lab's tokenizer and models, trained from nothing and measured: snakemake --cores all -s rules/zoo.smk (make zoo)
#
# results/<study>/zoo/{tokenizer,draft,base,target,prm,router_base,router_start,prm_middle,prm_weak}/, solutions.parquet,
# metrics.json; sizes and lengths are the study's section `zoo`. Every training goes on where it was killed.
from arbitrage.cli import workflow as study_workflow
from arbitrage.lab.zoo_cards import JUDGES, ROLES

if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


STUDY = study_workflow.open_study(config, workflow, models_exist=False)


include: "common.smk"


rule all:
    default_target: True
    input:
        PATHS.zoo("metrics.json"),


# What a study of one pair needs of it.
rule models:
    input:
        [PATHS.zoo(role) for role in ("draft", "target", "prm", "router_start")],


rule zoo_tokenizer:
    output:
        directory(PATHS.zoo("tokenizer")),
    log:
        PATHS.log("zoo_tokenizer"),
    benchmark:
        PATHS.timing("zoo_tokenizer")
    conda:
        "../envs/training.yaml"
    params:
        reads=reads_of("zoo_tokenizer"),
    message:
        "Build the lab's tokenizer"
    shell:
        "arbitrage zoo-tokenizer --out {output:q} 2>&1 | tee {log:q}"


rule zoo_model:
    input:
        rules.zoo_tokenizer.output,
    output:
        directory(PATHS.zoo("{role}")),
    log:
        PATHS.log("zoo_model", "{role}"),
    benchmark:
        PATHS.timing("zoo_model", "{role}")
    wildcard_constraints:
        role="draft|base|router_base",
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_model"),
    message:
        "Train the lab's {wildcards.role} from nothing"
    shell:
        "arbitrage zoo-model --role {wildcards.role} --tokenizer {input:q} --out {output:q} 2>&1 | tee {log:q}"


rule zoo_target:
    input:
        base=PATHS.zoo("base"),
    output:
        directory(PATHS.zoo("target")),
    log:
        PATHS.log("zoo_target"),
    benchmark:
        PATHS.timing("zoo_target")
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_target"),
    message:
        "Deepen the base into the lab's target"
    shell:
        "arbitrage zoo-target --base {input.base:q} --out {output:q} 2>&1 | tee {log:q}"


rule zoo_solutions:
    input:
        draft=PATHS.zoo("draft"),
        target=PATHS.zoo("target"),
    output:
        PATHS.zoo("solutions.parquet"),
    log:
        PATHS.log("zoo_solutions"),
    benchmark:
        PATHS.timing("zoo_solutions")
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_solutions"),
    message:
        "Have draft and target write solutions, and the checker judge them"
    shell:
        "arbitrage zoo-solutions --draft {input.draft:q} --target {input.target:q} --out {output:q} 2>&1 | tee {log:q}"


rule zoo_judge:
    input:
        base=lambda wildcards: PATHS.zoo("base" if wildcards.role == "prm" else "router_base"),
        solutions=PATHS.zoo("solutions.parquet"),
    output:
        directory(PATHS.zoo("{role}")),
    log:
        PATHS.log("zoo_judge", "{role}"),
    benchmark:
        PATHS.timing("zoo_judge", "{role}")
    wildcard_constraints:
        role="|".join(JUDGES),
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_judge"),
    message:
        "Train the lab's {wildcards.role} on the checker's labels"
    shell:
        "arbitrage zoo-judge --role {wildcards.role} --base {input.base:q} --solutions {input.solutions:q}"
        " --out {output:q} 2>&1 | tee {log:q}"


rule zoo_metrics:
    input:
        [PATHS.zoo(role) for role in ROLES],
    output:
        PATHS.zoo("metrics.json"),
    log:
        PATHS.log("zoo_metrics"),
    benchmark:
        PATHS.timing("zoo_metrics")
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_metrics"),
    message:
        "Measure the zoo and write its model cards"
    shell:
        "arbitrage zoo-metrics --out {output:q} 2>&1 | tee {log:q}"


onstart:
    study_workflow.lock(STUDY)
