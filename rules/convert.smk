# A PRM with a value head (Skywork-o1-Open-PRM) is made a standard classifier once; every stage that scores reads that.
rule convert_prm:
    input:
        checked=ancient(rules.check.output),
        sources=sources_of("convert_prm"),
    output:
        directory(f"{OUT}/models/_prm"),
    log:
        f"{OUT}/logs/convert_prm.log",
    benchmark:
        f"{OUT}/benchmarks/convert_prm.tsv"
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("quantise"),
    params:
        reads=reads_of("convert_prm"),
    message:
        "Convert the PRM's value head"
    shell:
        "arbitrage convert-prm --out {output} 2>&1 | tee {log}"
