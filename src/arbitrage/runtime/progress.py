"""Progress lines of whatever lasts."""

from __future__ import annotations

import sys
import time


class Progress:
    """Plain progress lines on stderr, for terminals and log files alike: done/total, rate, time left.

    total: units of the whole; unit: what they are called ("questions"); title: what is being done, first on each line.
    A line comes at most every `every` seconds, and always at the end.
    """

    def __init__(self, total: int, unit: str, title: str = "", every: float = 5.0) -> None:
        self.total, self.unit, self.every = total, unit, every
        self.done = 0
        self._prefix = f"{title}: " if title else ""
        self._began = self._said = time.monotonic()

    def advance(self, units: int = 1) -> None:
        """Count `units` more as done."""
        self.done += units
        elapsed = max(time.monotonic() - self._began, 1e-9)
        rate = self.done / elapsed
        line = f"{self.done:,}/{self.total:,} {self.unit} ({self.done / max(self.total, 1):.0%}), {rate:.3g} a second"
        if self.done >= self.total:
            line += f", took {_duration(elapsed)}"
        elif rate > 0:
            line += f", about {_duration((self.total - self.done) / rate)} left"
        self.note(line)

    def note(self, text: str) -> None:
        """Say something else in between; dropped, unless all is done, where the last line is younger than `every`."""
        now = time.monotonic()
        if self.done >= self.total or now - self._said >= self.every:
            self._said = now
            print(self._prefix + text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
