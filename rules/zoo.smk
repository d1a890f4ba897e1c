# The lab's tokenizer, draft, target and PRM, trained from nothing and measured: snakemake -s rules/zoo.smk (make zoo)
#
# results/<study>/zoo/{tokenizer,draft,target,prm}/, metrics.json; sizes and lengths are the study's section `zoo`.
from arbitrage.cli import workflow as study_workflow

if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


STUDY = study_workflow.open_study(config, workflow, models_exist=False)


include: "common.smk"


rule all:
    default_target: True
    input:
        PATHS.zoo("metrics.json"),


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
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_model"),
    message:
        "Train the lab's {wildcards.role} from nothing"
    shell:
        "arbitrage zoo-model --role {wildcards.role} --tokenizer {input:q} --out {output:q} 2>&1 | tee {log:q}"


rule zoo_prm:
    input:
        draft=PATHS.zoo("draft"),
        target=PATHS.zoo("target"),
    output:
        directory(PATHS.zoo("prm")),
    log:
        PATHS.log("zoo_prm"),
    benchmark:
        PATHS.timing("zoo_prm")
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_prm"),
    message:
        "Train the lab's process reward model on the checker's labels"
    shell:
        "arbitrage zoo-prm --draft {input.draft:q} --target {input.target:q} --out {output:q} 2>&1 | tee {log:q}"


rule zoo_metrics:
    input:
        draft=PATHS.zoo("draft"),
        target=PATHS.zoo("target"),
        prm=rules.zoo_prm.output,
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
