"""croissant.json of a bundle: its tables for a machine, in the Croissant format with its fields on responsible AI.

Croissant 1.1 (http://mlcommons.org/croissant/1.1) and Croissant RAI 1.0 (http://mlcommons.org/croissant/RAI/1.0). A
record set is one Parquet table; columns are told by their schema and meaning (`arbitrage.io`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from arbitrage.config.study import Study
from arbitrage.io.column_meanings import STEP, meaning
from arbitrage.io.tables import SCHEMAS
from arbitrage.publishing.jobs import Job
from arbitrage.publishing.licences import licence_words, question_sets
from arbitrage.publishing.responsible_use import responsible_use
from arbitrage.publishing.software import Software

CROISSANT = "croissant.json"
PARQUET = "application/x-parquet"
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES = {
    pa.string(): "sc:Text",
    pa.bool_(): "sc:Boolean",
    pa.int8(): "sc:Integer",
    pa.int32(): "sc:Integer",
    pa.float32(): "sc:Float",
    pa.float64(): "sc:Float",
}
ABOUT = {
    "questions": "Questions: those whose steps are labelled (labelling), and the benchmarks'",
    "steps": "Labelled steps: what the draft and the target write next in one context, and how a PRM scores both",
    "lookahead": "Whether accepting or escalating a labelled step leads to a right answer, where the target goes on",
    "states": "The draft's hidden states after its labelled steps",
    "examples": "The balanced data set that the router is trained on (train) or held out from (validation)",
    "trajectories": "Every distinct solution of a question under a policy, with the thresholds for which it holds",
    "latency": "Timed solutions",
    "heldout": "A trained router's scores of the held-out steps",
}


@dataclass(frozen=True)
class PackedTable:
    """A Parquet table of a bundle. path: its name there; kind: its schema (`SCHEMAS`); size: in bytes."""

    path: str
    kind: str
    sha256: str
    size: int

    @property
    def id(self) -> str:
        """The name of its record set."""
        return self.path.removesuffix(".parquet")


def croissant(
    study: Study, tables: Sequence[PackedTable], jobs: Sequence[Job], made_by: Software, doi: str | None
) -> dict[str, Any]:
    """The description as JSON-LD. study: with no absolute path in it; doi: of the bundle, left out where None."""
    address = {"url": f"https://doi.org/{doi}", "identifier": f"https://doi.org/{doi}"} if doi else {}
    others = [f"https://huggingface.co/datasets/{entry.name}" for entry in question_sets(study)]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"arbitrage-{study.study}",
        "description": f"Tables of the study {study.study}: paired steps of a draft and a target model, scored and "
        f"labelled, a router's data set, and graded solutions of benchmarks under policies that choose between the two "
        f"models. A reproduction of {made_by.paper['title']}.",
        **address,
        "license": [made_by.license_url, *others],
        "usageInfo": licence_words(study, made_by.license),
        "creator": [{"@type": "sc:Organization", "name": name} for name in made_by.authors],
        "datePublished": max(job.ended for job in jobs)[:10],
        "version": made_by.version,
        "inLanguage": "en",
        "keywords": ["speculative decoding", "reasoning", "process reward model", "routing"],
        "citeAs": made_by.paper_bibtex,
        "isLiveDataset": False,
        **responsible_use(study, jobs),
        "distribution": [_file(table) for table in tables],
        "recordSet": [_record_set(table) for table in tables],
    }


def _file(table: PackedTable) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": table.path,
        "name": table.path,
        "contentUrl": table.path,
        "contentSize": f"{table.size} B",
        "encodingFormat": PARQUET,
        "sha256": table.sha256,
    }


def _record_set(table: PackedTable) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.id,
        "name": table.id,
        "description": ABOUT[table.kind],
        "field": [_field(table, column) for column in SCHEMAS[table.kind]],
    }


def _field(table: PackedTable, column: pa.Field) -> dict[str, Any]:
    """A column as a field: of lists, one of arrays; of lists of structs, with a subfield for each of their fields."""
    told: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{table.id}/{column.name}",
        "name": column.name,
        "description": meaning(table.kind, column.name),
    }
    is_list = pa.types.is_list(column.type)
    if is_list:
        told |= {"isArray": True, "arrayShape": "-1"}
    inner = column.type.value_type if is_list else column.type
    if not pa.types.is_struct(inner):
        return told | {"dataType": TYPES[inner], "source": _source(table, column.name)}
    return told | {
        "subField": [
            {
                "@type": "cr:Field",
                "@id": f"{table.id}/{column.name}/{part.name}",
                "name": part.name,
                "description": meaning(STEP, part.name),
                "dataType": TYPES[part.type],
                "source": _source(table, column.name) | {"transform": {"jsonPath": part.name}},
            }
            for part in inner
        ]
    }


def _source(table: PackedTable, column: str) -> dict[str, Any]:
    return {"fileObject": {"@id": table.path}, "extract": {"column": column}}
