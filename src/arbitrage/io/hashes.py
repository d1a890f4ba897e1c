"""SHA-256 of files, without reading again what is known: a large pair has 140 GB of weights, and every job asks for it.

A file of the hub's cache is named by its hash where it is large (git LFS). Of other large files the hash is remembered
by path, size and times in a small file of the user's cache; a file whose time has changed is read anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from functools import lru_cache
from pathlib import Path

from arbitrage.io.atomic import write_text

WORTH_REMEMBERING = 2**24  # bytes; what is smaller is read in less time than the memory takes
SETTLED_S = 2.0  # a file changed this recently may change again within one tick of its clock
MOST = 10_000  # files remembered

_LFS_NAME = re.compile(r"[0-9a-f]{64}")


def sha256_of(file: Path) -> str:
    """SHA-256 (64 hexadecimal digits) of a file's bytes, from its name, from memory, or by reading it."""
    digest = named_by_hash(file)
    if digest is not None:
        return digest
    real = file.resolve()
    status = real.stat()
    return _of(str(real), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def named_by_hash(file: Path) -> str | None:
    """The hash by which the hub's cache names a large file; None for any other file."""
    real = file.resolve()
    named = file.is_symlink() and real.parent.name == "blobs" and _LFS_NAME.fullmatch(real.name)
    return real.name if named else None


def read_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, every one of them read."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def memory_file() -> Path:
    """Where hashes are remembered: `$XDG_CACHE_HOME/arbitrage/sha256.json`, or in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arbitrage" / "sha256.json"


@lru_cache(maxsize=256)
def _of(path: str, size: int, mtime_ns: int, ctime_ns: int) -> str:
    """The hash of a file of this size and these times; they are part of what it is remembered by."""
    if size < WORTH_REMEMBERING:
        return read_sha256(Path(path))
    state = [size, mtime_ns, ctime_ns]
    entry = _remembered().get(path)
    if isinstance(entry, dict) and entry.get("state") == state and _LFS_NAME.fullmatch(str(entry.get("sha256"))):
        return str(entry["sha256"])
    sha256 = read_sha256(Path(path))
    if time.time() - max(mtime_ns, ctime_ns) / 1e9 > SETTLED_S:
        _remember(path, {"state": state, "sha256": sha256})
    return sha256


def _remembered() -> dict[str, object]:
    """What is remembered; nothing where the file is not there, or damaged."""
    try:
        content = json.loads(memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(path: str, entry: dict[str, object]) -> None:
    """Add an entry, as the newest. Of two writers at once one wins, and the other's file is read again another time."""
    entries = _remembered()
    entries.pop(path, None)
    kept = dict(list({**entries, path: entry}.items())[-MOST:])
    try:
        write_text(memory_file(), json.dumps(kept, indent=0) + "\n")
    except OSError:
        return  # a home that cannot be written to costs time, no result
