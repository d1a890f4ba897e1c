# The summary: headline numbers beside the paper's, with what agrees, what does not, and what cannot be told.


rule report:
    input:
        curves=[curve_file(kind) for kind in CURVES],
        latency=rules.accuracy_latency.output,
        cost=expand(rules.cost_model.output, pair=TIMED_PAIRS),
        quality=rules.router_quality.output,
        sampling=rules.questions.output.report,
        modules=[f"{SOURCE}/report/{name}.py" for name in ("summary", "claims", "verdicts", "latency", "paper")],
    output:
        f"{OUT}/summary.md",
    log:
        f"{OUT}/logs/report.log",
    benchmark:
        f"{OUT}/benchmarks/report.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("report"),
    message:
        "Summary beside the paper"
    shell:
        "arbitrage summary --out {output} {input.curves} {input.latency} {input.cost} {input.quality} {input.sampling}"
        " 2>&1 | tee {log}"
