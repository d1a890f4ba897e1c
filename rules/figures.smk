# One rule for each figure and table of the paper; each depends on its own module, so that editing one redraws that one alone.
FIGURE_INPUTS = {
    "fig3": [curve_file("outcomes")],
    "fig4": [curve_file("accuracy_acceptance")],
    "fig5": [rules.accuracy_latency.output.curves, rules.accuracy_latency.output.speedup],
    "fig6": [*ALL_TRAJECTORIES, *expand(rules.benchmark.output, benchmark=BENCHMARKS)],
    "figA1": [curve_file("outcomes")],
    "figE1": [curve_file("accuracy_acceptance")],
}
FIGURE_HELPERS = {"fig6": ["evaluation/worked_example"], "figE1": ["figures/fig4"]}  # what a figure's module draws with
TABLES = ["table1", "table2", "table3", "tableC1"]


rule figure:
    input:
        data=lambda w: FIGURE_INPUTS[w.figure],
        module=f"{SOURCE}/figures/{{figure}}.py",
        style=f"{SOURCE}/figures/style.py",
        helpers=lambda w: [f"{SOURCE}/{name}.py" for name in FIGURE_HELPERS.get(w.figure, [])],
    output:
        pdf=report(f"{OUT}/figures/{{figure}}.pdf", category="Figures", labels={"figure": "{figure}"}),
        png=f"{OUT}/figures/{{figure}}.png",
    log:
        f"{OUT}/logs/figure/{{figure}}.log",
    benchmark:
        f"{OUT}/benchmarks/figure/{{figure}}.tsv"
    wildcard_constraints:
        figure="|".join(FIGURE_INPUTS),
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("figure"),
    message:
        "Draw {wildcards.figure}"
    shell:
        "arbitrage figure {wildcards.figure} --pdf {output.pdf} --png {output.png} {input.data} 2>&1 | tee {log}"


rule table:
    input:
        quality=rules.router_quality.output,
        module=f"{SOURCE}/figures/{{table}}.py",
        helpers=[f"{SOURCE}/figures/{name}.py" for name in ("router_table", "markdown")],
    output:
        csv=f"{OUT}/tables/{{table}}.csv",
        md=f"{OUT}/tables/{{table}}.md",
    log:
        f"{OUT}/logs/table/{{table}}.log",
    benchmark:
        f"{OUT}/benchmarks/table/{{table}}.tsv"
    wildcard_constraints:
        table="|".join(TABLES),
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("table"),
    message:
        "Write {wildcards.table}"
    shell:
        "arbitrage table {wildcards.table} --csv {output.csv} --md {output.md} {input.quality} 2>&1 | tee {log}"


rule figures:
    input:
        expand(rules.figure.output, figure=FIGURE_INPUTS),
        expand(rules.table.output, table=TABLES),


rule pictures:
    input:
        [f"{OUT}/figures/{name}.png" for name in ("fig4", "fig5")],
    output:
        [f"docs/pictures/{name}.png" for name in ("fig4", "fig5")],
    log:
        f"{OUT}/logs/pictures.log",
    conda:
        "../envs/analysis.yaml"
    message:
        "Refresh the README's pictures"
    shell:
        "cp -v {input} docs/pictures/ 2>&1 | tee {log}"
