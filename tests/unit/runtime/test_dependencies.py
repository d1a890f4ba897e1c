"""What stages read of a study is said in one place, and rules and commands know no other."""

import re
from pathlib import Path

import pytest

from arbitrage.config.study import Study
from arbitrage.runtime.dependencies import READS, keys_read, source_files, sources_read

ROOT = Path(__file__).resolve().parents[3]


def study() -> Study:
    return Study.model_validate(
        {
            "models": {
                "llama3.2-1b": {"path": "a/d"},
                "t": {"path": "t"},
                "q": {"quantise": {"model": "t", "bits": 3}},
            },
            "pairs": {"p": {"draft": "llama3.2-1b", "target": "t"}},
            "prm": {"path": "prm"},
            "benchmarks": {"b": {"source": "math500", "path": "b.jsonl"}},
        }
    )


def test_rules_and_commands_name_the_same_stages() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    named = set(re.findall(r'reads=reads_of\("(\w+)"\)', rules))
    assert named == READS.keys() - {"merge"}  # it reads its inputs alone
    commands = "".join(path.read_text() for path in (ROOT / "src/arbitrage/cli").glob("*.py"))
    assert set(re.findall(r'stage\(\s*"(\w+)"', commands)) | {"quantise", "quantise_gptq"} == READS.keys()


def test_every_key_is_there_whatever_the_stage() -> None:
    names = {"pair": "p", "benchmark": "b", "variant": "default", "model": "q", "role": "draft"}
    for stage in READS:
        keys = keys_read(study(), stage, **names)
        assert list(study().reads(*keys)) == list(keys), stage


def test_a_name_with_a_dot_is_found() -> None:
    assert study().reads("models.llama3.2-1b")["models.llama3.2-1b"]["path"] == "a/d"
    assert study().reads("models.llama3.2-1b.path") == {"models.llama3.2-1b.path": "a/d"}


def test_weights_are_quantised_again_where_their_recipe_changes_not_where_they_run() -> None:
    elsewhere = study().model_dump(exclude_none=True)
    elsewhere["models"]["q"] |= {"device": "cuda:1", "batch_size": 3}
    elsewhere["models"]["t"] |= {"engine": "vllm"}
    keys = keys_read(study(), "quantise", model="q")
    assert Study.model_validate(elsewhere).reads(*keys) == study().reads(*keys)
    elsewhere["models"]["q"]["quantise"]["bits"] = 4
    assert Study.model_validate(elsewhere).reads(*keys) != study().reads(*keys)


def test_a_stage_that_runs_a_pair_reads_its_models_and_their_settings() -> None:
    assert {"models.llama3.2-1b", "models.t", "prm"} <= set(keys_read(study(), "steps", pair="p"))
    assert sources_read(study(), "steps", pair="p") == ["a/d", "t", "prm"]
    assert sources_read(study(), "quantise", model="q") == ["t"]
    assert sources_read(study(), "benchmark", benchmark="b") == ["b.jsonl"]


def test_the_files_of_a_stage_are_those_of_its_local_sources_and_none_that_the_study_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/d/model.safetensors", "a/d/README.md", "a/d/.cache/x", "t/sub/config.json", "b.jsonl"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("")
    assert source_files(study(), "steps", pair="p") == ["a/d/model.safetensors", "t/sub/config.json"]  # prm: a hub id
    assert source_files(study(), "benchmark", benchmark="b") == ["b.jsonl"]
    made = study().model_dump(exclude_none=True)
    made["pairs"]["p"]["draft"] = "q"
    low_bit = Study.model_validate(made)
    (Path(low_bit.model_path("q"))).mkdir(parents=True)
    (Path(low_bit.model_path("q")) / "model.safetensors").write_text("")
    assert source_files(low_bit, "steps", pair="p") == ["t/sub/config.json"]
