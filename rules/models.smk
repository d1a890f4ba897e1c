# Models that the study makes from others: copies in few bits, and a PRM whose value head becomes a standard classifier.
# GPTQ's library wants an older transformers: it has an environment of its own.


rule quantise:
    input:
        questions=lambda w: PATHS.labelling_questions if is_calibrated(w) else [],
        sources=sources_of("quantise"),
    output:
        directory(PATHS.model("{model}")),
    log:
        PATHS.log("quantise", "{model}"),
    benchmark:
        PATHS.timing("quantise", "{model}")
    wildcard_constraints:
        model="|".join(name for name, model in STUDY.models.items() if model.quantise) or "(?!)",
    conda:
        lambda w: "../envs/gptq.yaml" if is_calibrated(w) else "../envs/training.yaml"
    resources:
        **resources_of("quantise"),
    params:
        reads=reads_of("quantise"),
        questions=lambda w, input: f"--questions {quote(input.questions)}" if is_calibrated(w) else "",
    message:
        "Quantise {wildcards.model}"
    shell:
        "arbitrage quantise --model {wildcards.model} {params.questions} --out {output:q} 2>&1 | tee {log:q}"


rule convert_prm:
    input:
        sources=sources_of("convert_prm"),
    output:
        directory(PATHS.model("_prm")),
    log:
        PATHS.log("convert_prm"),
    benchmark:
        PATHS.timing("convert_prm")
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("convert_prm"),
    params:
        reads=reads_of("convert_prm"),
    message:
        "Convert the PRM's value head"
    shell:
        "arbitrage convert-prm --out {output:q} 2>&1 | tee {log:q}"
