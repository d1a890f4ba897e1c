# The live decoder against the clock. It takes every core (on a cluster a whole node), so that nothing runs beside it.


rule latency:
    input:
        questions=expand(rules.benchmark.output, benchmark=BENCHMARKS),
        trajectories=lambda w: expand(rules.trajectories.output, pair=w.pair, benchmark=BENCHMARKS),
        router=f"{OUT}/router/{{pair}}/default/model",
        models=lambda w: quantised(w.pair),
        sources=sources_of("latency"),
    output:
        f"{OUT}/latency/{{pair}}.parquet",
    log:
        f"{OUT}/logs/latency/{{pair}}.log",
    benchmark:
        f"{OUT}/benchmarks/latency/{{pair}}.tsv"
    priority: -1  # after all other work, when the machine is quiet
    conda:
        MODELS_ENV
    threads: workflow.cores if workflow.local_exec else 1
    resources:
        **resources_of("latency"),
    params:
        reads=reads_of("latency"),
    message:
        "Latency of {wildcards.pair}, alone on the machine"
    shell:
        "arbitrage latency --pair {wildcards.pair} --router {input.router} --out {output} 2>&1 | tee {log}"


rule cost_model:
    input:
        latency=rules.latency.output,
        trajectories=lambda w: expand(rules.trajectories.output, pair=w.pair, benchmark=BENCHMARKS),
        modules=evaluation("cost_model"),
    output:
        f"{OUT}/latency/{{pair}}.cost.json",
    log:
        f"{OUT}/logs/cost_model/{{pair}}.log",
    benchmark:
        f"{OUT}/benchmarks/cost_model/{{pair}}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("cost_model"),
    message:
        "Cost model of {wildcards.pair}"
    shell:
        "arbitrage cost-model --latency {input.latency} --out {output} {input.trajectories}" " 2>&1 | tee {log}"
