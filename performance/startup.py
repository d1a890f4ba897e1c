"""What it takes until work begins, and where a finished study's time went (issue: speed, point 5).

    python -m performance.startup [--runs 5] [--study FILE.yaml ...] [--out FILE]

Medians over interleaved runs, each in a process of its own. The last part reads the results of the study, the lab's
where none is named, and is left out where it has not been run; `arbitrage times` shows the same rule by rule.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from performance.conditions import Finding, conditions, report

from arbitrage.config.load import load_study
from arbitrage.io.tables import TableError
from arbitrage.report.times import RuleTime, elapsed, rule_times, sum_of

COMMANDS = {
    "arbitrage --help": ["-c", "from arbitrage.cli import main; main()", "--help"],
    "what a figure's job imports": ["-c", "import arbitrage.cli.results, arbitrage.figures.fig5"],
    "what a job with models imports": ["-c", "import arbitrage.cli.stages, arbitrage.stages.generate"],
    "what a router's training imports": ["-c", "import arbitrage.cli.stages, arbitrage.routing.train"],
}
HELP_S = 0.5
LAB_MINUTES = 12
MODEL_SHARE = 0.8


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of a Python process from start to end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - fixed words
    return time.perf_counter() - begin


def study_findings(folder: Path) -> tuple[list[Finding], list[RuleTime]]:
    """A finished study: its time from end to end, and the share of its jobs' time inside models; nothing where none."""
    try:
        rules = rule_times(folder)
    except TableError as error:
        print(f"# {error}")
        return [], []
    total = sum_of(rules)
    share = total.model_s / total.seconds
    minutes = elapsed(folder) / 60
    good = minutes <= LAB_MINUTES or share >= MODEL_SHARE
    goal = f"<= {LAB_MINUTES}, or {MODEL_SHARE:.0%} in models"
    found = [
        Finding(f"{folder}: from the first job to the last", minutes, "minutes", goal, good),
        Finding(f"{folder}: all jobs together", total.seconds / 60, "minutes"),
        Finding(f"{folder}: share of that inside models", 100 * share, "%", goal, good),
    ]
    return found, rules


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="How often each command is run")
    parser.add_argument("--study", type=Path, action="append", help="YAML of the study; config.yaml")
    parser.add_argument("--out", type=Path, help="JSON; results/benchmarks/startup.json")
    asked = parser.parse_args()
    surroundings = conditions()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds(arguments)  # byte code and file cache
    for _ in range(asked.runs):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    medians = {name: statistics.median(values) for name, values in times.items()}
    findings = [Finding.at_most("arbitrage --help", medians.pop("arbitrage --help"), "s", HELP_S)]
    findings += [Finding(name, value, "s") for name, value in medians.items()]
    found, rules = study_findings(Path(load_study(asked.study or [Path("config.yaml")]).folder))
    detail = {"seconds": times, "rules": [vars(rule) for rule in rules]}
    report("startup", surroundings, findings + found, detail, asked.out)


if __name__ == "__main__":
    main()
