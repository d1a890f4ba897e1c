"""YAML as people mean it: what PyYAML would pass over or read as something else is refused, with file, line and key.

A key given twice (PyYAML takes the last), `1:30` (it reads 90) and `010` (it reads 8). Aliases and merge keys work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
OCTAL = re.compile(r"[-+]?0[0-9_]*[0-9][0-9_]*")


def read_yaml(text: str) -> tuple[Any, list[str]]:
    """The content of a YAML (or JSON) text, and what is wrong with it, a line each: `line 3: pairs.small: given twice`.

    Raises yaml.YAMLError, ValueError or RecursionError where it is no YAML at all.
    """
    content = yaml.safe_load(text)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return content, [] if root is None else list(_problems(root, (), set()))


def _problems(node: yaml.Node, path: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """Faults of a node and of what is in it; what an alias names is looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _problems(item, (*path, str(number)), seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            here, line = (*path, name), key.start_mark.line + 1
            if name in first and isinstance(key, yaml.ScalarNode):
                yield f"line {line}: {'.'.join(here)}: given twice (before on line {first[name]}); remove one"
            first.setdefault(name, line)
            yield from _problems(value, here, seen)
    elif isinstance(node, yaml.ScalarNode) and node.style is None:
        number = node.tag.endswith((":int", ":float"))
        if number and (SEXAGESIMAL.fullmatch(node.value) or OCTAL.fullmatch(node.value)):
            yield (
                f"line {node.start_mark.line + 1}: {'.'.join(path)}: YAML reads {node.value} as "
                f"{yaml.safe_load(node.value)}; write the number in plain digits, or a text in quotes"
            )
