r"""math-verify in a process of its own: expressions compared under a limit of time and of memory that always holds.

math-verify's own limit is a signal, which only the main thread can have and which cannot stop a long operation inside
the interpreter. Here another process compares, and one that takes too long is killed; the next comparison starts
another. It works from any thread and any worker process, and sympy is not imported where it is not needed.
"""

import atexit
import json
import logging
import os
import select
import subprocess
import sys
import threading

SECONDS = 10.0  # for one comparison; a usual one takes milliseconds
START_SECONDS = 120.0  # for the process to import sympy on a busy machine

_LOG = logging.getLogger(__name__)


class Algebra:
    """One comparing process, started when it is first asked. Safe to use from several threads and after a fork."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def same(self, answer: str, gold: str, tolerance: float = 0.0) -> bool:
        """Whether two LaTeX expressions are equal, or numbers at most `tolerance` apart; False past the time limit."""
        if self._owner != os.getpid():  # forked: the pipes are the parent's, and so may be the lock
            self._lock, self._process, self._owner = threading.Lock(), None, os.getpid()
        with self._lock:
            process = self._process or self._start()
            self._process = process
            reply = self._ask(process, json.dumps([answer, gold, tolerance]), self.seconds)
            if reply is None:
                self._stop()
                _LOG.warning(
                    "comparing %r with %r took over %g s or failed: counted as different", answer, gold, self.seconds
                )
            return reply == "true"

    def close(self) -> None:
        """End the process, if there is one; the next comparison starts another."""
        if self._owner == os.getpid():
            with self._lock:
                self._stop()

    def _start(self) -> "subprocess.Popen[bytes]":
        # sys.path as it is here, so that the package is found however it was found by this process.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        process = subprocess.Popen(
            [sys.executable, "-m", "arbitrage.grading.symbolic_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        if self._ask(process, None, START_SECONDS) != '"ready"':
            process.kill()
            process.wait()
            raise RuntimeError(
                f"the process that compares answers ({sys.executable} -m arbitrage.grading.symbolic_worker) did not "
                f"start within {START_SECONDS:g} s; run it by hand to see why"
            )
        return process

    @staticmethod
    def _ask(process: "subprocess.Popen[bytes]", line: str | None, seconds: float) -> str | None:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if line is not None:
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
            readable, _, _ = select.select([process.stdout], [], [], seconds)
            return process.stdout.readline().decode().strip() or None if readable else None
        except OSError:  # it died
            return None

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()


ALGEBRA = Algebra()
atexit.register(ALGEBRA.close)
