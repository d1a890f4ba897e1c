# Models made from others in few bits. GPTQ's library wants an older transformers, so it has an environment of its own.


rule quantise:
    input:
        checked=ancient(rules.check.output),
        sources=sources_of("quantise"),
    output:
        directory(f"{OUT}/models/{{model}}"),
    log:
        f"{OUT}/logs/quantise/{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks/quantise/{{model}}.tsv"
    wildcard_constraints:
        model=made_by("round", "gguf"),
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("quantise"),
    params:
        reads=reads_of("quantise"),
    message:
        "Quantise {wildcards.model}"
    shell:
        "arbitrage quantise --model {wildcards.model} --out {output} 2>&1 | tee {log}"


rule quantise_gptq:
    input:
        checked=ancient(rules.check.output),
        questions=rules.questions.output.table,
        sources=sources_of("quantise"),
    output:
        directory(f"{OUT}/models/{{model}}"),
    log:
        f"{OUT}/logs/quantise/{{model}}.log",
    benchmark:
        f"{OUT}/benchmarks/quantise/{{model}}.tsv"
    wildcard_constraints:
        model=made_by("gptq"),
    conda:
        "../envs/gptq.yaml"
    resources:
        **resources_of("quantise"),
    params:
        reads=reads_of("quantise_gptq"),
    message:
        "Quantise {wildcards.model} with GPTQ"
    shell:
        "arbitrage quantise --model {wildcards.model} --questions {input.questions} --out {output} 2>&1 | tee {log}"
