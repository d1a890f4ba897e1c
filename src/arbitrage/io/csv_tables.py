"""Result tables as CSV: one format for all, so that equal numbers are equal bytes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from arbitrage.io.atomic import write_text


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write `frame`, all or nothing: nine significant digits, `true`/`false`, and nothing where there is no value."""
    path = Path(path)
    booleans = {name: frame[name].map({True: "true", False: "false"}) for name in frame.select_dtypes("bool")}
    write_text(path, frame.assign(**booleans).to_csv(index=False, float_format="%.9g", lineterminator="\n"))


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read what `write_csv` wrote. Raises FileNotFoundError, naming the remedy, where there is no such file."""
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""], true_values=["true"], false_values=["false"])
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such table; run the study that writes it (snakemake --cores all --configfile <its files>)"
        ) from error
    empty = {name: "float64" for name in frame if frame[name].isna().all()}  # pandas reads them as text
    return frame.astype(empty)
