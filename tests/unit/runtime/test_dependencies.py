"""What stages read of a study is said in one place, and rules and commands know no other."""

import re
from pathlib import Path

import pytest
from typer.models import CommandInfo

from arbitrage.cli import app
from arbitrage.config.resources import Job, Resources
from arbitrage.config.study import Study
from arbitrage.runtime.dependencies import READS, keys_read, source_files, sources_read

ROOT = Path(__file__).resolve().parents[3]


def study() -> Study:
    return Study.model_validate(
        {
            "study": "lab",
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


def test_a_stage_has_one_name_as_rule_command_dependency_key_and_class_of_resources() -> None:
    whole_studies = ROOT / "rules" / "sensitivity.smk"  # its rules run studies, not stages
    files = sorted(path for path in (ROOT / "rules").glob("*.smk") if path != whole_studies)
    text = "".join(path.read_text() for path in files)
    rules = {block.partition(":")[0]: block for block in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]}
    stages = {name: block for name, block in rules.items() if "params:" in block}
    assert stages.keys() == READS.keys() and rules.keys() - stages.keys() == {"all", "figures", "pictures", "models"}
    commands = {command.name or command.callback.__name__ for command in registered()}  # type: ignore[union-attr]
    for name, block in stages.items():
        command = name.replace("_", "-")
        assert name in commands, name
        assert re.search(rf'"arbitrage {command} ', block), name
        assert f'reads=reads_of("{name}")' in block and set(re.findall(r'sources_of\("(\w+)"\)', block)) <= {name}
        assert set(re.findall(r'resources_of\("(\w+)"\)', block)) <= {name}
        assert set(re.findall(r'PATHS\.(?:log|timing)\("(\w+)"', block)) == {name}
    assert set(Resources.model_fields) & {"steps", "trajectories", "quantise_gptq"} == set()
    classes = {name for name, field in Resources.model_fields.items() if field.annotation is Job}
    assert classes - {"small"} <= READS.keys()


def registered() -> list[CommandInfo]:
    """Every command of `arbitrage`."""
    return [command for group in app.registered_groups for command in group.typer_instance.registered_commands]  # type: ignore[union-attr]


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
    assert {"models.llama3.2-1b", "models.t", "prm"} <= set(keys_read(study(), "label", pair="p"))
    assert sources_read(study(), "label", pair="p") == ["a/d", "t", "prm"]
    assert sources_read(study(), "quantise", model="q") == ["t"]
    assert sources_read(study(), "evaluation_questions", benchmark="b") == ["b.jsonl"]


def test_the_files_of_a_stage_are_those_of_its_local_sources_and_none_that_the_study_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/d/model.safetensors", "a/d/README.md", "a/d/.cache/x", "t/sub/config.json", "b.jsonl"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("")
    note = "results/lab/.study/fetched/model--prm@main.json"  # of a hub id, the rule `fetch` writes that it is here
    assert source_files(study(), "label", pair="p") == ["a/d/model.safetensors", "t/sub/config.json", note]
    assert source_files(study(), "evaluation_questions", benchmark="b") == ["b.jsonl"]
    made = study().model_dump(exclude_none=True)
    made["pairs"]["p"]["draft"] = "q"
    low_bit = Study.model_validate(made)
    (Path(low_bit.model_path("q"))).mkdir(parents=True)
    (Path(low_bit.model_path("q")) / "model.safetensors").write_text("")
    assert source_files(low_bit, "label", pair="p") == ["t/sub/config.json", note]
    made["models"]["t"]["path"] = "results/lab/zoo/target"  # by rules/zoo.smk, not by the study's own rules
    Path("results/lab/zoo/target").mkdir(parents=True)
    Path("results/lab/zoo/target/config.json").write_text("")
    trained_here = Study.model_validate(made)
    assert source_files(trained_here, "label", pair="p") == ["results/lab/zoo/target/config.json", note]
