# From graded trajectories and timed solutions to numbers: curves, outcomes of deferrals, latency, speed-up.
CURVE_MODULES = {"accuracy_acceptance": "accuracy_acceptance", "outcomes": "deferrals", "comparison": "comparison"}


rule curves:
    input:
        trajectories=[PATHS.trajectories(pair, benchmark) for pair in PAIRS for benchmark in BENCHMARKS],
        modules=lambda w: evaluation(CURVE_MODULES[w.kind]),
    output:
        PATHS.curves("{kind}"),
    log:
        PATHS.log("curves", "{kind}"),
    benchmark:
        PATHS.timing("curves", "{kind}")
    wildcard_constraints:
        kind="|".join(CURVES),
    conda:
        "../envs/analysis.yaml"
    resources:
        **resources_of("curves"),
    params:
        reads=reads_of("curves"),
    message:
        "Curves: {wildcards.kind}"
    shell:
        "arbitrage curves --kind {wildcards.kind} --out {output:q} {input.trajectories:q} 2>&1 | tee {log:q}"


rule accuracy_latency:
    input:
        results=results_read(STUDY, "accuracy_latency"),
        modules=evaluation("latency_curves", "speedup", "cost_model", "decoder_work", "comparison"),
    output:
        curves=PATHS.curves("accuracy_latency"),
        speedup=PATHS.curves("speedup"),
    log:
        PATHS.log("accuracy_latency"),
    benchmark:
        PATHS.timing("accuracy_latency")
    conda:
        "../envs/analysis.yaml"
    resources:
        **resources_of("accuracy_latency"),
    params:
        reads=reads_of("accuracy_latency"),
    message:
        "Accuracy against latency, and speed-up at matched accuracy"
    shell:
        "arbitrage accuracy-latency --out {output.curves:q} --speedup {output.speedup:q} 2>&1 | tee {log:q}"
