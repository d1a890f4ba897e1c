# What would stop a study is looked for before its first model runs (`arbitrage check`). Other rules take the report as
# `ancient`: a new check alone reruns nothing.


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
