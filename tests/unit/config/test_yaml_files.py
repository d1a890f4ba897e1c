"""YAML that PyYAML would read without a word as something else than people mean."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arbitrage.config.load import ConfigError, load_study, validate_config
from arbitrage.config.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "pairs:\n  small: {draft: a, target: b}\n  small: {draft: b, target: c}\n",
            "line 3: pairs.small: given twice (before on line 2); remove one",
        ),
        ("seed: 1\nstudy: x\nseed: 1\n", "line 3: seed: given twice (before on line 1); remove one"),
        ("a: {b: 1, 'b': 2}\n", "line 1: a.b: given twice (before on line 1); remove one"),
        ("a:\n  - {b: 1, b: 2}\n", "line 2: a.0.b: given twice (before on line 2); remove one"),
        ("steps: {chunk: 1:30}\n", "line 1: steps.chunk: YAML reads 1:30 as 90; write the number in plain digits"),
        ("a: [0.5, 1:30.5]\n", "line 1: a.1: YAML reads 1:30.5 as 90.5; write"),
        ("seed: 010\n", "line 1: seed: YAML reads 010 as 8; write the number in plain digits"),
        ('{"a": 1, "a": 2}', "line 1: a: given twice"),
    ],
)
def test_what_is_passed_over_elsewhere_is_named(text: str, fault: str, tmp_path: Path) -> None:
    _, faults = read_yaml(text)
    assert len(faults) == 1 and faults[0].startswith(fault)
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_study([tmp_path / "s.yaml"])
    assert str(caught.value).startswith(f"{tmp_path / 's.yaml'}, {fault}")


def test_what_people_mean_stays() -> None:
    text = "a: &x {b: 1, c: '1:30', d: 0, e: 0.5, f: 1_000, g: 0x10}\nh: {<<: *x, b: 2}\ni: *x\n"
    content, faults = read_yaml(text)
    assert faults == [] and content["h"] == content["a"] | {"b": 2}


def test_the_command_lines_values_are_read_as_strictly() -> None:
    with pytest.raises(ConfigError) as caught:
        validate_config({"steps": {"chunk": "1:30"}}, {"steps": {"chunk": "1:30"}})
    assert any(
        'steps.chunk: expected a whole number >= 1 and <= 1000000000, got "1:30"' in each
        for each in str(caught.value).splitlines()
    )


def test_snakemake_refuses_the_same_though_it_reads_the_files_itself(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(f"study: twice\nresults: {tmp_path}\nsteps: {{chunk: 20, chunk: 1:30}}\n")
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", str(tmp_path / "s.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f"{tmp_path / 's.yaml'}, line 3: steps.chunk: given twice" in said
    assert "steps.chunk: YAML reads 1:30 as 90" in said and "Traceback" not in said
