"""A cache of the hub with a checkpoint in it, as `snapshot_download` leaves it: the same files and links."""

from __future__ import annotations

import hashlib
from pathlib import Path

from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache


def cached(commit: str, source: Path, cache: Path, *left_out: str, repository: str = "some/model") -> Path:
    """Put the files of `source`, without those `left_out`, into `cache` as `repository` at `commit`; its snapshot.

    Large files lie in `blobs` under their SHA-256, and the listing of the repository names more than was fetched.
    """
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "blobs").mkdir(exist_ok=True)
    files = [file for file in source.iterdir() if file.is_file()]
    for file in files:
        if file.name not in left_out:
            content = file.read_bytes()
            large = file.suffix in (".safetensors", ".bin")
            name = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(content).hexdigest()
            (folder / "blobs" / name).write_bytes(content)
            (snapshot / file.name).symlink_to(Path("../../blobs") / name)
    names = [*(file.name for file in files), "README.md", "original/consolidated.00.pth"]
    write_tree_cache(str(folder), commit, {name: TreeCacheEntry(size=1, blob_id="b") for name in names})
    return snapshot
