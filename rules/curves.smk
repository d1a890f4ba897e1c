# From graded trajectories and timed solutions to numbers: curves, outcomes, latency, speed-up.


rule accuracy_acceptance:
    input:
        trajectories=ALL_TRAJECTORIES,
        module=f"{SOURCE}/evaluation/curves.py",
    output:
        f"{OUT}/curves/accuracy_acceptance.csv",
    params:
        reads=STUDY.reads("seed", "curves"),
    log:
        f"{OUT}/logs/accuracy_acceptance.log",
    benchmark:
        f"{OUT}/benchmarks/accuracy_acceptance.tsv"
    conda:
        "../envs/analysis.yaml"
    message:
        "Accuracy against acceptance"
    shell:
        "arbitrage curves acceptance --study {RESOLVED} --out {output} {input.trajectories} 2>&1 | tee {log}"


rule outcomes:
    input:
        trajectories=ALL_TRAJECTORIES,
        module=f"{SOURCE}/evaluation/outcomes.py",
    output:
        f"{OUT}/curves/outcomes.csv",
    params:
        reads=STUDY.reads("seed", "curves"),
    log:
        f"{OUT}/logs/outcomes.log",
    benchmark:
        f"{OUT}/benchmarks/outcomes.tsv"
    conda:
        "../envs/analysis.yaml"
    message:
        "Wasted deferrals and outcomes of rejections"
    shell:
        "arbitrage curves outcomes --study {RESOLVED} --out {output} {input.trajectories} 2>&1 | tee {log}"


rule accuracy_latency:
    input:
        trajectories=expand(rules.trajectories.output, pair=TIMED_PAIRS, benchmark=BENCHMARKS),
        latency=expand(rules.latency.output, pair=TIMED_PAIRS),
        cost=expand(rules.cost_model.output, pair=TIMED_PAIRS),
        modules=[f"{SOURCE}/evaluation/{name}.py" for name in ("latency_curves", "speedup", "cost")],
    output:
        curves=f"{OUT}/curves/accuracy_latency.csv",
        speedup=f"{OUT}/curves/speedup.csv",
    params:
        reads=STUDY.reads("seed", "curves"),
    log:
        f"{OUT}/logs/accuracy_latency.log",
    benchmark:
        f"{OUT}/benchmarks/accuracy_latency.tsv"
    conda:
        "../envs/analysis.yaml"
    message:
        "Accuracy against latency, and speed-up at matched accuracy"
    shell:
        "arbitrage curves latency --study {RESOLVED} --trajectories {OUT}/trajectories --latency {OUT}/latency"
        " --out {output.curves} --speedup {output.speedup} 2>&1 | tee {log}"
