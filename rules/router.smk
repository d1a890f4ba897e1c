# From labelled steps to a trained router, for every variant of Tables 1-3.
ROUTER = f"{OUT}/router/{{pair}}/{{variant}}"


rule dataset:
    input:
        steps=rules.steps.output,
        sources=sources_of("dataset"),
    output:
        directory(f"{ROUTER}/dataset"),
    log:
        f"{OUT}/logs/dataset/{{pair}}-{{variant}}.log",
    benchmark:
        f"{OUT}/benchmarks/dataset/{{pair}}-{{variant}}.tsv"
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("dataset"),
    params:
        reads=reads_of("dataset"),
    message:
        "Balanced data set for the router {wildcards.variant} of {wildcards.pair}"
    shell:
        "arbitrage dataset --variant {wildcards.variant} --steps {input.steps} --out {output} 2>&1 | tee {log}"


rule router:
    input:
        dataset=rules.dataset.output,
        sources=sources_of("router"),
    output:
        directory(f"{ROUTER}/seed-{{seed}}/model"),
    log:
        f"{OUT}/logs/router/{{pair}}-{{variant}}-{{seed}}.log",
    benchmark:
        f"{OUT}/benchmarks/router/{{pair}}-{{variant}}-{{seed}}.tsv"
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("router"),
    params:
        reads=reads_of("router"),
    message:
        "Train the router {wildcards.variant} of {wildcards.pair}, seed {wildcards.seed}"
    shell:
        "arbitrage train-router --variant {wildcards.variant} --seed {wildcards.seed}"
        " --dataset {input.dataset} --out {output} 2>&1 | tee {log}"


rule heldout:
    input:
        model=rules.router.output,
        dataset=rules.dataset.output,
    output:
        f"{ROUTER}/seed-{{seed}}/heldout.parquet",
    log:
        f"{OUT}/logs/heldout/{{pair}}-{{variant}}-{{seed}}.log",
    benchmark:
        f"{OUT}/benchmarks/heldout/{{pair}}-{{variant}}-{{seed}}.tsv"
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("router"),
    params:
        reads=reads_of("heldout"),
    message:
        "Held-out scores of the router {wildcards.variant} of {wildcards.pair}, seed {wildcards.seed}"
    shell:
        "arbitrage heldout --variant {wildcards.variant} --seed {wildcards.seed}"
        " --router {input.model} --dataset {input.dataset} --out {output} 2>&1 | tee {log}"


rule router_quality:
    input:
        heldout=[
            f"{OUT}/router/{pair}/{variant}/seed-{seed}/heldout.parquet"
            for pair in PAIRS
            for variant in STUDY.variants_of(pair)
            for seed in range(STUDY.router.seeds)
        ],
        modules=evaluation("router_quality"),
    output:
        f"{OUT}/router/quality.csv",
    log:
        f"{OUT}/logs/router_quality.log",
    benchmark:
        f"{OUT}/benchmarks/router_quality.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("router_quality"),
    message:
        "Quality of every router on held-out questions"
    shell:
        "arbitrage router-quality --out {output} {input.heldout} 2>&1 | tee {log}"


rule quantiles:
    input:
        steps=rules.steps.output,
        heldout=lambda w: default_routers(w.pair, "heldout.parquet") if NEEDS_ROUTER else [],
    output:
        f"{OUT}/thresholds/{{pair}}.json",
    log:
        f"{OUT}/logs/quantiles/{{pair}}.log",
    benchmark:
        f"{OUT}/benchmarks/quantiles/{{pair}}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("quantiles"),
    message:
        "Thresholds of {wildcards.pair}, even in acceptance"
    shell:
        "arbitrage quantiles --pair {wildcards.pair} --steps {input.steps} --out {output} {input.heldout} 2>&1 | tee {log}"
