# What would stop a study is looked for once, before its first model runs. Other rules take the report as `ancient`: it
# reruns nothing. It depends on no setting, for Snakemake passes over changes of the jobs behind one that is to run
# again; a changed study is looked at in the Snakefile's `onstart`.


rule check:
    output:
        f"{OUT}/check.json",
    log:
        f"{OUT}/logs/check.log",
    benchmark:
        f"{OUT}/benchmarks/check.tsv"
    conda:
        MODELS_ENV
    params:
        reads=reads_of("check"),
    message:
        "Check models, heads, tokenizers and data before anything is generated"
    shell:
        "arbitrage check --out {output} 2>&1 | tee {log}"
