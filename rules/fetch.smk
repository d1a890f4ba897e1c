# What a study takes from the hub, a repository a job, where Snakemake runs: no job downloads while it holds a GPU.
# Rules that read a repository have the note of it among their `sources` (runtime/dependencies.py).


rule fetch:
    output:
        PATHS.fetched("{repository}"),
    log:
        PATHS.log("fetch", "{repository}"),
    benchmark:
        PATHS.timing("fetch", "{repository}")
    wildcard_constraints:
        repository="[^/]+",
    localrule: True
    conda:
        "../envs/training.yaml"
    params:
        reads=reads_of("fetch"),
    message:
        "Fetch {wildcards.repository}"
    shell:
        "arbitrage fetch --repository {wildcards.repository:q} --out {output:q} 2>&1 | tee {log:q}"
