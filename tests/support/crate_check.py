"""Validates the RO-Crate in a folder with roc-validator, offline: `python crate_check.py FOLDER`, in its environment.

Prints the issues as JSON: [severity, message, entity] each. roc-validator fetches the crate's JSON-LD contexts; here
it gets their terms that our crates use, with the meanings that RO-Crate 1.1 and the workflow-run terms give them.
"""

import json
import sys
from pathlib import Path
from typing import Any

SCHEMA_ORG = [
    "CreativeWork",
    "Dataset",
    "SoftwareSourceCode",
    "SoftwareApplication",
    "ComputerLanguage",
    "HowTo",
    "HowToStep",
    "WebSite",
    "Organization",
    "ScholarlyArticle",
    "CreateAction",
    "ControlAction",
    "OrganizeAction",
    "about",
    "name",
    "description",
    "datePublished",
    "license",
    "author",
    "creator",
    "citation",
    "identifier",
    "hasPart",
    "mainEntity",
    "mentions",
    "version",
    "softwareVersion",
    "url",
    "position",
    "workExample",
    "instrument",
    "object",
    "result",
    "startTime",
    "endTime",
    "encodingFormat",
    "contentSize",
    "programmingLanguage",
    "step",
]
CONTEXTS: dict[str, dict[str, Any]] = {
    "https://w3id.org/ro/crate/1.1/context": {
        **{term: f"http://schema.org/{term}" for term in SCHEMA_ORG},
        "File": "http://schema.org/MediaObject",
        "conformsTo": "http://purl.org/dc/terms/conformsTo",
        "cite-as": "https://www.w3.org/ns/iana/link-relations/relation#cite-as",
        "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    },
    "https://w3id.org/ro/terms/workflow-run/context": {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
}


def fetched(_requester: object, url: str, **_options: Any) -> Any:
    """The answer to a request: a context that is known here, or that there is nothing."""
    from requests import Response

    answer = Response()
    answer.status_code = 200 if url in CONTEXTS else 404
    answer.headers["Content-Type"] = "application/ld+json"
    answer._content = json.dumps({"@context": CONTEXTS.get(url)}).encode()
    return answer


def issues(folder: Path) -> list[tuple[str, str, str]]:
    """What roc-validator finds, down to recommendations, against the profile Provenance Run Crate."""
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings
    from rocrate_validator.utils.http import HttpRequester

    HttpRequester.get = fetched
    settings = ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier="provenance-run-crate",
        requirement_severity=Severity.RECOMMENDED,
        skip_availability_check=True,
    )
    found = services.validate(settings).get_issues()
    return [(issue.severity.name, issue.message, str(issue.violatingEntity)) for issue in found]


if __name__ == "__main__":
    print(json.dumps(issues(Path(sys.argv[1]))))
