# How the lab's curves move with the PRM's quality and the target's depth: snakemake -s rules/sensitivity.smk (make
# sensitivity).
#
# Each PRM has a study of its own, results/sensitivity-<PRM>, run by a Snakemake of its own; they share generated steps
# through the step store. results/sensitivity/{sensitivity.csv,sensitivity.png,...} sets them side by side.
PRMS = ("prm_weak", "prm_middle", "prm")
ZOO = "src/arbitrage/lab/zoo"


rule all:
    default_target: True
    input:
        multiext("results/sensitivity/sensitivity", ".csv", ".md", ".pdf", ".png"),


rule study:
    input:
        study="studies/sensitivity.yaml",
        models=expand(f"{ZOO}/{{role}}/model.safetensors", role=("draft", "base", "target", "router_start")),
        prm=f"{ZOO}/{{prm}}/model.safetensors",
    output:
        touch("results/sensitivity/{prm}.done"),
    log:
        "results/sensitivity/{prm}.log",
    conda:
        "../envs/training.yaml"
    threads: workflow.cores
    params:
        prm=lambda w: f"prm={{path: {ZOO}/{w.prm}}}",
    message:
        "The study with the zoo's {wildcards.prm}"
    shell:
        "snakemake --cores {threads} --configfile {input.study:q}"
        " --config study=sensitivity-{wildcards.prm} {params.prm:q} 2>&1 | tee {log:q}"


rule sensitivity:
    input:
        expand(rules.study.output, prm=PRMS),
    output:
        multiext("results/sensitivity/sensitivity", ".csv", ".md", ".pdf", ".png"),
    log:
        "results/sensitivity/sensitivity.log",
    conda:
        "../envs/analysis.yaml"
    params:
        studies=[f"results/sensitivity-{prm}" for prm in PRMS],
    message:
        "Set the PRMs side by side"
    shell:
        "arbitrage sensitivity {params.studies:q} --out results/sensitivity/sensitivity 2>&1 | tee {log:q}"
