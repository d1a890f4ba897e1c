# Trains the lab's tokenizer, draft, target and PRM from nothing and measures them (`make zoo`).
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
        role="draft|target",
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_model"),
    message:
        "Train the lab's {wildcards.role} from nothing"
    shell:
        "arbitrage zoo-model --role {wildcards.role} --tokenizer {input} --out {output} 2>&1 | tee {log}"


rule zoo_prm:
    input:
        draft=f"{ZOO}/draft",
        target=f"{ZOO}/target",
    output:
        directory(f"{ZOO}/prm"),
    log:
        f"{ZOO_LOG}/prm.log",
    benchmark:
        f"{ZOO_BENCHMARK}/prm.tsv"
    conda:
        "../envs/training.yaml"
    threads: STUDY.zoo.threads
    params:
        reads=reads_of("zoo_prm"),
    message:
        "Train the lab's process reward model on the checker's labels"
    shell:
        "arbitrage zoo-prm --draft {input.draft} --target {input.target} --out {output} 2>&1 | tee {log}"


rule zoo:
    input:
        draft=f"{ZOO}/draft",
        target=f"{ZOO}/target",
        prm=f"{ZOO}/prm",
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
