# The summary: headline numbers beside the paper's, with what agrees, what does not, and what is inconclusive.


report: "../report/workflow.rst"


rule report:
    input:
        results=results_read(STUDY, "report"),
        modules=[f"{SOURCE}/report/{name}.py" for name in ("summary", "claims", "verdicts", "latency", "paper")],
    output:
        report(PATHS.summary, caption="../report/summary.rst", category="Summary"),
    log:
        PATHS.log("report"),
    benchmark:
        PATHS.timing("report")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("report"),
    message:
        "Summary beside the paper"
    shell:
        "arbitrage report --out {output:q} 2>&1 | tee {log:q}"
