# Paired draft and target steps from the same context, scored by the PRM (paper, section 4.1), in shards.
rule steps_shard:
    input:
        checked=ancient(rules.check.output),
        questions=rules.questions.output.table,
        models=lambda w: quantised(w.pair),
        sources=sources_of("steps"),
    output:
        f"{OUT}/steps/{{pair}}/shard-{{shard}}.parquet",
    log:
        f"{OUT}/logs/steps/{{pair}}-{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/steps/{{pair}}-{{shard}}.tsv"
    conda:
        MODELS_ENV
    resources:
        **resources_of("steps"),
    params:
        reads=reads_of("steps"),
    message:
        "Paired steps of {wildcards.pair}, shard {wildcards.shard}"
    shell:
        "arbitrage steps --pair {wildcards.pair} --shard {wildcards.shard}"
        " --questions {input.questions} --out {output} 2>&1 | tee {log}"


rule steps:
    input:
        expand(f"{OUT}/steps/{{{{pair}}}}/shard-{{shard}}.parquet", shard=range(STUDY.steps_shards)),
    output:
        f"{OUT}/steps/{{pair}}.parquet",
    log:
        f"{OUT}/logs/steps/{{pair}}.log",
    benchmark:
        f"{OUT}/benchmarks/steps/{{pair}}.tsv"
    conda:
        "../envs/analysis.yaml"
    message:
        "Labelled steps of {wildcards.pair}"
    shell:
        "arbitrage merge --table steps --out {output} {input} 2>&1 | tee {log}"
