"""What is wrong with a configuration, in one line a problem: the key's path, the value, what was expected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from arbitrage.config.schema import ANY_NAME, Key, keys

KeyPath = tuple[Any, ...]  # ("models", "draft", "path"): keys, and positions in lists
Problem = tuple[KeyPath, str]


def dotted(path: KeyPath) -> str:
    """The path as users write it: `models.draft.path`, `sweep.thresholds.2`."""
    return ".".join(
        part if isinstance(part, str) and re.fullmatch(r"[\w-]{1,80}", part) else shown(part) for part in path
    )


def shown(value: Any) -> str:
    """A value on one line, much as YAML would take it, cut short where it is long."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # odd keys, or a YAML alias inside itself
        try:
            text = repr(value)
        except ValueError:  # Python prints no number of over 4,300 digits
            text = "a number of thousands of digits"
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."


def shape_problems(error: ValidationError, config: Mapping[str, Any]) -> Iterator[Problem]:
    """Unknown and missing keys, wrong types, values out of range: pydantic's findings on `config` in our words."""
    for detail in error.errors(include_url=False):
        kind, location, value = detail["type"], detail["loc"], detail["input"]
        path = _path_in(config, location)
        if kind == "literal_error" and isinstance(value, list) and "literal[" in str(location[-1]):
            continue  # one branch of a union; the other branch names the item that is wrong
        if kind in ("missing", "invalid_key"):  # not to be found in the configuration under that name
            path = (*_path_in(config, location[:-1]), location[-1])
        if kind == "missing":
            yield path, f"missing; expected {_expected(path)}"
        elif kind == "invalid_key":
            yield path, f"unknown key, and no text; expected one of {', '.join(sorted(_siblings(path)))}"
        elif kind == "extra_forbidden":
            yield path, f"unknown key (value {shown(value)}){_nearest_key(path)}"
        elif "[key]" in location:
            yield (
                path,
                "not a name; expected letters, digits, dots and underscores, with single hyphens between; at most 60",
            )
        elif kind == "value_error":
            yield path, f"{detail['msg'].removeprefix('Value error, ')}; got {shown(value)}"
        else:
            yield path, f"expected {_expected(path)}, got {shown(value)}{_hint(path, value)}"


def _path_in(config: Mapping[str, Any], location: tuple[Any, ...]) -> KeyPath:
    """The parts of pydantic's location that are in the configuration: without the names of union branches."""
    path: list[Any] = []
    node: Any = config
    for part in location:
        if (isinstance(node, Mapping) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            path.append(part)
            node = node[part]
    return tuple(path)


def _key(path: KeyPath) -> Key | None:
    """The documented key at `path`; for an item of a list, the list's."""
    here: tuple[str, ...] = ()
    for part in path:
        steps = [step for step in ((*here, part), (*here, ANY_NAME)) if step in keys()]
        if not steps:
            break
        here = steps[0]
    return keys().get(here)


def _expected(path: KeyPath) -> str:
    key = _key(path)
    if key is None:
        return "sections and keys"
    return key.expected.rpartition("each ")[2] if isinstance(path[-1], int) else key.expected


def _siblings(path: KeyPath) -> list[str]:
    """The known keys of the section that `path` is in."""
    parent = _key(path[:-1])
    return [key[-1] for key in keys() if key[:-1] == (parent.path if parent else ()) and key[-1] != ANY_NAME]


def _nearest_key(path: KeyPath) -> str:
    """A question after the key that was probably meant: in the same section first, then of that name anywhere."""
    *section, name = (str(part) for part in path)
    near = difflib.get_close_matches(name, _siblings(path), n=1)
    if near:
        return f"; did you mean {dotted((*section, near[0]))}?"
    elsewhere = difflib.get_close_matches(name, [key[-1] for key in keys()], n=1, cutoff=0.8)
    there = [key for key in keys() if elsewhere and key[-1] == elsewhere[0]]
    return f"; did you mean {'.'.join(there[0])}?" if there else ""


def _hint(path: KeyPath, value: Any) -> str:
    """What to do about a text that is no number, or no known choice, but nearly."""
    if not isinstance(value, str):
        return ""
    expected = _expected(path)
    if "number" in expected and re.fullmatch(r"[+-]?[\d_.]+([eE][+-]?\d+)?", value):
        return "; YAML takes that as text: " + (
            "write 3e-4 as 3.0e-4" if "e" in value.lower() else "leave out the quotes"
        )
    near = difflib.get_close_matches(value, re.findall(r"`([^`]+)`", expected), n=1)
    return f"; did you mean {near[0]}?" if near else ""
