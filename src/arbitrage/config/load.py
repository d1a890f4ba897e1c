"""Configuration files to a checked `Study`: merging, validation, the resolved study on disk.

The only place that reads studies. Later files and overrides are merged into earlier ones key by key. A configuration is
checked in two rounds, each of which names all its problems at once: the keys and values themselves, then what must hold
between them, and that local models and data are there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from arbitrage.config.messages import KeyPath, Problem, dotted, shape_problems, shown
from arbitrage.config.revisions import hub_entries, lock_file, read_lock, with_commits
from arbitrage.config.study import Study
from arbitrage.config.validate import PINNING, source_problems, study_problems, value_problems
from arbitrage.config.yaml_files import read_yaml
from arbitrage.errors import UserError
from arbitrage.io.atomic import write_text

STUDY_VARIABLE = "ARBITRAGE_STUDY"  # path of the resolved study, for commands without --study


class ConfigError(UserError, ValueError):
    """A configuration that cannot be used: one line a problem, each with the key, its value and what was expected."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def load_study(paths: Sequence[Path], overrides: Mapping[str, Any] | None = None) -> Study:
    """Read YAML files, merge them in order, lay `overrides` over them, and check the study. Raises ConfigError.

    Local models and data must be there, and hub repositories pinned.
    """
    study = read_study(paths, overrides)
    require_sources(study)
    return study


def read_study(paths: Sequence[Path], overrides: Mapping[str, Any] | None = None) -> Study:
    """As `load_study`, wherever its models and data are. Raises ConfigError."""
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            merged = _merge(merged, _read_yaml(Path(path)))
        except RecursionError as error:
            raise ConfigError([f"{path}: cannot be read: an alias (`*name`) stands inside what it names"]) from error
    return locked(validate_config(_merge(merged, overrides or {})), paths)


def locked(study: Study, paths: Iterable[str | Path]) -> Study:
    """The study with the commits that `arbitrage fetch` wrote beside its files for the branches they name.

    Raises ConfigError where a lock file cannot be read.
    """
    commits: dict[str, str] = {}
    for path in paths:
        try:
            commits |= read_lock(lock_file(Path(path)))
        except (OSError, ValueError) as error:
            raise ConfigError([str(error)]) from error
    return with_commits(study, commits)


def require_strict_yaml(paths: Iterable[str | Path]) -> None:
    """Raise ConfigError where a file gives a key twice, or a number that YAML reads as another.

    For the files that Snakemake reads itself (in a Snakefile: `workflow.configfiles`), which passes over both.
    """
    wrong: list[str] = []
    for path in paths:
        try:
            _read_yaml(Path(path))
        except ConfigError as error:
            wrong += str(error).splitlines()
    if wrong:
        raise ConfigError(wrong)


def validate_config(config: Mapping[str, Any], command_line: Mapping[str, Any] | None = None) -> Study:
    """Check a merged configuration, such as Snakemake's `config`, but not the disk (`require_sources`).

    command_line: what came by `--config` (in a Snakefile: `workflow.config_settings.config`). Snakemake leaves the
    values inside `--config 'sweep={thresholds: [0, 0.5]}'` as text; they are read as YAML here, and laid over `config`.
    Raises ConfigError.
    """
    nested = {key: _as_yaml(value) for key, value in (command_line or {}).items() if isinstance(value, Mapping | list)}
    config = _merge(config, nested)
    try:
        study = Study.model_validate(config)
    except ValidationError as error:
        _refuse([*shape_problems(error, config), *value_problems(config)])
        raise
    _refuse([*value_problems(config), *study_problems(study)])
    return study


def require_sources(study: Study) -> None:
    """Raise ConfigError where a model or data set is not where the study says, or a hub repository has no commit."""
    _refuse(source_problems(study))


def require_commits(study: Study) -> None:
    """Raise ConfigError where a revision is a branch or tag: jobs of other days would read other files."""
    moving = [entry for entry in hub_entries(study) if not entry.is_pinned]
    _refuse((entry.key, f"expected a commit, got {shown(entry.revision)}; {PINNING}") for entry in moving)


def _refuse(problems: Iterable[Problem]) -> None:
    """Raise ConfigError with the first problem of each key, if there are any."""
    lines: dict[KeyPath, str] = {}
    for path, text in problems:
        lines.setdefault(path, f"{dotted(path)}: {text}")
    if lines:
        raise ConfigError(list(lines.values()))


def study_hash(study: Study) -> str:
    """16 hexadecimal digits that change with any value of the study, and with the order of its named entries."""
    return _hash(study.model_dump_json(indent=1))


def resolved_path(study: Study) -> Path:
    """Where the resolved study is written: `<results>/<study>/.study/<hash>.json`."""
    return Path(study.folder) / ".study" / f"{study_hash(study)}.json"


def write_resolved(study: Study) -> Path:
    """Write the whole study as JSON to `resolved_path`, unless it is there; its path."""
    path = resolved_path(study)
    if not path.exists():
        write_text(path, study.model_dump_json(indent=1))
    return path


def announce(study: Study) -> None:
    """Write the resolved study, and name it to the commands that this process's jobs will be (`STUDY_VARIABLE`).

    It is not named in their text: so a change of the study reruns the rules whose `params` it changes, and no others.
    """
    os.environ.setdefault("PYTHONUTF8", "1")  # in jobs, text is UTF-8 whatever the locale
    os.environ[STUDY_VARIABLE] = str(write_resolved(study))


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
        content, wrong = read_yaml(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{path}, line {line}: not valid YAML: {error.problem or error.context}"]) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: cannot be read: {' '.join(str(error).split())}"]) from error
    if wrong:
        raise ConfigError([f"{path}, {each}" for each in wrong])
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
    if not isinstance(value, str):
        return value
    try:
        content, wrong = read_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        return value
    return value if wrong else content
