"""`arbitrage show`: a study's results in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arbitrage.cli.common import refuse_unknown
from arbitrage.cli.completion import names_in
from arbitrage.errors import UserError

app = typer.Typer()


@app.command()
def show(
    results: Annotated[Path, typer.Argument(help="A study's results (results/<study>), or a bundle of `export`")],
    pair: Annotated[
        str | None, typer.Option(autocompletion=names_in("pairs"), help="This pair alone; all if absent")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(autocompletion=names_in("benchmarks"), help="This benchmark alone; all if absent")
    ] = None,
) -> None:
    """Print the paper's claims with their verdicts, accuracies at the same acceptance, and the curves.

    The claims are over all pairs and benchmarks, so a choice of one leaves them out. Exit status 1 where something is
    not made yet. Example: `arbitrage show results/lab --pair small`
    """
    from rich.console import Console

    from arbitrage.figures.style import in_study_order
    from arbitrage.io.csv_tables import read_csv
    from arbitrage.publishing.bundle import opened
    from arbitrage.publishing.check_records import read_records, study_of
    from arbitrage.report.summary import verdicts_of
    from arbitrage.report.terminal import show_accuracy, show_claims
    from arbitrage.runtime.dependencies import results_read
    from arbitrage.runtime.paths import StudyPaths

    chosen = {word: name for word, name in (("pair", pair), ("benchmark", benchmark)) if name is not None}
    console = Console(highlight=False)
    with opened(results) as folder:
        study = study_of(folder, read_records(folder))
        refuse_unknown(study, **chosen)
        paths = StudyPaths(folder)
        needed = [path.relative_to(study.folder).as_posix() for path in results_read(study, "report")]
        missing = [name for name in needed if not (folder / name).exists()]
        if not (missing or chosen):
            show_claims(console, verdicts_of(study, paths))
        tables = paths.curves("accuracy_acceptance"), paths.curves("comparison")
        if all(table.exists() for table in tables):
            points, comparison = (in_study_order(read_csv(table), study) for table in tables)
            for word, name in chosen.items():
                points, comparison = points[points[word] == name], comparison[comparison[word] == name]
            show_accuracy(console, points, comparison, study.curves.confidence)
    if missing:
        raise UserError(
            f"{results}: the study is not finished; missing: {', '.join(missing)}. Resume it with the command that "
            "started it: make reproduce, make smoke, or snakemake --cores all --configfile <its file>"
        )
