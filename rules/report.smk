# The summary: headline numbers beside the paper's, with what agrees, what does not, and what is inconclusive. The page:
# that, figures, tables and an explorer of the solutions, in one file for a browser.


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


rule page:
    input:
        results=results_read(STUDY, "page"),
        modules=[
            f"{SOURCE}/report/page/{name}.py"
            for name in ("page", "charts", "explorer_data", "mistakes", "router_section", "router_charts")
        ],
        drawings=[f"{SOURCE}/figures/{name}.py" for name in (*FIGURES, "style")],
        templates=[
            f"{SOURCE}/report/page/templates/{name}"
            for name in ("index.html.j2", "router.html.j2", "page.css", "explorer.js")
        ],
    output:
        PATHS.page,
    log:
        PATHS.log("page"),
    benchmark:
        PATHS.timing("page")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("page"),
    message:
        "The report to open in a browser"
    shell:
        "arbitrage page --out {output:q} 2>&1 | tee {log:q}"
