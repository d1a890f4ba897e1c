"""A file's hash is the same however it is known: from the hub's cache, from memory, or read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from arbitrage.io import hashes


@pytest.fixture(autouse=True)
def reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Paths that were read, in order; hashes are remembered in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "WORTH_REMEMBERING", 100)
    hashes._of.cache_clear()
    read, seen = hashes.read_sha256, []
    monkeypatch.setattr(hashes, "read_sha256", lambda path: seen.append(str(path)) or read(path))
    return seen


def written(path: Path, content: bytes, age_s: float = 3600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    return path


def forget_process() -> None:
    hashes._of.cache_clear()


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if files had been written long ago: what a test cannot do to their change times."""
    monkeypatch.setattr(hashes, "SETTLED_S", -1.0)


def test_a_large_file_is_read_once_by_all_processes(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    content = b"w" * 1000
    file = written(tmp_path / "w.safetensors", content)
    for _ in range(3):
        forget_process()
        assert hashes.sha256_of(file) == hashlib.sha256(content).hexdigest()
    assert len(reads) == 1


def test_a_file_that_has_changed_is_read_again_even_with_its_old_date(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    file = written(tmp_path / "w.safetensors", b"w" * 1000)
    hashes.sha256_of(file)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(b"v" * 1000)
    os.utime(file, ns=times)
    forget_process()
    assert hashes.sha256_of(file) == hashlib.sha256(b"v" * 1000).hexdigest()
    assert len(reads) == 2


def test_a_file_just_written_is_not_remembered(tmp_path: Path, reads: list[str]) -> None:
    file = written(tmp_path / "w.safetensors", b"w" * 1000, age_s=0)
    for _ in range(2):
        forget_process()
        hashes.sha256_of(file)
    assert len(reads) == 2 and not hashes.memory_file().exists()


def test_a_large_file_of_the_hubs_cache_is_named_by_its_hash(tmp_path: Path, reads: list[str]) -> None:
    content = b"w" * 1000
    name = hashlib.sha256(content).hexdigest()
    blob = written(tmp_path / "models--a--b" / "blobs" / name, content)
    small = written(tmp_path / "models--a--b" / "blobs" / ("1" * 40), b"{}")  # not in LFS: named by git
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    for link, target in (("w.safetensors", blob), ("config.json", small)):
        (snapshot / link).symlink_to(Path("../../blobs") / target.name)
    assert hashes.sha256_of(snapshot / "w.safetensors") == name and reads == []
    assert hashes.sha256_of(snapshot / "config.json") == hashlib.sha256(b"{}").hexdigest()


def test_a_damaged_or_unwritable_memory_costs_time_alone(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    file = written(tmp_path / "w.safetensors", b"w" * 1000)
    for damage in ("{cut", "[]", json.dumps({str(file): {"state": 1}})):
        written(hashes.memory_file(), damage.encode())
        forget_process()
        assert hashes.sha256_of(file) == hashlib.sha256(b"w" * 1000).hexdigest()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    forget_process()
    assert hashes.sha256_of(file) == hashlib.sha256(b"w" * 1000).hexdigest()
