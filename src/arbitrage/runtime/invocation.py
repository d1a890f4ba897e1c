"""What a Snakemake process was asked for, known while it reads the Snakefile: it tells its workflow only afterwards."""

from __future__ import annotations


def only(rule: str) -> bool:
    """Whether the command line asks for `rule` and rules named after it (`zoo`, `zoo_prm`) alone, or for jobs of them.

    A job on a cluster is a Snakemake process of its own.
    """
    from snakemake.cli import get_argument_parser

    asked, _ = get_argument_parser().parse_known_args()
    names = [*asked.targets, *(job.rulename for job in asked.target_jobs)]
    return bool(names) and all(name == rule or name.startswith(f"{rule}_") for name in names)
