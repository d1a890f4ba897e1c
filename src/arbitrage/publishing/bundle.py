"""Bundles: what of a study is worth publishing, in one zip that can be verified where it is unpacked.

A bundle is laid out as the study's folder: tables, curves, figures, summary, the routers that route with what they were
trained on, and the provenance record of each. Beside them it has the workflow's files, cards for readers, and
descriptions for machines (Croissant, RO-Crate). Not in it: shards, models made by quantisation, and what belongs to the
ablations' routers. Records and study name no absolute path. Equal results give equal bytes.
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
from arbitrage.publishing.check_schemas import tables_in
from arbitrage.publishing.claims_card import CLAIMS, claims_card
from arbitrage.publishing.crate import CRATE, Crate, PackedFile
from arbitrage.publishing.croissant import CROISSANT, PackedTable, croissant
from arbitrage.publishing.dataset_card import dataset_card
from arbitrage.publishing.jobs import jobs_of
from arbitrage.publishing.manifest import MANIFEST, STUDY, manifest_text
from arbitrage.publishing.mismatches import ExportError, VerifyError
from arbitrage.publishing.router_cards import router_card
from arbitrage.publishing.software import checkout, software, workflow_files
from arbitrage.publishing.verify import verify
from arbitrage.report.summary import verdicts_of
from arbitrage.runtime.outputs import results
from arbitrage.runtime.paths import StudyPaths
from arbitrage.runtime.provenance import CARD, digest, files_of, record_of

Entry = Path | str  # a file, or a text
DOI = re.compile(r"10\.\d{4,9}/\S+")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: no file has one of its own
ABSOLUTE_PATH = re.compile(
    r"(--[\w-]+=)?(/[\w.@+ -]+(?:/[\w.@+ -]+)+)/?"
)  # an absolute path, maybe as an option's value


def export(folder: Path, out: Path, doi: str | None = None) -> list[str]:
    """Write the bundle of the finished study in `folder` to `out`, all or nothing; the names of the files in it.

    doi: the one under which it will be published, where it has been reserved. Raises ExportError where
    `arbitrage verify` finds a fault, `doi` is none or there is no checkout to take the workflow's files from,
    VerifyError where there are no results.
    """
    if is_bundle(folder):
        raise ExportError(f"{folder}: an unpacked bundle; expected the results of a study (results/<study>)")
    if doi is not None and not DOI.fullmatch(doi):
        raise ExportError(f"{doi!r} is no DOI; expected its bare name, as 10.5281/zenodo.1234567")
    home = checkout()
    errors = [finding for finding in verify(folder) if finding.is_fault]
    if errors:
        raise ExportError(
            f"{folder}: {len(errors)} faults, the first: {errors[0].subject} is {errors[0].kind} "
            f"({errors[0].detail}). Only sound results are packed: arbitrage verify {folder} lists them all"
        )
    entries = _entries(folder, home, doi)
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


def _entries(folder: Path, home: Path, doi: str | None) -> dict[str, Entry]:
    """What is packed, by its name in the bundle, in that order; the manifest comes last.

    home: the checkout whose workflow made the results.
    """
    records = read_records(folder)
    study = study_of(folder, records)
    portable_records = {name: _portable(dict(record), folder) for name, record in records.by_result.items()}
    content = _portable(study.model_dump(mode="json"), folder)
    portable, made_by = type(study).model_validate(content), software(home)
    entries: dict[str, Entry] = {STUDY: _json(content), **workflow_files(home)}
    packed = [result for result in results(study) if result.published]
    directories = [result.path for result in packed if (folder / result.path).is_dir()]
    for result in packed:
        path = folder / result.path
        entries[record_of(Path(result.path)).as_posix()] = _json(portable_records[result.path])
        files = files_of(path) if path.is_dir() else [path]
        entries |= {file.relative_to(folder).as_posix(): file for file in files}
    routers = [name for name in directories if name.endswith("/model")]
    for name in routers:
        entries[f"{name}/{CARD}"] = router_card(folder, portable, name, portable_records[name])
    jobs, summary = jobs_of(portable_records), portable_records["summary.md"]
    entries[CLAIMS] = claims_card(portable, verdicts_of(portable, StudyPaths(folder)), jobs, summary["hardware"])
    tables = [
        PackedTable(name, kind, *_described(entries[name])) for result in packed for name, kind in tables_in(result)
    ]
    entries[CARD] = dataset_card(portable, tables, routers, summary, made_by, doi)
    entries[CROISSANT] = _json(croissant(portable, tables, jobs, made_by, doi))
    described = {name: PackedFile(*_described(entry)) for name, entry in sorted(entries.items())}
    snakemake = summary["packages"]["snakemake"]
    entries[CRATE] = _json(Crate(portable, described, directories, jobs, made_by, snakemake, doi).content())
    entries = dict(sorted(entries.items()))
    return entries | {MANIFEST: manifest_text({name: _described(entry)[0] for name, entry in entries.items()})}


def _described(entry: Entry) -> tuple[str, int]:
    """sha256 and bytes."""
    if isinstance(entry, Path):
        return digest(entry), entry.stat().st_size
    return hashlib.sha256(entry.encode()).hexdigest(), len(entry.encode())


def _add(archive: zipfile.ZipFile, name: str, entry: Entry) -> None:
    """Stored, not compressed: tables and pictures are so already, and no library's version changes the bytes."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, 0o100644 << 16
    with archive.open(info, "w", force_zip64=True) as target:
        if isinstance(entry, str):
            target.write(entry.encode())
            return
        with entry.open("rb") as source:
            shutil.copyfileobj(source, target, 2**20)


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
