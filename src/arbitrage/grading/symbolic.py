r"""Expressions compared in a process of their own, under limits of processor time and of memory that always hold.

A limit by a signal can only be had in the main thread and cannot stop a long operation inside the interpreter. Here
another process compares (`symbolic_worker`), and the kernel ends it once a comparison has used its processor time:
waiting for a busy machine costs nothing, so no verdict depends on the load. A comparison that was given up raises
`GaveUp`; it is neither right nor wrong. This works from any thread and any worker process, and sympy is not imported
where it is not needed.
"""

import atexit
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading

SECONDS = 10.0  # of processor time for one comparison; a usual one takes milliseconds
POLL_S = 1.0  # after which a process that was stopped from outside is told to go on
PATIENCE_S = 3600.0  # on the clock without any answer: the machine gives the process no time at all

_LOG = logging.getLogger(__name__)


class GaveUp(Exception):  # noqa: N818  (an outcome, not an error: the answer stays ungraded)
    """A comparison that reached its limit of processor time or memory: nobody knows whether the two are equal."""


class Symbolic:
    """One comparing process, started when it is first needed. Safe to use from several threads and after a fork."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def same(self, answer: str, gold: str, tolerance: float = 0.0) -> bool:
        """Whether two LaTeX expressions are equal, or numbers at most `tolerance` apart.

        Raises GaveUp past the limits, and RuntimeError where the process does not start or gets no processor time.
        """
        if self._owner != os.getpid():  # forked: the pipes are the parent's, and so may be the lock
            self._lock, self._process, self._owner = threading.Lock(), None, os.getpid()
        with self._lock:
            process = self._process or self._start()
            self._process = process
            reply = self._exchange(process, json.dumps([answer, gold, tolerance]))
            if reply in ("true", "false"):
                return reply == "true"
            if reply is None:
                self._stop()
            _LOG.warning("comparing %r with %r took over %g s or its memory: ungraded", answer, gold, self.seconds)
            raise GaveUp(f"{answer} = {gold}")

    def close(self) -> None:
        """End the process, if there is one; the next comparison starts another."""
        if self._owner == os.getpid():
            with self._lock:
                self._stop()

    def _start(self) -> "subprocess.Popen[bytes]":
        # sys.path as it is here, so that the package is found however it was found by this process.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-m", "arbitrage.grading.symbolic_worker", str(self.seconds)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)  # noqa: S603
        if self._exchange(process, None) != '"ready"':
            process.kill()
            process.wait()
            raise RuntimeError(
                f"the process that compares answers ({' '.join(command)}) did not start; run it by hand to see why"
            )
        return process

    @staticmethod
    def _exchange(process: "subprocess.Popen[bytes]", line: str | None) -> str | None:
        """The process's next line, after `line` was sent to it; None where it ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if line is not None:
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
            waited = 0.0
            while not select.select([process.stdout], [], [], POLL_S)[0]:
                process.send_signal(signal.SIGCONT)
                waited += POLL_S
                if waited >= PATIENCE_S:
                    raise RuntimeError(
                        f"the process that compares answers (pid {process.pid}) has not answered for {PATIENCE_S:g} s "
                        "although its processor time is limited; free the machine and run the stage again"
                    )
            return process.stdout.readline().decode().strip() or None
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


SYMBOLIC = Symbolic()
atexit.register(SYMBOLIC.close)
