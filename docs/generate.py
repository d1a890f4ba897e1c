"""The pages of docs/ that are read off the code and so cannot drift from it: `python docs/generate.py docs`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.schema import Key, keys
from arbitrage.io import tables
from arbitrage.io.atomic import write_text
from arbitrage.io.column_meanings import STEP, meaning

NOTE = "<!-- Written by `make docs` from the code; edit {source} instead. -->\n"

CONFIGURATION = """# Configuration

A study is one YAML file, complete in itself: what it does not say has the default given here, which is the paper's
where the paper states one. Without `--configfile` the study is `config.yaml`, the lab. In `models`, `pairs`,
`benchmarks` and `router.variants` the names are yours.

```yaml
# studies/my-study.yaml
study: my-study
models:
  draft: {path: my/draft}
  target: {path: my/target}
pairs: {mine: {draft: draft, target: target}}
prm: {path: my/prm}
benchmarks: {math500: {source: math500, revision: 6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be}}
```

    snakemake --cores all --configfile studies/my-study.yaml
    arbitrage check --study studies/my-study.yaml
    snakemake --cores all --configfile studies/my-study.yaml more.yaml    # the second file over the first, key by key
    snakemake --cores all --config study=lab-seed7 seed=7 'sweep={thresholds: [0, 0.5]}'    # over either

Several files go after one `--configfile` (of two options Snakemake takes the last). Results of two studies of one name
are the same results: give a variation a `study` of its own.

Before any job starts, everything is checked, and all that is wrong comes at once, one line each: first keys, types and
ranges; then names that must exist and files that must be there. Values are taken as they are written: `"42"` is text,
not a number, and YAML also reads `3e-4` as text (write `3.0e-4`). A hub id (`owner/name`) needs a `revision`, the
commit to pin it to ([studies](studies.md#revisions)); a local path does not.
`arbitrage config --study studies/my-study.yaml` prints the whole study with its defaults.

A stage reads only its own sections: changing a key reruns the stages that read it, and nothing else.
"""

DATA = """# Tables

Every stage hands its result on as a Parquet table with one of these schemas (`src/arbitrage/io/tables.py`), checked
when it is written and again when it is read. Beside each result lies its provenance record, and `arbitrage verify`
checks them all ([results](results.md)). The tables themselves hold no times, so they can be
compared byte for byte.
"""


def configuration_page() -> str:
    """docs/configuration.md: every key with what it takes, its default and its meaning, section by section."""
    lines = [NOTE.format(source="src/arbitrage/config/"), CONFIGURATION]
    lines += ["## The study\n", *_key_table(())]
    for section in keys().values():
        table = _key_table(section.path)
        if table:
            lines += [f"\n## `{'.'.join(section.path)}`\n", f"{section.meaning}\n", *table]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def data_page(examples: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/data.md: every table with its columns, their types and meanings, and an example row of each."""
    lines = [NOTE.format(source="src/arbitrage/io/tables.py or docs/table_examples.json"), DATA]
    for name, schema in tables.SCHEMAS.items():
        lines += [f"\n## `{name}`\n", "| column | type | meaning | example |", "| --- | --- | --- | --- |"]
        for column in schema:
            example = json.dumps(examples.get(name, {}).get(column.name), ensure_ascii=False)
            lines.append(_row(f"`{column.name}`", _type(column.type), meaning(name, column.name), f"`{example}`"))
    lines += ["\n## A step in `trajectories.steps`\n", "| field | type | meaning |", "| --- | --- | --- |"]
    for field in tables.TRAJECTORY_STEP:
        lines.append(_row(f"`{field.name}`", _type(field.type), meaning(STEP, field.name)))
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def with_estimates(page: str) -> str:
    """docs/cluster.md with what each `arbitrage plan --on` in it prints now, below that command.

    That is the table of estimates, or with `--hours-per-job` the table of jobs and what follows it.
    """

    def printed(block: re.Match[str]) -> str:
        output = CliRunner().invoke(app, block["words"].split(), catch_exceptions=False).output
        table, _, rest = output.partition("Cited: ")
        told = rest.partition("quantisation.\n")[2] if "--hours-per-job" in block["words"] else table
        lines = [line.rstrip() for line in told.rstrip().splitlines()]
        return "\n".join([f"```text\n$ arbitrage {block['words']}", *lines, "```\n"])

    return re.sub(r"```text\n\$ arbitrage (?P<words>plan .* --on .*)\n[^`]*```\n", printed, page)


def _key_table(section: tuple[str, ...]) -> list[str]:
    """The plain keys right inside `section`, as a table; nothing where there are only further sections."""
    inner = [key for key in keys().values() if key.path[:-1] == section and not key.is_section]
    if not inner:
        return []
    head = ["| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
    return head + [_row(f"`{key.path[-1]}`", key.expected, _default(key), key.meaning) for key in inner]


def _default(key: Key) -> str:
    return key.default if key.default == "required" else f"`{key.default}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def _type(kind: pa.DataType) -> str:
    """A column's type in words: Arrow's name, with structs as `step`."""
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    return "step" if pa.types.is_struct(kind) else str(kind)


def write_pages(docs: Path) -> None:
    """Write configuration.md and data.md into `docs`, and the estimates in cluster.md."""
    write_text(docs / "configuration.md", configuration_page())
    write_text(docs / "data.md", data_page(json.loads((docs / "table_examples.json").read_text(encoding="utf-8"))))
    cluster = docs / "cluster.md"
    write_text(cluster, with_estimates(cluster.read_text(encoding="utf-8")))


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
