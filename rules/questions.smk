# Evaluation questions, and the questions whose steps are labelled (paper, section 4.1).


rule benchmark:
    input:
        sources=sources_of("benchmark"),
    output:
        f"{OUT}/questions/{{benchmark}}.parquet",
    log:
        f"{OUT}/logs/benchmark/{{benchmark}}.log",
    benchmark:
        f"{OUT}/benchmarks/benchmark/{{benchmark}}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("benchmark"),
    message:
        "Questions of {wildcards.benchmark}"
    shell:
        "arbitrage benchmark --name {wildcards.benchmark} --out {output} 2>&1 | tee {log}"


rule questions:
    input:
        benchmarks=expand(f"{OUT}/questions/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        sources=sources_of("questions"),
    output:
        table=f"{OUT}/questions/labelling.parquet",
        report=f"{OUT}/questions/labelling.json",
    log:
        f"{OUT}/logs/questions.log",
    benchmark:
        f"{OUT}/benchmarks/questions.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("questions"),
    message:
        "Sample the labelling questions, none of them in a benchmark"
    shell:
        "arbitrage questions --out {output.table} --report {output.report} {input.benchmarks}" " 2>&1 | tee {log}"
