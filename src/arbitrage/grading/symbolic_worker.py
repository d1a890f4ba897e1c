"""The process behind `symbolic`: reads [answer, gold, tolerance] lines and writes true, false, or null for gave up.

Expressions are read by latex2sympy2_extended (math-verify's parser) and compared here (`expressions`). Each line may
take so much processor time: the kernel ends the process at the limit, whatever the machine is busy with besides.
"""

import json
import resource
import signal
import sys

from arbitrage.grading.expressions import same

MEMORY = 4 * 2**30  # bytes of address space; a power tower is given up and not swapped


def main(seconds: float) -> None:
    """Answer until the input ends, which it does when the process that asks is gone. seconds: of CPU, a line."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # its default ends the process, inside a long operation too
    print('"ready"', flush=True)
    for line in sys.stdin:
        reply: bool | None
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            reply = same(*json.loads(line))
        except (MemoryError, RecursionError):
            reply = None
        except Exception:  # sympy raises anything on what is no mathematics: such a text equals nothing
            reply = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
