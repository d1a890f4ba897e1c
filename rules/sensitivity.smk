# How the lab's curves move with the PRM's quality and the target's depth (make sensitivity), and with another training of
# all its models: snakemake --cores all -s rules/sensitivity.smk, the same with `seeds` behind it.
#
# Each PRM, and each seed of a smaller zoo, has a study of its own, results/sensitivity-<PRM> and results/zoo-seed-<seed>,
# run by a Snakemake of its own. results/sensitivity/{prms,seeds}.{csv,md,pdf,png} set them side by side.
from shlex import quote

PRMS = ("prm_weak", "prm_middle", "prm")
SEEDS = (1, 2, 3)
ZOO = "src/arbitrage/lab/zoo"
STUDIES = {
    "prms": [f"results/sensitivity-{prm}" for prm in PRMS],
    "seeds": [f"results/zoo-seed-{seed}" for seed in SEEDS],
}
DONE = {
    "prms": [f"results/sensitivity/{prm}.done" for prm in PRMS],
    "seeds": [f"results/sensitivity/seed-{seed}.done" for seed in SEEDS],
}


def quoted_changes(seed):
    """What makes `studies/small-zoo.yaml` the study of one seed, as words of a command."""
    zoo = f"results/zoo-seed-{seed}/zoo"
    models = f"models={{draft: {{path: {zoo}/draft}}, target: {{path: {zoo}/target}}}}"
    router = f"router={{init: {zoo}/router_start}}"
    words = (f"study=zoo-seed-{seed}", f"zoo={{seed: {seed}}}", models, f"prm={{path: {zoo}/prm}}", router)
    return " ".join(map(quote, words))


wildcard_constraints:
    prm="|".join(PRMS),
    seed=r"\d+",


rule all:
    default_target: True
    input:
        multiext("results/sensitivity/prms", ".csv", ".md", ".pdf", ".png"),


rule prm_study:
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


rule seed_zoo:
    input:
        study="studies/small-zoo.yaml",
    output:
        touch("results/sensitivity/zoo-{seed}.done"),
    log:
        "results/sensitivity/zoo-{seed}.log",
    conda:
        "../envs/training.yaml"
    threads: workflow.cores
    params:
        changes=lambda w: quoted_changes(w.seed),
    message:
        "Train a small zoo from seed {wildcards.seed}"
    shell:
        "snakemake --cores {threads} --snakefile rules/zoo.smk --configfile {input.study:q}"
        " --config {params.changes} -- models 2>&1 | tee {log:q}"


rule seed_study:
    input:
        study="studies/small-zoo.yaml",
        zoo=rules.seed_zoo.output,
    output:
        touch("results/sensitivity/seed-{seed}.done"),
    log:
        "results/sensitivity/seed-{seed}.log",
    conda:
        "../envs/training.yaml"
    threads: workflow.cores
    params:
        changes=lambda w: quoted_changes(w.seed),
    message:
        "The study of the small zoo from seed {wildcards.seed}"
    shell:
        "snakemake --cores {threads} --configfile {input.study:q} --config {params.changes} 2>&1 | tee {log:q}"


rule side_by_side:
    input:
        lambda w: DONE[w.kind],
    output:
        multiext("results/sensitivity/{kind}", ".csv", ".md", ".pdf", ".png"),
    log:
        "results/sensitivity/{kind}.log",
    wildcard_constraints:
        kind="prms|seeds",
    conda:
        "../envs/analysis.yaml"
    params:
        studies=lambda w: STUDIES[w.kind],
        over=lambda w: {"prms": "prm", "seeds": "training"}[w.kind],
    message:
        "Set the {wildcards.kind} side by side"
    shell:
        "arbitrage sensitivity {params.studies:q} --over {params.over} --out results/sensitivity/{wildcards.kind}"
        " 2>&1 | tee {log:q}"


rule seeds:
    input:
        multiext("results/sensitivity/seeds", ".csv", ".md", ".pdf", ".png"),
    localrule: True
