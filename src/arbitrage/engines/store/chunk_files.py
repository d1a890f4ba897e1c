"""The step store on disk: chunk files that count once they are complete, and as long as they are what was written.

A chunk is written under a temporary name and then given its own, which ends in a digest of its bytes. What a killed
writer leaves behind is ignored and cleaned away; a chunk cut off or changed since is set aside and reported; one of
another FORMAT is reported and stays.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from arbitrage.runtime.locks import take_lock
from arbitrage.speculation.protocols import EngineError

log = logging.getLogger(__name__)

# To be raised with every change by which a model's steps or scores, or their records, come out otherwise for a key.
FORMAT = 3
FORMAT_KEY = b"arbitrage.store"
SCHEMA = pa.schema(
    [
        ("key", pa.binary(16)),
        ("text", pa.string()),  # null for a score or a reading, as are the other columns of a step
        ("finish", pa.int8()),  # why a step ended: index in step_store.FINISH_REASONS
        ("logprobs", pa.list_(pa.float32())),  # of the step's tokens; what was read (a state, too); null for a score
        ("entropies", pa.list_(pa.float32())),  # of the step's tokens, in nats; null where the engine reports none
        ("score", pa.float64()),  # null for a step or a reading
    ],
    metadata={FORMAT_KEY: str(FORMAT)},
)
LEFTOVER_AGE_S = 24 * 3600  # a temporary file of another host is taken for a leftover after this long


class StoreError(EngineError):
    """The step store cannot be read or written."""


def write_chunk(directory: Path, name: str, table: pa.Table) -> Path:
    """Write `table` as `<name>-<digest>.parquet`, all or nothing: chunks of one name and other content stay apart.

    Raises StoreError where the file cannot be written; nothing is left of it then.
    """
    temporary = directory / f".{os.getpid()}@{platform.node()}@{name}.tmp"
    try:
        pq.write_table(table, temporary, compression="zstd")
        return temporary.replace(directory / f"{name}-{_digest(temporary.read_bytes())}.parquet")
    except OSError as error:
        raise StoreError(
            f"{directory / name}: the step store cannot be written ({error}); make room or correct the permissions"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_chunks(directory: Path) -> pa.Table:
    """All complete chunks of a folder, made if missing, in the order of their names; leftovers are removed.

    A damaged chunk is renamed `<name>.corrupt`, reported, and left out; one of another FORMAT is reported and left
    out. Raises StoreError for lack of permission.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{directory}: the step store's folder cannot be made ({error}); correct `results`") from error
    for temporary in directory.glob(".*.tmp"):
        if _abandoned(temporary):
            temporary.unlink(missing_ok=True)
    tables, others = [], []
    for file in sorted(directory.glob("*.parquet")):
        table = _read(file)
        if table is not None and _format(table.schema) == FORMAT:
            tables.append(table)
        elif table is not None:
            others.append(f"{file.name} (format {_format(table.schema)})")
    if others:
        log.warning(
            "%s: %d chunks of the step store are of another version of this program than format %d, %s first; they "
            "stay as they are, and their work is done anew. Delete them if that version is not used any more",
            directory,
            len(others),
            FORMAT,
            others[0],
        )
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def _format(schema: pa.Schema) -> int:
    """The FORMAT a chunk was written in; 0 of those from before there was one."""
    return int((schema.metadata or {}).get(FORMAT_KEY, b"0"))


@contextmanager
def claimed(directory: Path, part: str) -> Iterator[None]:
    """Be the only process that works on `part` (a shard) of the store in `directory`, as long as the block lasts.

    Raises StoreError where another one does.
    """
    with (directory / f".{part}.lock").open("a+") as lock:
        if not take_lock(lock, fcntl.LOCK_EX):
            lock.seek(0)
            raise StoreError(
                f"{directory}: {part} is being worked on by {lock.read().strip() or 'another process'}; wait for it or "
                "stop it, then start again: what it has finished by then is not done twice"
            )
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}\n")
        lock.flush()
        yield


def _read(file: Path) -> pa.Table | None:
    try:
        content = file.read_bytes()
        digest = re.search(r"-([0-9a-f]{16})$", file.stem)  # there is none in format 1
        if digest and digest[1] != _digest(content):
            raise pa.ArrowInvalid("cut off or changed since it was written")
        table = pq.read_table(pa.BufferReader(content))
        if _format(table.schema) == FORMAT and not (digest and table.schema.equals(SCHEMA)):
            raise pa.ArrowInvalid(f"columns {table.schema.names}, expected {SCHEMA.names}")
    except PermissionError as error:
        raise StoreError(f"{file}: the step store cannot be read ({error}); correct the permissions") from error
    except (pa.ArrowInvalid, OSError) as error:
        aside = file.with_name(file.name + ".corrupt")
        log.warning("%s: damaged chunk of the step store (%s); set aside as %s, its work is redone", file, error, aside)
        file.replace(aside)
        return None
    return table


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _abandoned(temporary: Path) -> bool:
    """Whether the writer of a temporary file is gone: no such process on this host, or another host's and a day old."""
    pid, _, rest = temporary.name[1:].partition("@")
    if pid.isdigit() and rest.partition("@")[0] == platform.node():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it lives, as somebody else's
            return False
        return False
    try:
        return time.time() - temporary.stat().st_mtime > LEFTOVER_AGE_S
    except FileNotFoundError:
        return False
