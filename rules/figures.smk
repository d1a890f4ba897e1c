# One rule for all figures and one for all tables; each depends on its own module, so that editing one redraws that one alone.
FIGURE_HELPERS = {
    "fig6": ["evaluation/worked_example"],
    "figE1": ["figures/fig4"],
    "routers": ["figures/fig5"],
}  # what a figure's module draws with


rule figure:
    input:
        results=lambda w: results_read(STUDY, "figure", w.figure),
        module=f"{SOURCE}/figures/{{figure}}.py",
        style=f"{SOURCE}/figures/style.py",
        helpers=lambda w: [f"{SOURCE}/{name}.py" for name in FIGURE_HELPERS.get(w.figure, [])],
    output:
        pdf=report(
            PATHS.figure("{figure}", "pdf"),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "file": "for print"},
        ),
        png=report(
            PATHS.figure("{figure}", "png"),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "file": "to look at"},
        ),
    log:
        PATHS.log("figure", "{figure}"),
    benchmark:
        PATHS.timing("figure", "{figure}")
    wildcard_constraints:
        figure="|".join(FIGURES),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("figure"),
    message:
        "Draw {wildcards.figure}"
    shell:
        "arbitrage figure {wildcards.figure} --pdf {output.pdf:q} --png {output.png:q} 2>&1 | tee {log:q}"


rule table:
    input:
        results=lambda w: results_read(STUDY, "table", w.table),
        module=f"{SOURCE}/figures/{{table}}.py",
        helpers=[f"{SOURCE}/figures/{name}.py" for name in ("router_table", "markdown")],
    output:
        csv=report(
            PATHS.table("{table}", "csv"),
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        md=PATHS.table("{table}", "md"),
    log:
        PATHS.log("table", "{table}"),
    benchmark:
        PATHS.timing("table", "{table}")
    wildcard_constraints:
        table="|".join(TABLES),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("table"),
    message:
        "Write {wildcards.table}"
    shell:
        "arbitrage table {wildcards.table} --csv {output.csv:q} --md {output.md:q} 2>&1 | tee {log:q}"


rule figures:
    input:
        expand(rules.figure.output, figure=FIGURES),
        expand(rules.table.output, table=TABLES),
    localrule: True


rule pictures:
    input:
        [PATHS.figure(name, "png") for name in ("fig4", "fig5", "routers")],
    output:
        [f"docs/pictures/{name}.png" for name in ("fig4", "fig5", "routers")],
    log:
        PATHS.log("pictures"),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    message:
        "Refresh the README's pictures"
    shell:
        "cp -v {input:q} docs/pictures/ 2>&1 | tee {log:q}"
