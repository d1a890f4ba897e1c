# Evaluation questions, and the questions whose steps are labelled (paper, section 4.2).


rule evaluation_questions:
    input:
        sources=sources_of("evaluation_questions"),
    output:
        PATHS.questions("{benchmark}"),
    log:
        PATHS.log("evaluation_questions", "{benchmark}"),
    benchmark:
        PATHS.timing("evaluation_questions", "{benchmark}")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("evaluation_questions"),
    message:
        "Questions of {wildcards.benchmark}"
    shell:
        "arbitrage evaluation-questions --name {wildcards.benchmark} --out {output:q} 2>&1 | tee {log:q}"


rule questions:
    input:
        sources=sources_of("questions"),
    output:
        table=PATHS.labelling_questions,
        report=PATHS.sampling_report,
    log:
        PATHS.log("questions"),
    benchmark:
        PATHS.timing("questions")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("questions"),
    message:
        "Sample the labelling questions, none of them in a benchmark"
    shell:
        "arbitrage questions --out {output.table:q} --report {output.report:q} 2>&1 | tee {log:q}"
