# The live decoder against the clock. It takes every core (on a cluster a whole node), so that nothing runs beside it.


rule latency:
    input:
        questions=[PATHS.questions(benchmark) for benchmark in BENCHMARKS],
        trajectories=lambda w: [PATHS.trajectories(w.pair, benchmark) for benchmark in BENCHMARKS],
        router=deciding_routers(trainings=1),
        models=lambda w: derived_models(w.pair),
        sources=sources_of("latency"),
    output:
        PATHS.latency("{pair}"),
    log:
        PATHS.log("latency", "{pair}"),
    benchmark:
        PATHS.timing("latency", "{pair}")
    priority: -1  # after all other work, when the machine is quiet
    conda:
        MODELS_ENV
    threads: lambda w: workflow.cores if workflow.local_exec else 1
    resources:
        **resources_of("latency"),
    params:
        reads=reads_of("latency"),
        router=lambda w, input: as_options(input.get("router", [])),
    message:
        "Latency of {wildcards.pair}, alone on the machine"
    shell:
        "arbitrage latency --pair {wildcards.pair} {params.router} --out {output:q} 2>&1 | tee {log:q}"


rule cost_model:
    input:
        latency=rules.latency.output,
        trajectories=lambda w: [PATHS.trajectories(w.pair, benchmark) for benchmark in BENCHMARKS],
        modules=evaluation("cost_model"),
    output:
        PATHS.cost_model("{pair}"),
    log:
        PATHS.log("cost_model", "{pair}"),
    benchmark:
        PATHS.timing("cost_model", "{pair}")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("cost_model"),
    message:
        "Cost model of {wildcards.pair}"
    shell:
        "arbitrage cost-model --latency {input.latency:q} --out {output:q} {input.trajectories:q} 2>&1 | tee {log:q}"
