# From labelled steps to a trained router, for every variant of Tables 1-3.


rule dataset:
    input:
        steps=rules.steps.output,
        lookahead=lookahead_of,
        states=states_of,
        sources=sources_of("dataset"),
    output:
        directory(PATHS.dataset("{pair}", "{variant}")),
    log:
        PATHS.log("dataset", "{pair}-{variant}"),
    benchmark:
        PATHS.timing("dataset", "{pair}-{variant}")
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("dataset"),
    params:
        reads=reads_of("dataset"),
        lookahead=lambda w, input: as_options(input.get("lookahead", []), "--lookahead"),
        states=lambda w, input: as_options(input.get("states", []), "--states"),
    message:
        "Data set for the router {wildcards.variant} of {wildcards.pair}"
    shell:
        "arbitrage dataset --variant {wildcards.variant} --steps {input.steps:q} {params.lookahead} {params.states}"
        " --out {output:q} 2>&1 | tee {log:q}"


rule router:
    input:
        dataset=rules.dataset.output,
        sources=sources_of("router"),
    output:
        directory(PATHS.router("{pair}", "{variant}", "{seed}")),
    log:
        PATHS.log("router", "{pair}-{variant}-{seed}"),
    benchmark:
        PATHS.timing("router", "{pair}-{variant}-{seed}")
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("router"),
    params:
        reads=reads_of("router"),
    message:
        "Train the router {wildcards.variant} of {wildcards.pair}, seed {wildcards.seed}"
    shell:
        "arbitrage router --variant {wildcards.variant} --seed {wildcards.seed}"
        " --dataset {input.dataset:q} --out {output:q} 2>&1 | tee {log:q}"


# Of the variants that decide for a swept policy: the sweep waits for them, and ablations need not come first.
use rule router as deciding_router with:
    wildcard_constraints:
        variant="|".join(STUDY.routing_variants) or "(?!)",
    priority: 1


ruleorder: deciding_router > router


rule heldout:
    input:
        models=[PATHS.router("{pair}", "{variant}", seed) for seed in range(STUDY.router.seeds)],
        dataset=rules.dataset.output,
    output:
        PATHS.heldout("{pair}", "{variant}"),
    log:
        PATHS.log("heldout", "{pair}-{variant}"),
    benchmark:
        PATHS.timing("heldout", "{pair}-{variant}")
    conda:
        "../envs/training.yaml"
    resources:
        **resources_of("heldout"),
    params:
        reads=reads_of("heldout"),
        routers=lambda w, input: as_options(input.models),
    message:
        "Held-out scores of the router {wildcards.variant} of {wildcards.pair}"
    shell:
        "arbitrage heldout --variant {wildcards.variant} {params.routers} --dataset {input.dataset:q}"
        " --out {output:q} 2>&1 | tee {log:q}"


rule router_quality:
    input:
        heldout=[PATHS.heldout(pair, variant) for pair in PAIRS for variant in STUDY.variants_of(pair)],
        modules=evaluation("router_quality"),
    output:
        PATHS.router_quality,
    log:
        PATHS.log("router_quality"),
    benchmark:
        PATHS.timing("router_quality")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("router_quality"),
    message:
        "Quality of every router on held-out questions"
    shell:
        "arbitrage router-quality --out {output:q} {input.heldout:q} 2>&1 | tee {log:q}"


DETAIL_MODULES = {
    "shares": ["label_shares"],
    "lengths": ["step_lengths"],
    "calibration": ["router_calibration", "router_quality"],
    "families": ["rho_by_family", "router_quality"],
    "mistakes": ["router_mistakes", "rho_by_family", "router_quality"],
}


rule router_details:
    input:
        results=lambda w: results_read(STUDY, "router_details", w.detail),
        modules=lambda w: evaluation(*DETAIL_MODULES[w.detail]),
    output:
        PATHS.router_detail("{detail}"),
    log:
        PATHS.log("router_details", "{detail}"),
    benchmark:
        PATHS.timing("router_details", "{detail}")
    wildcard_constraints:
        detail="|".join(ROUTER_DETAILS),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("router_details"),
    message:
        "The routers' {wildcards.detail}, for the report"
    shell:
        "arbitrage router-details {wildcards.detail} --out {output:q} 2>&1 | tee {log:q}"


rule quantiles:
    input:
        steps=rules.steps.output,
        heldout=[PATHS.heldout("{pair}", variant) for variant in STUDY.routing_variants],
    output:
        PATHS.quantiles("{pair}"),
    log:
        PATHS.log("quantiles", "{pair}"),
    benchmark:
        PATHS.timing("quantiles", "{pair}")
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        reads=reads_of("quantiles"),
    message:
        "Thresholds of {wildcards.pair}, even in acceptance"
    shell:
        "arbitrage quantiles --pair {wildcards.pair} --steps {input.steps:q} --out {output:q} {input.heldout:q}"
        " 2>&1 | tee {log:q}"
