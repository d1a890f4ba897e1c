"""Every key of a study in words, read off the typed configuration: for error messages and for docs/configuration.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from arbitrage.config.study import Study

ANY_NAME = "<name>"  # stands for the user's own names: models.<name>.path


@dataclass(frozen=True)
class Key:
    """One key: what it takes, what it is where left out ("required" where it cannot be), and what it means."""

    path: tuple[str, ...]
    expected: str
    default: str
    meaning: str
    is_section: bool


@cache
def keys() -> dict[tuple[str, ...], Key]:
    """All keys in the order of `Study`, sections before what is in them."""
    schema = Study.model_json_schema()
    described: dict[tuple[str, ...], Key] = {}

    def visit(section: dict[str, Any], path: tuple[str, ...]) -> None:
        for name, node in section["properties"].items():
            here = (*path, name)
            inner = _section(schema, node)
            entry = _section(schema, next(iter(node.get("patternProperties", {}).values()), None))
            described[here] = Key(
                here,
                _expected(schema, node),
                json.dumps(node["default"]) if "default" in node else "required",
                node.get("description") or (inner or {}).get("description", ""),
                bool(inner or entry),
            )
            if entry:
                described[(*here, ANY_NAME)] = Key((*here, ANY_NAME), "a section", "", entry["description"], True)
                visit(entry, (*here, ANY_NAME))
            elif inner:
                visit(inner, here)

    visit(schema, ())
    return described


def _section(schema: dict[str, Any], node: Any) -> dict[str, Any] | None:
    """The section a node refers to, optional or not; None where it is a plain value."""
    if not isinstance(node, dict):
        return None
    reference = node.get("$ref") or next((option["$ref"] for option in node.get("anyOf", []) if "$ref" in option), None)
    return schema["$defs"][reference.rpartition("/")[2]] if reference else None


def _expected(schema: dict[str, Any], node: dict[str, Any]) -> str:
    """What a node of the JSON schema takes, in words."""
    if "anyOf" in node:
        return " or ".join(_expected(schema, option) for option in node["anyOf"])
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return "one of " + ", ".join(f"`{choice}`" for choice in node["enum"])
    if "$ref" in node:
        return "a section"
    if "patternProperties" in node:
        return "sections by name" + (", at least one" if node.get("minProperties") else "")
    kind = node["type"]
    if kind == "array":
        return ("a list, not empty, each " if node.get("minItems") else "a list, each ") + _expected(
            schema, node["items"]
        )
    if "pattern" in node:
        return (
            f"a name (letters, digits, dots and underscores, with single hyphens between; at most {node['maxLength']})"
        )
    words = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "null": "null",
    }
    return words[kind] + _range(node) + (", not empty" if node.get("minLength") else "")


def _range(node: dict[str, Any]) -> str:
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return "".join(f" {sign} {node[name]}" for name, sign in bounds.items() if name in node).replace(" <", " and <")
