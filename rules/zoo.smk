# Trains the lab's tokenizer and models from nothing and measures them (`make zoo`). Every job goes on where it was killed.
ZOO = f"{OUT}/zoo"
ZOO_LOG = f"{OUT}/logs/zoo"
ZOO_BENCHMARK = f"{OUT}/benchmarks/zoo"


rule zoo_tokenizer:
    output:
        directory(f"{ZOO}/tokenizer"),
    log:
        f"{ZOO_LOG}/tokenizer.log",
    benchmark:
        f"{ZOO_BENCHMARK}/tokenizer.tsv"
    conda:
        "../envs/training.yaml"
    params:
        reads=reads_of("zoo_tokenizer"),
    message:
        "Build the lab's tokenizer"
    shell:
        "arbitrage zoo-tokenizer --out {output} 2>&1 | tee {log}"


rule zoo_model:
    input:
        rules.zoo_tokenizer.output,
    output:
        directory(f"{ZOO}/{{role}}"),
    log:
        f"{ZOO_LOG}/{{role}}.log",
    benchmark:
        f"{ZOO_BENCHMARK}/{{role}}.tsv"
    wildcard_constraints:
        role="draft|base|router_base",
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_model"),
    message:
        "Train the lab's {wildcards.role} from nothing"
    shell:
        "arbitrage zoo-model --role {wildcards.role} --tokenizer {input} --out {output} 2>&1 | tee {log}"


rule zoo_target:
    input:
        base=f"{ZOO}/base",
    output:
        directory(f"{ZOO}/target"),
    log:
        f"{ZOO_LOG}/target.log",
    benchmark:
        f"{ZOO_BENCHMARK}/target.tsv"
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_target"),
    message:
        "Deepen the base into the lab's target"
    shell:
        "arbitrage zoo-target --base {input.base} --out {output} 2>&1 | tee {log}"


rule zoo_solutions:
    input:
        draft=f"{ZOO}/draft",
        target=f"{ZOO}/target",
    output:
        f"{ZOO}/solutions.parquet",
    log:
        f"{ZOO_LOG}/solutions.log",
    benchmark:
        f"{ZOO_BENCHMARK}/solutions.tsv"
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_solutions"),
    message:
        "Have draft and target write solutions, and the checker judge them"
    shell:
        "arbitrage zoo-solutions --draft {input.draft} --target {input.target} --out {output} 2>&1 | tee {log}"


rule zoo_judge:
    input:
        base=lambda wildcards: f"{ZOO}/{'base' if wildcards.role == 'prm' else 'router_base'}",
        solutions=f"{ZOO}/solutions.parquet",
    output:
        directory(f"{ZOO}/{{role}}"),
    log:
        f"{ZOO_LOG}/{{role}}.log",
    benchmark:
        f"{ZOO_BENCHMARK}/{{role}}.tsv"
    wildcard_constraints:
        role="prm|router_start",
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_judge"),
    message:
        "Train the lab's {wildcards.role} on the checker's labels"
    shell:
        "arbitrage zoo-judge --role {wildcards.role} --base {input.base} --solutions {input.solutions} --out {output} 2>&1 | tee {log}"


rule zoo:
    input:
        draft=f"{ZOO}/draft",
        target=f"{ZOO}/target",
        prm=f"{ZOO}/prm",
        router_start=f"{ZOO}/router_start",
    output:
        f"{ZOO}/metrics.json",
    log:
        f"{ZOO_LOG}/evaluate.log",
    benchmark:
        f"{ZOO_BENCHMARK}/evaluate.tsv"
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo"),
    message:
        "Measure the zoo and write its model cards"
    shell:
        "arbitrage zoo-metrics --out {output} 2>&1 | tee {log}"
