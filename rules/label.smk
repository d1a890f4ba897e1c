# Paired draft and target steps from the same context, scored by the PRM (paper, section 4.2): `label` by the shard,
# `steps` joins the shards. By the shard too: `lookahead`, where a router variant has such labels, and `states`, where one
# reads the draft's hidden states.


rule label:
    input:
        questions=rules.questions.output.table,
        models=lambda w: derived_models(w.pair),
        sources=sources_of("label"),
    output:
        PATHS.label("{pair}", "{shard}"),
    log:
        PATHS.log("label", "{pair}-{shard}"),
    benchmark:
        PATHS.timing("label", "{pair}-{shard}")
    conda:
        MODELS_ENV
    resources:
        **resources_of("label"),
    params:
        reads=reads_of("label"),
    message:
        "Label steps of {wildcards.pair}, shard {wildcards.shard}"
    shell:
        "arbitrage label --pair {wildcards.pair} --shard {wildcards.shard}"
        " --questions {input.questions:q} --out {output:q} 2>&1 | tee {log:q}"


rule steps:
    input:
        lambda w: [PATHS.label(w.pair, shard) for shard in range(STUDY.steps_shards)],
    output:
        PATHS.steps("{pair}"),
    log:
        PATHS.log("steps", "{pair}"),
    benchmark:
        PATHS.timing("steps", "{pair}")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("steps"),
    message:
        "Labelled steps of {wildcards.pair}"
    shell:
        "arbitrage steps --out {output:q} {input:q} 2>&1 | tee {log:q}"


rule lookahead:
    input:
        questions=rules.questions.output.table,
        steps=rules.label.output,
        models=lambda w: derived_models(w.pair),
        sources=sources_of("lookahead"),
    output:
        PATHS.lookahead("{pair}", "{shard}"),
    log:
        PATHS.log("lookahead", "{pair}-{shard}"),
    benchmark:
        PATHS.timing("lookahead", "{pair}-{shard}")
    conda:
        MODELS_ENV
    resources:
        **resources_of("lookahead"),
    params:
        reads=reads_of("lookahead"),
    message:
        "Look ahead from labelled steps of {wildcards.pair}, shard {wildcards.shard}"
    shell:
        "arbitrage lookahead --pair {wildcards.pair} --shard {wildcards.shard}"
        " --questions {input.questions:q} --steps {input.steps:q} --out {output:q} 2>&1 | tee {log:q}"


rule states:
    input:
        steps=rules.label.output,
        models=lambda w: derived_models(w.pair),
        sources=sources_of("states"),
    output:
        PATHS.states("{pair}", "{shard}"),
    log:
        PATHS.log("states", "{pair}-{shard}"),
    benchmark:
        PATHS.timing("states", "{pair}-{shard}")
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("states"),
    params:
        reads=reads_of("states"),
    message:
        "The draft's states after labelled steps of {wildcards.pair}, shard {wildcards.shard}"
    shell:
        "arbitrage states --pair {wildcards.pair} --shard {wildcards.shard}"
        " --steps {input.steps:q} --out {output:q} 2>&1 | tee {log:q}"
