"""Many short `arbitrage` commands without their imports: each is forked from one process that has everything loaded.

A run of a toy study is some thirty commands of a fraction of a second, and seconds of importing for each. `serve` puts
a program `arbitrage` into a folder (for the PATH) that hands its arguments, environment and files to that process; the
command itself is the very same.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """#!{python} -ISE
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
told = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(told).to_bytes(8, "big")], [0, 1, 2])
server.sendall(told)
sys.exit(int(server.recv(8) or b"1"))
"""


@contextmanager
def serve() -> Iterator[Path]:
    """A folder with a program `arbitrage` in it, for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as name:  # a socket's path must be short
        address, program = f"{name}/socket", Path(name) / "arbitrage"
        command = [sys.executable, "-m", "tests.support.quick", address]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None and server.stdout.readline() == "ready\n"
            program.write_text(CLIENT.format(python=sys.executable, address=address))
            program.chmod(0o755)
            yield Path(name)
        finally:
            server.terminate()
            server.wait()


def main(address: str) -> None:
    """Load everything, then answer one connection after another, each in a process of its own."""

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            os._exit(_run(client))
        client.close()
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run(client: socket.socket) -> int:
    """The command that `client` asks for, as if it had been started by itself."""
    head, files, _, _ = socket.recv_fds(client, 8, 3)
    size, told = int.from_bytes(head, "big"), b""
    while len(told) < size:
        told += client.recv(size - len(told))
    sys.argv, folder, environment = json.loads(told)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in enumerate(files):
        os.dup2(file, number)
    code: int | str | None = 0
    try:
        from arbitrage.cli import main as command

        command()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    status = code if isinstance(code, int) else int(bool(code))
    sys.stdout.flush()
    sys.stderr.flush()
    client.sendall(str(status).encode())
    return status


if __name__ == "__main__":
    main(sys.argv[1])
