"""What a bundle says of the software that made it: CITATION.cff, and the workflow's own files, from the checkout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import arbitrage
from arbitrage.publishing.mismatches import ExportError

WORKFLOW = "workflow"  # the folder of a bundle that holds the workflow's files
CITATION = "CITATION.cff"


@dataclass(frozen=True)
class Software:
    """What the citation file says; `license` by its SPDX name, `doi` and `url` None where it has none."""

    title: str
    version: str
    license: str
    authors: list[str]
    doi: str | None
    url: str | None
    paper: Mapping[str, Any]

    @property
    def license_url(self) -> str:
        """The licence as an address."""
        return f"https://spdx.org/licenses/{self.license}"

    @property
    def paper_bibtex(self) -> str:
        """The reproduced paper as BibTeX."""
        key = f"{self.paper['authors'][0]['family-names'].lower()}{self.paper['year']}"
        authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in self.paper["authors"])
        fields = {"title": self.paper["title"], "author": authors, "year": self.paper["year"], "url": self.paper["url"]}
        return f"@article{{{key}, " + ", ".join(f"{name} = {{{text}}}" for name, text in fields.items()) + "}"


def checkout() -> Path:
    """The folder with the Snakefile that runs this package. Raises ExportError where there is none.

    It is around the package where that is installed as `make` does it, and else where Snakemake is run: here.
    """
    for folder in (Path(arbitrage.__file__).resolve().parents[2], Path()):
        if (folder / "Snakefile").is_file() and (folder / CITATION).is_file():
            return folder
    raise ExportError(
        f"{Path().resolve()}: no Snakefile and {CITATION} here, and a bundle holds them; run it in the checkout of the "
        "repository that made the results"
    )


def workflow_files(folder: Path) -> dict[str, Path]:
    """The workflow's files in a checkout, by their name in a bundle; the Snakefile comes first."""
    files = [folder / "Snakefile", *sorted((folder / "rules").glob("*.smk")), folder / "LICENSE", folder / CITATION]
    return {f"{WORKFLOW}/{file.relative_to(folder).as_posix()}": file for file in files}


def software(folder: Path) -> Software:
    """What the citation file in a checkout says. Raises ExportError where it lacks something."""
    content = yaml.safe_load((folder / CITATION).read_text(encoding="utf-8"))
    try:
        return Software(
            title=content["title"],
            version=str(content["version"]),
            license=content["license"],
            authors=[_name(author) for author in content["authors"]],
            doi=_doi(content),
            url=content.get("repository-code") or content.get("url"),
            paper=content["preferred-citation"],
        )
    except KeyError as error:
        raise ExportError(f"{folder / CITATION}: no {error}; a bundle names it. Add it, as cff 1.2.0 has it") from error


def _name(author: Mapping[str, str]) -> str:
    return author.get("name") or f"{author['given-names']} {author['family-names']}"


def _doi(content: Mapping[str, Any]) -> str | None:
    """The software's own DOI: `doi`, or the first identifier of that type."""
    identifiers = [entry["value"] for entry in content.get("identifiers", ()) if entry["type"] == "doi"]
    return content.get("doi") or next(iter(identifiers), None)
