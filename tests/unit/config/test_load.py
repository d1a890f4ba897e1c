"""Configurations: merging, every problem in one line, all of a round at once, and the resolved study on disk."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.generate import configuration_page

from arbitrage.config.load import (
    ConfigError,
    load_study,
    read_resolved,
    read_study,
    require_commits,
    require_sources,
    study_hash,
    validate_config,
    write_resolved,
)
from arbitrage.config.router import RECOMMENDED
from arbitrage.config.schema import keys

ROOT = Path(__file__).resolve().parents[3]
HERE = str(Path(__file__).parent)  # a directory that is there


def lab(**changes: Any) -> dict[str, Any]:
    """A valid configuration; `changes` replace whole top-level keys."""
    config: dict[str, Any] = {
        "study": "lab",
        "seed": 7,
        "models": {
            "draft": {"path": HERE},
            "target": {"path": HERE},
            "lowbit": {"quantise": {"model": "target", "bits": 3}},
        },
        "pairs": {
            "small": {"draft": "draft", "target": "target"},
            "low": {"draft": "lowbit", "target": "target", "latency": False},
        },
        "prm": {"path": HERE},
        "benchmarks": {"lab500": {"source": "lab500", "limit": 10}},
        "questions": {"source": "lab", "pool": 100, "sample": 50},
        "router": {"training": {"learning_rate": 1.0e-3}, "variants": {"default": {}, "ten": {"classes": 10}}},
        "sweep": {"thresholds": [0.0, 0.5]},
    }
    return config | changes


def problems_of(config: Mapping[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        require_sources(validate_config(config))
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def test_a_valid_configuration_is_accepted_and_gets_its_defaults() -> None:
    study = validate_config(lab())
    assert study.seed == 7
    assert study.sweep.thresholds == [0.0, 0.5]
    assert study.figures.dpi == 150


def test_there_are_no_more_jobs_than_questions(tmp_path: Path) -> None:
    """A benchmark of one question is one job, whatever `shards` says; before, it was refused."""
    (tmp_path / "one.jsonl").write_text('{"problem": "What is 3 + 4?", "answer": "7"}\n')
    benchmarks = {"one": {"path": str(tmp_path / "one.jsonl")}, "many": {"source": "lab500", "limit": 10}}
    study = validate_config(lab(benchmarks=benchmarks, sweep={"shards": 4}, steps={"shards": 70}))
    assert (study.sweep_shards("one"), study.sweep_shards("many"), study.steps_shards) == (1, 4, 50)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sweep": {"treshold": 0.5}}, "sweep.treshold: unknown key (value 0.5); did you mean sweep.thresholds?"),
        ({"learning_rate": 1}, "learning_rate: unknown key (value 1); did you mean router.training.learning_rate?"),
        ({"seed": "42"}, 'seed: expected a whole number >= 0 and < 2147483648, got "42"; YAML takes that as text'),
        ({"seed": True}, "seed: expected a whole number >= 0 and < 2147483648, got true"),
        ({"seed": -1}, "seed: expected a whole number >= 0 and < 2147483648, got -1"),
        ({"seed": 1.0}, "seed: expected a whole number >= 0 and < 2147483648, got 1.0"),
        ({"study": "../up"}, 'study: expected a name (letters, digits, dots and underscores, with single hyphens'),
        ({"questions": None}, "questions: expected a section, got null"),
        ({"models": {}}, "models: expected sections by name, at least one, got {}"),
        ({"prm": {}}, "prm.path: missing; expected text"),
        ({"prm": {"path": "/no/such"}}, 'prm.path: expected a directory, or a hub id (owner/name); "/no/such"'),
        ({"prm": {"path": "owner/name"}}, 'hub\'s "owner/name", which is no directory here, got none; `arbitrage'),
        ({"prm": {"path": HERE, "device": "gpu"}}, 'prm.device: expected a torch device (cpu, cuda, cuda:1)'),
        (
            {"models": {"draft": {"path": HERE, "server": {"url": "h:80"}}, "target": {"path": HERE}}},
            'models.draft.server.url: expected a base URL (http://host:port/v1), got "h:80"',
        ),
        ({"benchmarks": {"m": {"source": "math50"}}}, "did you mean math500?"),
        ({"benchmarks": {"m": {"source": "college_math"}}}, "m.revision: expected the commit of the hub's"),
        ({"benchmarks": {"m": {"source": "math500", "dataset": "a/b"}}}, "m.revision: expected the commit of"),
        ({"benchmarks": {"m": {"kind": "integer"}}}, "m.path: expected a file of questions, or a data set"),
        ({"benchmarks": {"m": {"path": "README.md", "columns": {"answer": None}}}}, "benchmarks.m.columns.answer: exp"),
        ({"benchmarks": {"m": {"path": "README.md", "columns": {"choices": "c"}}}}, "m.kind: expected `choice`"),
        ({"benchmarks": {"m": {"path": "README.md", "columns": {"anwser": "a"}}}}, "did you mean benchmarks.m.col"),
        ({"benchmarks": {"m": {"source": "lab500", "path": "x"}}}, "benchmarks.m.path: expected none, as lab500"),
        ({"questions": {"source": "numina", "path": "no.jsonl"}}, "questions.path: expected a file of questions"),
        ({"questions": {"pool": 10, "sample": 11}}, "questions.sample: expected at most questions.pool (10) questions"),
        ({"questions": {"pool": 10}}, "questions.sample: expected at most questions.pool (10) questions, got 2000"),
        ({"latency": {"questions": 1}, "benchmarks": {"m": {"source": "lab500"}}}, "latency.questions: expected two"),
        ({"sweep": {"thresholds": [0.5, 0.1]}}, "sweep.thresholds: expected rising thresholds, none twice"),
        ({"sweep": {"thresholds": [0.5, 0.5]}}, "sweep.thresholds: expected rising thresholds, none twice"),
        ({"sweep": {"thresholds": [-0.5]}}, "the oracle is compared at thresholds of 0 and above: list one, or take"),
        ({"sweep": {"thresholds": [0.5, math.nan]}}, "sweep.thresholds.1: expected a finite number, got NaN"),
        ({"zoo": {"threads": 16**3700}}, "zoo.threads: expected a whole number of 64 bits, got a number of"),
        ({"zoo": {"low_bit_group_size": 30}}, "low_bit_group_size 30 does not divide base.width 96; give a"),
        ({"zoo": {"low_bit_group_size": 24}}, "low_bit_group_size 24 does not divide base.inner 256; give a"),
        ({"latency": {"speculative_policies": ["oracle"]}}, "expected policies of sweep.policies that are timed ("),
        (
            {"latency": {"speculative_policies": ["rsd"], "speculative_tokens": []}},
            "latency.speculative_policies: expected none where latency.speculative_tokens is []",
        ),
        ({"sweep": {"thresholds": [0.5, "x"]}}, 'sweep.thresholds.1: expected a number, got "x"'),
        (
            {"sweep": {"thresholds": "all"}},
            'sweep.thresholds: expected one of `exact`, `quantiles` or a list, each a number, got "all"',
        ),
        ({"sweep": {"thresholds": []}}, "sweep.thresholds: expected `exact`, `quantiles` or at least one threshold"),
        (
            {"sweep": {"thresholds": "quantiles", "policies": ["rsd", "min_logprob"]}},
            "sweep.thresholds: expected `exact` or a list for min_logprob",
        ),
        ({"sweep": {"policies": ["rds"]}}, 'got "rds"; did you mean rsd?'),
        ({"sweep": {"policies": ["rsd", "rsd"]}}, "sweep.policies: expected each policy once"),
        ({"sweep": {"policies": ["rsd", "router"]}}, "sweep.policies: lacks draft_only, target_only, whose"),
        ({"router": {"ablation_pair": "smal"}}, "router.ablation_pair: expected a key of `pairs` (small, low)"),
        ({"router": {"init": "/no/such"}}, "router.init: expected a directory, or a hub id (owner/name)"),
        ({"router": {"variants": {"ten": {}}}}, "router.variants: needs a variant named `default`"),
        ({"router": {"training": {"learning_rate": "3e-4"}}}, "YAML takes that as text: write 3e-4 as 3.0e-4"),
        ({"router": {"training": {"weight_decay": math.inf}}}, "weight_decay: expected a finite number"),
        ({"router": {"training": {"micro_batch_tokens": 0}}}, "micro_batch_tokens: expected"),
        ({"steps": {"target_samples": 2}}, "steps: target_samples > 1 needs temperature > 0"),
        ({"pairs": {"p": {"draft": "draft", "target": "targe"}}}, 'got "targe"; did you mean target?'),
        ({"pairs": {"p": {"draft": "draft", "target": "draft"}}}, "pairs.p.target: expected another model"),
        ({"prm": {"path": "p", "engine": "vllm", "kind": "judge"}}, "and value-head, got judge: vLLM reads"),
        ({"prm": {"path": "p", "engine": "vllm", "dtype": "float64"}}, "engine vllm has no dtype float64"),
        ({5: 1}, "5: unknown key, and no text; expected one of benchmarks, curves"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_with_key_value_and_what_was_expected(changes: Any, expected: str) -> None:
    assert any(expected in fault for fault in problems_of(lab() | changes))


@pytest.mark.parametrize("origin", ["lowbit", "other", "nowhere"])
def test_only_a_model_with_weights_of_its_own_can_be_quantised(origin: str) -> None:
    config = lab()
    config["models"]["other"] = {"quantise": {"model": origin, "bits": 4}}
    assert [fault for fault in problems_of(config) if fault.startswith("models.other.quantise.model: expected")]


def test_all_problems_of_a_round_come_at_once() -> None:
    config = lab(seed="x", sweep={"treshold": 1}, zoo={"threads": 10**30}, router={"ablation_pair": "no"})
    assert {problem.partition(": ")[0] for problem in problems_of(config)} == {"seed", "sweep.treshold", "zoo.threads"}
    between = lab(router={"ablation_pair": "no"}, questions={"pool": 10, "sample": 11})
    assert {problem.partition(": ")[0] for problem in problems_of(between)} == {
        "router.ablation_pair",
        "questions.sample",
    }
    away = lab(prm={"path": "/no/such"}, benchmarks={"m": {"source": "math500", "path": "/none"}})
    assert {problem.partition(": ")[0] for problem in problems_of(away)} == {"prm.path", "benchmarks.m.path"}


def test_a_folder_of_results_is_written_out() -> None:
    with pytest.raises(ConfigError, match="results: expected a folder written out, for nothing here reads ~"):
        validate_config(lab(results="~/results"))


def test_a_study_has_a_name_of_its_own_or_it_would_write_over_anothers_results() -> None:
    config = lab()
    del config["study"]
    (problem,) = problems_of(config)
    assert problem.startswith("study: missing; expected a name")


def test_where_models_and_data_are_is_no_part_of_a_configurations_form(tmp_path: Path) -> None:
    assert validate_config(lab(prm={"path": "/no/such"})).prm.path == "/no/such"
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(lab(prm={"path": "/no/such"})))
    assert read_study([file]).prm.path == "/no/such"
    with pytest.raises(ConfigError, match=r"prm\.path: expected a directory"):
        load_study([file])


def test_a_branch_can_be_planned_with_but_not_run_without_a_check() -> None:
    study = validate_config(lab(prm={"path": "owner/name", "revision": "main"}))
    require_sources(study)
    with pytest.raises(ConfigError, match=r'prm\.revision: expected a commit, got "main"; `arbitrage check` prints'):
        require_commits(study)


def test_later_files_and_overrides_win_key_by_key(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(
        f"study: a\nmodels: {{draft: {{path: {HERE}}}, target: {{path: {HERE}}}}}\n"
        "pairs: {p: {draft: draft, target: target}}\n"
        f"prm: {{path: {HERE}, batch_size: 8}}\n"
        "benchmarks: {a: {source: lab500}, b: {source: labolympiad}}\n"
    )
    second.write_text("prm: {dtype: bfloat16}\nbenchmarks: {a: {limit: 3}}\n")
    study = load_study([first, second], {"prm": {"batch_size": 4}})
    assert (study.prm.dtype, study.prm.batch_size) == ("bfloat16", 4)
    assert [benchmark.limit for benchmark in study.benchmarks.values()] == [3, None]


def test_what_a_pair_names_must_be_there() -> None:
    config = lab()
    del config["models"]["lowbit"]
    assert problems_of(config) == ['pairs.low.draft: expected a key of `models` (draft, target), got "lowbit"']


def test_values_inside_command_line_sections_are_read_as_yaml() -> None:
    as_snakemake_gives_it = {"sweep": {"thresholds": ["0", "0.25"]}, "pairs": {"low": {"latency": "true"}}, "seed": 3}
    study = validate_config(lab(seed=3), as_snakemake_gives_it)
    assert study.sweep.thresholds == [0.0, 0.25]
    assert study.timed_pairs == ["small", "low"]


def test_a_syntax_error_is_one_line_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("study: lab\nmodels: {draft: {path: x}\nprm: [\n")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}, line \d: not valid YAML: .+$"):
        load_study([path])


@pytest.mark.parametrize("content", [b"- 1\n", b"\xff\xfe\x00", b"just text", b"a: !!python/object:os.system {}\n"])
def test_a_file_that_is_no_configuration_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_study([path])
    assert len(caught.value.problems) == 1
    assert str(path) in caught.value.problems[0]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read: .*No such file"):
        load_study([tmp_path / "no.yaml"])


def test_the_resolved_study_is_written_once_and_read_back(tmp_path: Path) -> None:
    study = validate_config(lab(results=str(tmp_path)))
    path = write_resolved(study)
    assert path == tmp_path / "lab" / ".study" / f"{study_hash(study)}.json"
    written = path.stat().st_mtime_ns
    assert write_resolved(study).stat().st_mtime_ns == written
    assert read_resolved(path) == study
    assert study_hash(validate_config(lab(seed=8, results=str(tmp_path)))) != study_hash(study)


@pytest.mark.fault("resolved study cut off or changed")
@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: text.replace("7", "8", 1)])
def test_a_damaged_resolved_study_is_refused_with_the_remedy(tmp_path: Path, damage: Any) -> None:
    path = write_resolved(validate_config(lab(results=str(tmp_path))))
    path.write_text(damage(path.read_text()))
    with pytest.raises(ConfigError, match="cut off or changed since it was written; delete it and run snakemake again"):
        read_resolved(path)
    with pytest.raises(ConfigError, match="run snakemake again"):
        read_resolved(tmp_path / "none.json")


def test_the_configuration_page_is_in_step_with_the_code() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == configuration_page(), "run `make docs`"
    assert all(f"`{key.path[-1]}`" in page for key in keys().values() if not key.is_section)
    assert all(key.meaning for key in keys().values() if key.path[-1] != "prm")


def test_the_recommended_kind_of_router_is_named_in_the_resolved_study() -> None:
    study = validate_config(lab(router={"variants": {"default": {}, "best": {"kind": "recommended"}}}))
    assert study.router.variants["best"].kind == RECOMMENDED
    assert study == validate_config(lab(router={"variants": {"default": {}, "best": {"kind": RECOMMENDED}}}))
