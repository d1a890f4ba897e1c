"""`arbitrage --help` groups commands by what one wants to do."""

from __future__ import annotations

import re

from typer.testing import CliRunner

from arbitrage import cli


def test_every_command_stands_in_a_panel() -> None:
    said = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "120"}).output
    panels = re.findall(r"^╭─ (.+?) ─+╮$", said, re.MULTILINE)
    assert panels == ["Options", *cli.PANELS]
    tried, later = said.partition("Before a run")[0], said.partition("After a run")[2]
    assert all(re.search(rf"^│ {name} ", tried, re.MULTILINE) for name in ("solve", "serve", "calibrate", "config"))
    assert all(re.search(rf"^│ {name} ", later, re.MULTILINE) for name in ("verify", "sweep", "zoo-model"))
