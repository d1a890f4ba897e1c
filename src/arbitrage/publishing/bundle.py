"""Bundles: what of a study is worth publishing, in one zip that can be verified where it is unpacked.

A bundle is laid out as the study's folder: tables, curves, figures, summary, the routers that route, and the provenance
record of each. Not in it: shards, data sets, models made by quantisation, and the ablations' routers. Records and study
name no absolute path. Equal results give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from arbitrage.io.atomic import whole_file
from arbitrage.publishing.check_records import is_bundle, read_records, study_of
from arbitrage.publishing.manifest import MANIFEST, STUDY, manifest_text
from arbitrage.publishing.mismatches import ExportError, VerifyError
from arbitrage.publishing.router_cards import bundle_card, router_card
from arbitrage.publishing.verify import verify
from arbitrage.runtime.outputs import results
from arbitrage.runtime.provenance import CARD, digest, files_of, record_of

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: no file has one of its own
ABSOLUTE_PATH = re.compile(
    r"(--[\w-]+=)?(/[\w.@+ -]+(?:/[\w.@+ -]+)+)/?"
)  # an absolute path, maybe as an option's value


def export(folder: Path, out: Path) -> list[str]:
    """Write the bundle of the finished study in `folder` to `out`, all or nothing; the names of the files in it.

    Raises ExportError where `arbitrage verify` finds a fault, VerifyError where there are no results.
    """
    if is_bundle(folder):
        raise ExportError(f"{folder}: an unpacked bundle; expected the results of a study (results/<study>)")
    errors = [finding for finding in verify(folder) if finding.is_fault]
    if errors:
        raise ExportError(
            f"{folder}: {len(errors)} faults, the first: {errors[0].subject} is {errors[0].kind} "
            f"({errors[0].detail}). Only sound results are packed: arbitrage verify {folder} lists them all"
        )
    entries = dict(sorted(_entries(folder).items()))
    entries[MANIFEST] = manifest_text({name: _sha256(entry) for name, entry in entries.items()})
    with whole_file(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, entry in entries.items():
            _add(archive, name, entry)
    return list(entries)


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder to verify: `path` itself, or, where it is a zip, what is in it, unpacked as long as the block lasts.

    Raises VerifyError where it is neither, is damaged, or holds names that lead out of it.
    """
    if path.is_dir():
        yield path
        return
    with TemporaryDirectory(prefix="arbitrage-") as unpacked:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                        raise VerifyError(f"{path}: the name {name!r} leads out of it; not a bundle")
                archive.extractall(unpacked)
        except FileNotFoundError as error:
            raise VerifyError(f"{path}: no such folder or bundle") from error
        except zipfile.BadZipFile as error:
            raise VerifyError(f"{path}: damaged, or no zip at all ({error}); fetch it again") from error
        if not is_bundle(Path(unpacked)):
            raise VerifyError(f"{path}: no {MANIFEST} in it; expected a bundle of `arbitrage export`")
        yield Path(unpacked)


def _entries(folder: Path) -> dict[str, Path | str]:
    """What is packed: file or text by name in the bundle, but for the manifest."""
    records = read_records(folder)
    study = study_of(folder, records)
    portable_records = {name: _portable(dict(record), folder) for name, record in records.by_result.items()}
    content = _portable(study.model_dump(mode="json"), folder)
    entries: dict[str, Path | str] = {STUDY: _json(content)}
    packed = [result.path for result in results(study) if result.published]
    for name in packed:
        entries[record_of(Path(name)).as_posix()] = _json(portable_records[name])
        path = folder / name
        files = files_of(path) if path.is_dir() else [path]
        entries |= {file.relative_to(folder).as_posix(): file for file in files}
    portable = type(study).model_validate(content)
    routers = [name for name in packed if name.startswith("router/") and name.endswith("/model")]
    for name in routers:
        entries[f"{name}/{CARD}"] = router_card(folder, portable, name, portable_records[name])
    entries[CARD] = bundle_card(portable, routers, portable_records["summary.md"])
    return entries


def _add(archive: zipfile.ZipFile, name: str, entry: Path | str) -> None:
    """Stored, not compressed: tables and pictures are so already, and no library's version changes the bytes."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, 0o100644 << 16
    with archive.open(info, "w", force_zip64=True) as target:
        if isinstance(entry, str):
            target.write(entry.encode())
            return
        with entry.open("rb") as source:
            shutil.copyfileobj(source, target, 2**20)


def _sha256(entry: Path | str) -> str:
    return digest(entry) if isinstance(entry, Path) else hashlib.sha256(entry.encode()).hexdigest()


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _portable(value: Any, folder: Path) -> Any:
    """`value` with absolute paths told from the study's folder, or by their last part alone where they are outside."""
    if isinstance(value, Mapping):
        return {
            _portable(key, folder): (
                shlex.join(_portable(word, folder) for word in shlex.split(item))
                if key == "command"
                else _portable(item, folder)
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_portable(item, folder) for item in value]
    match = ABSOLUTE_PATH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    path = Path(match[2])
    inside = path.is_relative_to(folder.resolve())
    return (match[1] or "") + (path.relative_to(folder.resolve()).as_posix() if inside else path.name)
