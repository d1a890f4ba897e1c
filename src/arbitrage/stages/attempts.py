"""What killed attempts at a shard took, noted for the record of the attempt that ends it.

A provenance record and Snakemake's timing are of a job's last attempt alone, which finds what earlier ones did in the
step store. So each commit to the store also notes how long its attempt has been running and what the models did.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arbitrage.io.atomic import write_text

# By model: seconds and calls, tokens it generated or inputs it scored, and steps it read.
Work = dict[str, dict[str, float]]


class Attempts:
    """The attempts at one shard. earlier: those that were killed, each as {"started", "seconds", "work"}.

    started: ISO 8601, UTC; seconds: from there to the last commit.
    """

    def __init__(self, file: Path) -> None:
        """Begin one more; file: where they are noted. What cannot be read there counts as none."""
        self._file, self._began = file, time.time()
        try:
            self.earlier: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.earlier = []

    def note(self, work: Work) -> None:
        """Write down what this attempt did until now. Raises OSError."""
        started = datetime.fromtimestamp(self._began, UTC).isoformat(timespec="seconds")
        own = {"started": started, "seconds": round(time.time() - self._began, 3), "work": work}
        write_text(self._file, json.dumps([*self.earlier, own]))

    def close(self) -> None:
        """Forget them: this one has ended, and its record lists the others."""
        self._file.unlink(missing_ok=True)
