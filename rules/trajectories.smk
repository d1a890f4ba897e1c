# The exact sweep of all policies over each benchmark, graded, in shards.


rule trajectories_shard:
    input:
        checked=ancient(rules.check.output),
        questions=rules.benchmark.output,
        router=lambda w: default_routers(w.pair, "model") if NEEDS_ROUTER else [],
        thresholds=f"{OUT}/thresholds/{{pair}}.json" if STUDY.sweep.thresholds == "quantiles" else [],
        models=lambda w: quantised(w.pair),
        sources=sources_of("trajectories"),
    output:
        f"{OUT}/trajectories/{{pair}}/{{benchmark}}/shard-{{shard}}.parquet",
    log:
        f"{OUT}/logs/trajectories/{{pair}}-{{benchmark}}-{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/trajectories/{{pair}}-{{benchmark}}-{{shard}}.tsv"
    conda:
        MODELS_ENV
    resources:
        **resources_of("trajectories"),
    params:
        reads=reads_of("trajectories"),
        router=lambda w, input: " ".join(f"--router {path}" for path in input.get("router", [])),
        thresholds=lambda w, input: f"--thresholds {input.thresholds}" if input.get("thresholds") else "",
    message:
        "Sweep of {wildcards.pair} on {wildcards.benchmark}, shard {wildcards.shard}"
    shell:
        "arbitrage trajectories --pair {wildcards.pair} --benchmark {wildcards.benchmark}"
        " --shard {wildcards.shard} --questions {input.questions} {params.router} {params.thresholds} --out {output} 2>&1 | tee {log}"


rule trajectories:
    input:
        lambda w: expand(
            f"{OUT}/trajectories/{w.pair}/{w.benchmark}/shard-{{shard}}.parquet",
            shard=range(STUDY.sweep_shards(w.benchmark)),
        ),
    output:
        f"{OUT}/trajectories/{{pair}}/{{benchmark}}.parquet",
    log:
        f"{OUT}/logs/trajectories/{{pair}}-{{benchmark}}.log",
    benchmark:
        f"{OUT}/benchmarks/trajectories/{{pair}}-{{benchmark}}.tsv"
    conda:
        "../envs/analysis.yaml"
    message:
        "Trajectories of {wildcards.pair} on {wildcards.benchmark}"
    shell:
        "arbitrage merge --table trajectories --out {output} {input} 2>&1 | tee {log}"


ALL_TRAJECTORIES = expand(rules.trajectories.output, pair=PAIRS, benchmark=BENCHMARKS)
