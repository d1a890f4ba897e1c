"""2,000 mutated configurations: each is accepted and then usable throughout, or refused with one line a fault.

They start from the studies that come with the project. A mutation drops, misspells, doubles or moves a key, or puts
something odd in its place: another type, a number out of range or beyond all sense, null, nested junk, names of entries
that are not there.
"""

import copy
import datetime
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.config import load
from arbitrage.config.load import ConfigError, load_study, study_hash, validate_config, write_resolved
from arbitrage.config.schema import ANY_NAME, keys
from arbitrage.config.study import Study
from arbitrage.runtime import resources
from arbitrage.runtime.dependencies import READS
from tests.support.toys import STUDIES

ROOT = Path(__file__).resolve().parents[3]
FILES = [ROOT / "config.yaml", *STUDIES]
PATHS = [path for path in keys() if path[-1] != ANY_NAME]
KNOWN = sorted({part for key in keys() for part in key})
LONG = "a" * 5000

ODD = st.one_of(
    st.sampled_from(
        [
            *(None, True, False, 0, 1, -1, 2, 5, 100, 10**9, 10**30, -(10**400), 16**5000, 2**31, 2**63),
            *(0.0, -0.0, 0.5, 1.0, 1.5, -1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
            *("", " ", "42", "3e-4", "exact", "rsd", "null", "a\nb", "\0", "\ud800", "Ünïcode", "\u2028", "\u202eback"),
            *("..", ".", "/", "/no/such", "owner/name", "README.md", "cuda:0", "cuda:99999999999", "gpu", "{", "%s"),
            *("lab500", "numina", "small", "draft", "target", "target-lowbit", "no-such-entry", "labelling", LONG),
            *([], {}, [[]], [None], [0.5, 0.1], [0.1, 0.1], [1, "x"], ["rsd", "rsd"], [10**400]),
            *({"a": {"b": {"c": 1}}}, {None: 1}, {1: 2}, {"": {}}, {(1, 2): 3}),
            *(datetime.date(2025, 12, 9), b"\xff", {1, 2}),
        ]
    ),
    st.integers(),
    st.integers(1, 20),
    st.floats(),
    st.floats(0, 1),
    st.text(max_size=5),
    st.recursive(st.none() | st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=4),
)  # fmt: skip


@cache
def _studies() -> list[dict[str, Any]]:
    """The studies that come with the project."""
    return [yaml.safe_load(path.read_text()) for path in FILES]


def sections(config: Any) -> Iterator[dict[Any, Any]]:
    """The mapping and all mappings in it."""
    if isinstance(config, dict):
        yield config
        for value in config.values():
            yield from sections(value)


@cache
def _fitting(path: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Values of the type that the key at `path` documents, beyond all sense too."""
    expected = keys()[path].expected
    if "`" in expected:
        return st.sampled_from(re.findall(r"`([^`]+)`", expected))
    if "whole number" in expected:
        return st.integers(1, 64) | st.sampled_from([0, 1000, 10**7, 10**9, 10**30])
    if "number" in expected:
        return st.floats(0, 1) | st.sampled_from([-1.0, 24.0, 1e6, 1e300])
    if "true or false" in expected:
        return st.booleans()
    return st.sampled_from(["small", "target", "cpu", "cuda:1", "src", LONG, "a\0b", "\ud800"])


def _set(config: dict[Any, Any], path: tuple[str, ...], value: Any) -> None:
    """Give the documented key at `path` a value; a user's own name is the first there is."""
    *parents, key = path
    for part in parents:
        if part == ANY_NAME:
            part = next(iter(config), "new")
        if not isinstance(config.get(part), dict):
            config[part] = {}
        config = config[part]
    config[key] = value


@st.composite
def mutated(draw: st.DrawFn) -> dict[Any, Any]:
    """One of the studies with one to four mutations."""
    config = copy.deepcopy(draw(st.sampled_from(_studies())))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        places = [section for section in sections(config) if section] or [config]
        section = draw(st.sampled_from(places))
        key = draw(st.sampled_from(list(section) or KNOWN))
        match draw(st.sampled_from(["set", "set", "set", "put", "put", "add", "drop", "misspell", "double", "move"])):
            case "set":
                path = draw(st.sampled_from(PATHS))
                _set(config, path, copy.deepcopy(draw(draw(st.sampled_from([_fitting(path), ODD])))))
            case "put":
                section[key] = copy.deepcopy(draw(ODD))
            case "add":
                section[draw(st.sampled_from(KNOWN) | st.text(max_size=6) | st.integers())] = copy.deepcopy(draw(ODD))
            case "drop":
                section.pop(key, None)
            case "misspell":
                at = draw(st.integers(0, len(str(key))))
                section[str(key)[:at] + draw(st.sampled_from(["", "_", "x", "É"])) + str(key)[at + 1 :]] = section.pop(
                    key, None
                )
            case "double":  # an entry under a second name
                section[f"{key}-2"] = copy.deepcopy(section.get(key))
            case "move":  # a value, or a whole section, from elsewhere
                other = draw(st.sampled_from(places))
                section[key] = copy.deepcopy(other[draw(st.sampled_from(list(other)))] if other else None)
    return config


@pytest.fixture(scope="module", autouse=True)
def _in_the_checkout(request: pytest.FixtureRequest) -> Iterator[None]:
    """The studies name their models from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


def assert_in_words(refused: ConfigError, config: Mapping[Any, Any]) -> None:
    """One line a fault, which begins with a key of the configuration or one it lacks."""
    assert refused.problems
    top_keys = {str(key) for key in config} | set(Study.model_fields)
    for fault in refused.problems:
        key, separator, text = fault.partition(": ")
        assert separator and text
        assert len(fault.splitlines()) == 1
        assert len(fault) < 1000
        assert key.split(".")[0] in top_keys or key.startswith(('"', "'", "("))


def assert_usable(study: Study, results: Path) -> None:
    """All that is read off a study before its first job starts."""
    resolved = write_resolved(study.model_copy(update={"results": str(results)}))
    assert study_hash(load.read_resolved(resolved)) == resolved.stem
    assert Study.model_validate_json(study.model_dump_json()) == study
    for stage in READS:
        for pair in (None, *study.pairs):
            for attempt in (1, 3):
                resources.resources(study, stage, pair, attempt)
    for pair in study.pairs.values():
        assert study.model_path(pair.draft) and study.model_path(pair.target)
    assert study.router_init[0]
    assert study.ablation_pair in study.pairs
    assert study.steps_shards <= 10_000
    assert all(study.sweep_shards(benchmark) <= 10_000 for benchmark in study.benchmarks)
    assert set(study.reads(*Study.model_fields)) == set(Study.model_fields)


@settings(
    max_examples=2000,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(config=mutated())
@pytest.mark.timeout(300)
def test_a_mutated_configuration_is_usable_or_refused_in_words(
    config: dict[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = copy.deepcopy(config)
    try:
        study = validate_config(config)
    except ConfigError as refused:
        assert_in_words(refused, config)
    else:
        assert_usable(study, tmp_path_factory.getbasetemp() / "resolved")
    assert config == before


@st.composite
def mutated_text(draw: st.DrawFn) -> bytes:
    """The text of a study with one to three pieces cut out, put in, or moved."""
    text = draw(st.sampled_from(FILES)).read_bytes()
    for _ in range(draw(st.integers(1, 3))):
        start, end = sorted(draw(st.integers(0, len(text))) for _ in range(2))
        piece = draw(st.sampled_from(TEXTS) | st.just(text[start : start + 20]) | st.binary(max_size=3))
        text = text[:start] + piece + text[min(end, start + draw(st.sampled_from([0, 0, 1, 20]))) :]
    return text


TEXTS = [
    *(
        b": ",
        b"- ",
        b"{",
        b"[",
        b"}",
        b"\n",
        b"\t",
        b"'",
        b'"',
        b"#",
        b"&a ",
        b"*a",
        b"!!set ",
        b"!!binary ",
        b"? ",
        b"~",
    ),
    *(b"<<: *a", b"2025-99-99", b"0x" + b"f" * 5000, b"9" * 5000, b"%YAML 9.9", b"---", b"\xef\xbb\xbf", b"[" * 2000),
]


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=mutated_text())
@pytest.mark.timeout(300)
def test_a_mutated_file_is_a_study_or_refused_in_words(text: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(text)
    try:
        study = load_study([ROOT / "config.yaml", path])
    except ConfigError as refused:
        assert refused.problems
        assert all(len(fault.splitlines()) == 1 and len(fault) < 1000 for fault in refused.problems)
        assert all(re.match(r"\S.*: .", fault) for fault in refused.problems)
    else:
        assert_usable(study, tmp_path_factory.getbasetemp() / "resolved")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models: &a {draft: *a}", "cannot be read: an alias"),
        ("seed: &a [*a]", "seed: expected a whole number"),
        ("a: &a {b: &b {a: *a, b: *b}}", "cannot be read: an alias"),
        ("x: " + "[" * 3000 + "]" * 3000, "cannot be read"),
        ("seed: 0x" + "f" * 5000, "seed: expected a whole number >= 0 and < 2147483648, got a number of thousands"),
        ("? [1, 2]\n: 3", "not valid YAML: found unhashable key"),
        ("seed: 2025-12-09", 'seed: expected a whole number >= 0 and < 2147483648, got "2025-12-09"'),
        ("prm: {path: !!binary aGVsbG8=}", "prm.path: expected text"),
        ("sweep: {policies: !!set {rsd, router}}", "sweep.policies: expected a list"),
        ("resources: {label: {hours: 1.0e+300}}", "resources.label.hours: expected a number > 0 and <= 10000"),
        ("steps: {shards: 1000000}", "steps.shards: expected at most 10,000 jobs, got 1000000"),
        ("sweep: {shards: 10001}", "sweep.shards: expected at most 10,000"),
        ("questions: {pool: 90000000, sample: 80000000}\nsteps: {questions_per_job: 1}", "steps.questions_per_job: "),
        ('results: ""', "results: expected a folder"),
        ("results: README.md/here", "results: expected a folder"),
        ('prm: {path: "a\\0b"}', "prm.path: expected text without NUL"),
        ('study: "\\ud800"', "study: expected"),
        (f"models: {{draft: {{path: {'x/' * 4000}}}}}", "models.draft.path: expected a directory"),
        (f"study: {LONG}", "study: expected a name"),
        ("benchmarks: {labelling: {source: math500, revision: x}}", "benchmarks.labelling: expected another name"),
        ("models: {draft: {engine: []}}", "models.draft.engine: expected"),
        ("models: {draft: {device: 'cuda:99999999999'}}", "models.draft.device: expected a torch device"),
    ],
)
def test_what_no_type_rules_out_is_refused_in_words(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_study([ROOT / "config.yaml", path])
    assert any(expected in fault for fault in caught.value.problems)
    assert all(len(fault.splitlines()) == 1 for fault in caught.value.problems)


@pytest.mark.parametrize(
    "command",
    [
        ("arbitrage", "config", "--study", "{file}"),
        ("arbitrage", "check", "--study", "{file}"),
        ("snakemake", "--cores", "1", "--dry-run", "--configfile", "{file}"),
        ("snakemake", "--cores", "1", "--dry-run", "--config", "curves={treshold: [0.5]}", "results=[README.md]"),
    ],
    ids=" ".join,
)
def test_no_front_door_answers_with_a_traceback(command: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text((ROOT / "config.yaml").read_text() + "curves: {treshold: [0.5]}\nresults: [README.md]\n")
    run = [sys.executable, "-m", *command] if command[0] == "snakemake" else [*command]
    done = subprocess.run(
        [part.replace("{file}", str(file)) for part in run], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1
    said = done.stdout + done.stderr  # Snakemake's dry run speaks on stdout
    assert "curves.treshold: unknown key" in said
    assert "results: expected text" in said
    assert "Traceback" not in said
