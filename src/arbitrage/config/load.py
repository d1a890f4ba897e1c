"""Configuration files to a checked `Study`: merging, validation with all faults at once, the resolved study on disk.

The only place that reads YAML. Later files and overrides are merged into earlier ones key by key; in the tables of
named entries (`models`, `pairs`, `benchmarks`, `router.variants`) a later `null` takes an entry out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from arbitrage.config.messages import KeyFault, dotted, shape_faults, shown
from arbitrage.config.study import Study
from arbitrage.config.validate import study_faults
from arbitrage.errors import UserError
from arbitrage.io.atomic import write_text

TABLES = (("models",), ("pairs",), ("benchmarks",), ("router", "variants"))


STUDY_VARIABLE = "ARBITRAGE_STUDY"  # path of the resolved study, for commands without --study


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used: one line a fault, each with the key, its value and what was expected."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


def load_study(paths: Sequence[Path], overrides: Mapping[str, Any] | None = None) -> Study:
    """Read YAML files, merge them in order, lay `overrides` over them, and validate. Raises ConfigError."""
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            merged = _merge(merged, _read_yaml(Path(path)))
        except RecursionError as error:
            raise ConfigError([f"{path}: cannot be read: an alias (`*name`) stands inside what it names"]) from error
    merged = _merge(merged, overrides or {})
    try:
        return validate_config(merged)
    except ConfigError as error:
        if "models" in merged:
            raise
        files = ", ".join(map(str, paths))
        hint = f"{files}: no models; where this overlays another study, name that first (config.yaml)"
        raise ConfigError([*error.faults, hint]) from error


def validate_config(
    config: Mapping[str, Any], command_line: Mapping[str, Any] | None = None, check_paths: bool = True
) -> Study:
    """Check a merged configuration, such as Snakemake's `config`. Raises ConfigError with every fault in it.

    command_line: what came by `--config` (in a Snakefile: `workflow.config_settings.config`). Snakemake leaves the
    values inside `--config 'sweep={thresholds: [0, 0.5]}'` as text; they are read as YAML here, and laid over `config`.
    check_paths: whether local models and data must exist; only `make zoo`, which makes them, says False.
    """
    nested = {key: _as_yaml(value) for key, value in (command_line or {}).items() if isinstance(value, Mapping | list)}
    config = _without_removed(_merge(config, nested))
    faults: list[KeyFault] = []
    study = None
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        faults = list(shape_faults(error, config))
    faulty = {path for path, _ in faults}
    faults += [(path, text) for path, text in study_faults(config, check_paths) if path not in faulty]
    if study is None or faults:
        raise ConfigError(list(dict.fromkeys(f"{dotted(path)}: {text}" for path, text in faults)))
    return study


def study_hash(study: Study) -> str:
    """16 hexadecimal digits that change with any value of the study, and with the order of its named entries."""
    return _hash(study.model_dump_json(indent=1))


def write_resolved(study: Study, results_root: Path) -> Path:
    """Write the whole study as JSON to `<results_root>/<study>/.study/<hash>.json`, unless it is there; its path."""
    path = Path(results_root) / study.study / ".study" / f"{study_hash(study)}.json"
    if not path.exists():
        write_text(path, study.model_dump_json(indent=1))
    return path


def announce(study: Study) -> None:
    """Write the resolved study, and name it to the commands that this process's jobs will be (`STUDY_VARIABLE`).

    It is not named in their text: so a change of the study reruns the rules whose `params` it changes, and no others.
    """
    os.environ[STUDY_VARIABLE] = str(write_resolved(study, Path(study.results)))


def read_resolved(path: Path) -> Study:
    """Read what `write_resolved` wrote. Raises ConfigError where the file is missing, cut off or changed."""
    remedy = "run snakemake again: it writes the file anew"
    try:
        text = Path(path).read_text(encoding="utf-8")
        if _hash(text) != Path(path).stem:
            raise ConfigError([f"{path}: cut off or changed since it was written; delete it and {remedy}"])
        return Study.model_validate_json(text)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError([f"{path}: not a resolved study of this version ({reason}); {remedy}"]) from error


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{path}, line {line}: not valid YAML: {error.problem or error.context}"]) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: cannot be read: {' '.join(str(error).split())}"]) from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ConfigError([f"{path}: expected sections and keys (`seed: 42`), got {shown(content)}"])
    return content


def _merge(base: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """`later` over `base`: sections key by key, anything else whole; as Snakemake merges its configuration files."""
    merged = dict(base)
    for key, value in later.items():
        if isinstance(value, Mapping):
            former = merged.get(key)
            value = _merge(former if isinstance(former, Mapping) else {}, value)
        merged[key] = value
    return merged


def _as_yaml(value: Any) -> Any:
    """Read the texts at the leaves as YAML; a text that is not YAML stays as it is."""
    if isinstance(value, Mapping):
        return {key: _as_yaml(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_yaml(item) for item in value]
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return value


def _without_removed(config: dict[str, Any]) -> dict[str, Any]:
    """A copy without the entries of TABLES that are null."""
    for first, *rest in TABLES:
        section = config.get(first)
        if not isinstance(section, Mapping):
            continue
        if rest:
            kept = _without_null(section.get(rest[0]))
            config = {**config, first: {**section, rest[0]: kept} if rest[0] in section else section}
        else:
            config = {**config, first: _without_null(section)}
    return config


def _without_null(entries: Any) -> Any:
    return (
        {name: entry for name, entry in entries.items() if entry is not None}
        if isinstance(entries, Mapping)
        else entries
    )
