# Retrains the lab's tokenizer, draft, target and PRM from nothing and measures them (`make zoo`).
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
        questions=STUDY.zoo.tokenizer_questions,
        seed=STUDY.zoo.seed,
    message:
        "Build the lab's tokenizer"
    shell:
        "python -m arbitrage.lab.tokenizer --out {output} --questions {params.questions} --seed {params.seed}"
        " 2>&1 | tee {log}"


rule zoo_language_model:
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
        shape=lambda w: getattr(STUDY.zoo, w.role),
        zoo=STUDY.zoo,
    message:
        "Train the lab's {wildcards.role} from nothing"
    shell:
        "python -m arbitrage.lab.training --tokenizer {input} --out {output}"
        " --width {params.shape.width} --layers {params.shape.layers} --heads {params.shape.heads}"
        " --inner {params.shape.inner} --steps {params.shape.steps} --learning-rate {params.shape.learning_rate}"
        " --tokens-per-batch {params.zoo.tokens_per_batch} --seed {params.zoo.seed}"
        " --device {params.zoo.device} --threads {threads} 2>&1 | tee {log}"


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
        prm=STUDY.zoo.prm,
        zoo=STUDY.zoo,
    message:
        "Train the lab's process reward model on the checker's labels"
    shell:
        "python -m arbitrage.lab.prm --draft {input.draft} --target {input.target} --out {output}"
        " --layers {params.prm.layers} --questions {params.prm.questions} --steps {params.prm.steps}"
        " --tokens-per-batch {params.prm.tokens_per_batch} --learning-rate {params.prm.learning_rate}"
        " --seed {params.zoo.seed} --device {params.zoo.device} --threads {threads} 2>&1 | tee {log}"


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
        folder=lambda w, output: Path(output[0]).parent,
        zoo=STUDY.zoo,
        bits=" ".join(map(str, STUDY.zoo.low_bits)),
    message:
        "Measure the zoo and write its model cards"
    shell:
        "python -m arbitrage.lab.evaluate --zoo {params.folder} --questions {params.zoo.evaluation_questions}"
        " --bits {params.bits} --group-size {params.zoo.low_bit_group_size} --threads {threads} 2>&1 | tee {log}"
