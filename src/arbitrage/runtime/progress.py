"""Progress lines of whatever lasts."""

from __future__ import annotations

import sys
import time
from collections import Counter


class Progress:
    """Plain progress lines on stderr, for terminals and log files alike: done/total, rates, time left.

    total: units of the whole; unit: what they are called ("questions"); title: what is being done, first on each line.
    A line comes at most every `every` seconds, and at the end; with `quiet` nothing comes of what takes less than that.
    """

    def __init__(self, total: int, unit: str, title: str = "", every: float = 5.0, quiet: bool = False) -> None:
        self.total, self.unit, self.title, self.every, self.quiet = total, unit, title, every, quiet
        self.done = 0
        self.counts: Counter[str] = Counter()
        self._prefix = f"{title}: " if title else ""
        self._began = self._last_line = time.monotonic()

    def advance(self, units: int = 1, **counts: int) -> None:
        """Count `units` more as done, and so many more of other things (steps, tokens), whose rates are told too."""
        self.done += units
        self.counts.update(counts)
        line = f"{self.done:,}/{self.total:,} {self.unit} ({self.done / max(self.total, 1):.0%}), "
        line += f"{self.done / self.elapsed:.3g} a second"
        if self.counts:
            line += f", {self.rates(**self.counts)}"
        if self.done >= self.total:
            line += f", took {duration(self.elapsed)}"
        elif left := self.left():
            line += f", {left}"
        self.note(line)

    def note(self, text: str) -> None:
        """Say something else in between; dropped, unless all is done, where the last line is younger than `every`."""
        now = time.monotonic()
        over = self.done >= self.total and not (self.quiet and self._last_line == self._began)
        if over or now - self._last_line >= self.every:
            self._last_line = now
            print(self._prefix + text, file=sys.stderr, flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, > 0."""
        return max(time.monotonic() - self._began, 1e-9)

    def rates(self, **counts: int) -> str:
        """What was counted since the beginning, each with how much of it a second."""
        return ", ".join(f"{count:,} {name} ({count / self.elapsed:.3g} a second)" for name, count in counts.items())

    def left(self, partly: float = 0.0) -> str:
        """The time that is left, where anything is done; partly: units of those not done that are, all in all."""
        done = self.done + partly
        return f"about {duration((self.total - done) * self.elapsed / done)} left" if done > 0 else ""


def duration(seconds: float) -> str:
    """A time in words: `42 s`, `3 min 20 s`, `5 h 12 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
