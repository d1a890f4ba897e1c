# Every trajectory of every policy on each benchmark, graded: `sweep` by the shard, `trajectories` joins the shards.


rule sweep:
    input:
        questions=rules.evaluation_questions.output,
        router=deciding_routers(),
        thresholds=PATHS.quantiles("{pair}") if STUDY.sweep.thresholds == "quantiles" else [],
        models=lambda w: derived_models(w.pair),
        sources=sources_of("sweep"),
    output:
        PATHS.sweep("{pair}", "{benchmark}", "{shard}"),
    log:
        PATHS.log("sweep", "{pair}-{benchmark}-{shard}"),
    benchmark:
        PATHS.timing("sweep", "{pair}-{benchmark}-{shard}")
    conda:
        MODELS_ENV
    resources:
        **resources_of("sweep"),
    params:
        reads=reads_of("sweep"),
        router=lambda w, input: as_options(input.get("router", [])),
        thresholds=lambda w, input: f"--thresholds {quote(input.thresholds)}" if input.get("thresholds") else "",
    message:
        "Sweep of {wildcards.pair} on {wildcards.benchmark}, shard {wildcards.shard}"
    shell:
        "arbitrage sweep --pair {wildcards.pair} --benchmark {wildcards.benchmark} --shard {wildcards.shard}"
        " --questions {input.questions:q} {params.router} {params.thresholds} --out {output:q} 2>&1 | tee {log:q}"


rule trajectories:
    input:
        lambda w: [PATHS.sweep(w.pair, w.benchmark, shard) for shard in range(STUDY.sweep_shards(w.benchmark))],
    output:
        PATHS.trajectories("{pair}", "{benchmark}"),
    log:
        PATHS.log("trajectories", "{pair}-{benchmark}"),
    benchmark:
        PATHS.timing("trajectories", "{pair}-{benchmark}")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("trajectories"),
    message:
        "Trajectories of {wildcards.pair} on {wildcards.benchmark}"
    shell:
        "arbitrage trajectories --out {output:q} {input:q} 2>&1 | tee {log:q}"
