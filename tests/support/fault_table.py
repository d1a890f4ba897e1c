"""A pytest plugin: the table of faults that were tried, how many were survived, and the work they cost.

A test marked `fault("what happens")` is one try; one marked `fault` alone enters its tries by the fixture `note`.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

Note = Callable[[str, float | None], None]


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """`note(fault, lost_s)` enters a fault that the test survives if it passes, and the seconds of work redone."""
    entries: list[tuple[str, float | None]] = []
    request.node.user_properties.append(("faults", entries))
    return lambda fault, lost_s: entries.append((fault, lost_s))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Enter what is named by the marker."""
    for item in items:
        marker = item.get_closest_marker("fault")
        if marker and marker.args:
            item.user_properties.append(("faults", [(marker.args[0], None)]))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One row a kind of fault, where faults were asked for; the reports carry the entries, from xdist's workers too."""
    if "fault" not in config.getoption("markexpr"):
        return
    rows: dict[str, list[tuple[bool, float | None]]] = defaultdict(list)
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for fault, lost_s in (each for name, value in report.user_properties if name == "faults" for each in value):
                rows[fault].append((outcome == "passed", lost_s))
    terminalreporter.section("faults")
    terminalreporter.write_line("| fault | tried | survived | work redone, s (mean, most) |")
    terminalreporter.write_line("| --- | --- | --- | --- |")
    for fault, tries in sorted(rows.items()):
        lost = [seconds for _, seconds in tries if seconds is not None]
        cost = f"{sum(lost) / len(lost):.1f}, {max(lost):.1f}" if lost else "-"
        survived = sum(passed for passed, _ in tries)
        terminalreporter.write_line(f"| {fault} | {len(tries)} | {survived} | {cost} |")
