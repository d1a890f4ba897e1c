# Paired draft and target steps from the same context, scored by the PRM (paper, section 4.1), in shards.
GENERATING = ("study", "seed", "threads", "generation", "prm")


def reads_pair(pair, *keys):
    """The sections a stage that runs the models of `pair` reads, and `keys`."""
    names = (STUDY.pairs[pair].draft, STUDY.pairs[pair].target)
    return STUDY.reads(*GENERATING, *(f"models.{name}" for name in names), *keys)


def quantised(*pairs):
    """The directories of models of `pairs` that a rule has to make first."""
    names = {name for pair in pairs for name in (STUDY.pairs[pair].draft, STUDY.pairs[pair].target)}
    return [STUDY.model_path(name) for name in sorted(names) if STUDY.models[name].quantise]


rule quantise:
    output:
        directory(f"{OUT}/models/{{model}}"),
    params:
        reads=lambda w: STUDY.reads(f"models.{w.model}", f"models.{STUDY.models[w.model].quantise.model}"),
    log:
        f"{OUT}/logs/quantise/{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks/quantise/{{model}}.tsv"
    conda:
        "../envs/training.yaml"
    message:
        "Round the weights for {wildcards.model}"
    shell:
        "arbitrage quantise --study {RESOLVED} --model {wildcards.model} --out {output} 2>&1 | tee {log}"


rule steps_shard:
    input:
        questions=rules.questions.output.table,
        models=lambda w: quantised(w.pair),
    output:
        f"{OUT}/steps/{{pair}}/shard-{{shard}}.parquet",
    params:
        reads=lambda w: reads_pair(w.pair, "steps"),
    log:
        f"{OUT}/logs/steps/{{pair}}-{{shard}}.log",
    benchmark:
        f"{OUT}/benchmarks/steps/{{pair}}-{{shard}}.tsv"
    conda:
        "../envs/training.yaml"
    message:
        "Paired steps of {wildcards.pair}, shard {wildcards.shard}"
    shell:
        "arbitrage steps --study {RESOLVED} --pair {wildcards.pair} --shard {wildcards.shard}"
        " --questions {input.questions} --out {output} 2>&1 | tee {log}"


rule steps:
    input:
        expand(f"{OUT}/steps/{{{{pair}}}}/shard-{{shard}}.parquet", shard=range(STUDY.steps.shards)),
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
