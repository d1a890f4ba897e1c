# From graded trajectories and timed solutions to numbers: curves, outcomes, latency, speed-up.


rule curves:
    input:
        trajectories=ALL_TRAJECTORIES,
        modules=lambda w: evaluation(CURVES[w.kind]),
    output:
        f"{OUT}/curves/{{kind}}.csv",
    log:
        f"{OUT}/logs/curves/{{kind}}.log",
    benchmark:
        f"{OUT}/benchmarks/curves/{{kind}}.tsv"
    wildcard_constraints:
        kind="|".join(CURVES),
    conda:
        "../envs/analysis.yaml"
    resources:
        **resources_of("small"),
    params:
        reads=reads_of("curves"),
    message:
        "Curves: {wildcards.kind}"
    shell:
        "arbitrage curves --kind {wildcards.kind} --out {output} {input.trajectories} 2>&1 | tee {log}"


rule accuracy_latency:
    input:
        trajectories=expand(rules.trajectories.output, pair=TIMED_PAIRS, benchmark=BENCHMARKS),
        latency=expand(rules.latency.output, pair=TIMED_PAIRS),
        cost=expand(rules.cost_model.output, pair=TIMED_PAIRS),
        modules=evaluation("latency_curves", "speedup", "cost_model", "comparison"),
    output:
        curves=f"{OUT}/curves/accuracy_latency.csv",
        speedup=f"{OUT}/curves/speedup.csv",
    log:
        f"{OUT}/logs/accuracy_latency.log",
    benchmark:
        f"{OUT}/benchmarks/accuracy_latency.tsv"
    conda:
        "../envs/analysis.yaml"
    resources:
        **resources_of("small"),
    params:
        reads=reads_of("accuracy_latency"),
    message:
        "Accuracy against latency, and speed-up at matched accuracy"
    shell:
        "arbitrage latency-curves --out {output.curves} --speedup {output.speedup} 2>&1 | tee {log}"
