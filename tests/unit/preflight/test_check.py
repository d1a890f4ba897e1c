"""`arbitrage check`: each thing that would stop a study is found before it starts, and named with its remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from arbitrage.cli import app
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.preflight import check_hub
from arbitrage.preflight.check_data import data_findings, labelling_problems
from arbitrage.preflight.check_models import model_findings
from arbitrage.preflight.check_revisions import revision_findings
from tests.support.hub_cache import cached
from tests.support.tiny_models import build_causal, build_classifier
from tests.support.tiny_prms import build_answering, build_marked, build_value_head, prm_tokenizer, save
from tests.support.tokenizer_kinds import ENDS, Kind, build_kind
from tests.unit.preflight.conftest import found, study_of


def test_a_study_that_can_run_has_no_fault_and_no_warning(checkpoints: dict[str, str]) -> None:
    findings = list(model_findings(study_of(checkpoints), ["What is 3 + 4?"], {}))
    assert {finding.subject for finding in findings} == {"models.draft", "models.target", "prm"}
    assert {finding.verdict for finding in findings} == {"ok"}


def test_a_missing_chat_template_is_a_fault_of_that_model(checkpoints: dict[str, str], tmp_path: Path) -> None:
    bare = build_causal(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    (fault,) = found(list(model_findings(study_of(checkpoints | {"draft": str(bare)}), ["a"], {})), "fault")
    assert fault.startswith("models.draft") and "template" in fault


def test_a_mistyped_path_is_named_as_one_not_as_a_hub_that_cannot_be_reached(checkpoints: dict[str, str]) -> None:
    study = study_of(checkpoints | {"draft": "models/of/draft"})
    (fault,) = found(list(model_findings(study, ["ab"], {})), "fault")
    assert fault == 'models.draft: expected a directory, or a hub id (owner/name); "models/of/draft" is neither'
    assert list(revision_findings(study)) == []


def test_a_context_too_short_for_prompt_and_solution_is_a_warning_with_the_length_that_fits(
    checkpoints: dict[str, str],
) -> None:
    study = study_of(checkpoints, generation={"max_tokens": 4000})
    warnings = found(list(model_findings(study, ["ab"], {})), "warning")
    *models, prm = warnings
    assert len(models) == 2 and all("context is 1,024" in warning for warning in models)
    assert prm.startswith("prm: it reads 1,024 ids, and a solution may have 4,000")


def test_a_study_none_of_whose_prompts_fits_is_a_fault_and_one_too_long_is_left_out(
    checkpoints: dict[str, str],
) -> None:
    faults = found(list(model_findings(study_of(checkpoints), ["a" * 1100], {})), "fault")
    assert len(faults) == 2 and all("1 of 1 prompts" in fault for fault in faults)
    warnings = found(list(model_findings(study_of(checkpoints), ["a" * 1100, "ab"], {})), "warning")
    assert len(warnings) == 2 and all("1 of 2 prompts" in each and "left out" in each for each in warnings)


def test_the_context_that_vllm_is_given_counts_and_its_options_are_refused_on_another_engine(
    checkpoints: dict[str, str],
) -> None:
    draft = {"path": checkpoints["draft"], "engine": "vllm", "vllm": {"max_context": 40}}
    models = {"draft": draft, "target": {"path": checkpoints["target"]}}
    findings = list(model_findings(study_of(checkpoints, models=models), ["ab"], {}))
    (warning,) = found(findings, "warning")
    assert warning.startswith("models.draft") and "vllm.max_context is 40" in warning
    (fault,) = found(list(model_findings(study_of(checkpoints, models=models), ["a" * 60], {})), "fault")
    assert fault.startswith("models.draft") and "as vllm.max_context, 40" in fault
    models["draft"] = draft | {"engine": "transformers"}
    (fault,) = found(list(model_findings(study_of(checkpoints, models=models), ["ab"], {})), "fault")
    assert "reads no vllm options, got max_context" in fault
    for key in ("prm", "router"):
        own = {"path": checkpoints["prm"]} if key == "prm" else {}
        section = own | {"vllm": {"max_context": 40}}
        (fault,) = found(list(model_findings(study_of(checkpoints, **{key: section}), ["ab"], {})), "fault")
        assert fault.startswith(f"{key}: ") and "reads no vllm options, got max_context" in fault
    resolved = Study.model_validate_json(study_of(checkpoints).model_dump_json())  # names every option, as a run has it
    assert found(list(model_findings(resolved, ["ab"], {})), "fault") == []


def test_prompts_of_labelling_questions_are_measured_too(tmp_path: Path, checkpoints: dict[str, str]) -> None:
    rows = [{"source": "s", "problem": problem, "solution": "s"} for problem in ("ab", "a" * 1100, " ")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = study_of(checkpoints, questions={"source": "numina", "path": str(tmp_path / "rows.jsonl"), "sample": 2})
    assert labelling_problems(study) == ["ab", "a" * 1100]
    (tmp_path / "rows.jsonl").write_text('{"source": 1}\n')
    assert labelling_problems(study) == []  # data_findings has the fault


@pytest.mark.parametrize("kind", ["phi-3", "qwen", "gemma-2"])
def test_a_turn_end_that_no_configuration_names_is_told(kind: Kind, tmp_path: Path) -> None:
    path = str(build_kind(tmp_path / kind, kind))
    prm = str(build_classifier(tmp_path / "prm"))
    findings = list(model_findings(study_of({"draft": path, "target": path, "prm": prm}), ["a"], {}))
    warnings = found(findings, "warning")
    assert len(warnings) == 2 and all(f"with {ENDS[kind]}, which no configuration names" in each for each in warnings)


def test_a_turn_end_that_is_no_token_is_told(checkpoints: dict[str, str], tmp_path: Path) -> None:
    path = build_causal(tmp_path / "base")
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }} ###\n{% endfor %}"
    (path / "chat_template.jinja").write_text(template)
    (warning,) = found(list(model_findings(study_of(checkpoints | {"draft": str(path)}), ["a"], {})), "warning")
    assert "ends an answer with '###', which is no token of its own" in warning


def test_a_tokenizer_with_more_ids_than_the_model_has_embeddings_is_a_fault(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    path = build_causal(tmp_path / "grown")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    (fault,) = found(list(model_findings(study_of(checkpoints | {"draft": str(path)}), ["a"], {})), "fault")
    assert fault.startswith("models.draft") and "its embeddings end at 49" in fault


def test_a_cache_that_holds_what_jobs_need_will_do_without_the_rest(
    checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch takes no model card; the hub's client calls such a cache incomplete."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(check_hub.HfApi, "model_info", lambda *arguments, **options: pytest.fail("the hub was asked"))
    cached("a" * 40, Path(checkpoints["draft"]), tmp_path)
    found = check_hub.checkpoint("some/model", "a" * 40)
    assert found.location == "in the hub's cache" and found.weights == check_hub.weight_bytes(
        Path(checkpoints["draft"])
    )
    cached("b" * 40, Path(checkpoints["draft"]), tmp_path, "model.safetensors")
    assert check_hub.checkpoint("some/model", "b" * 40, weights=False).location == "in the hub's cache"
    monkeypatch.setattr(check_hub.HfApi, "model_info", refuse_offline)
    with pytest.raises(check_hub.UnreachableError, match="HF_HUB_OFFLINE"):
        check_hub.checkpoint("some/model", "b" * 40)


def refuse_offline(*arguments: Any, **options: Any) -> None:
    raise OfflineModeIsEnabled.__new__(OfflineModeIsEnabled)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (GatedRepoError, "accept its licence"),
        (RevisionNotFoundError, "no such revision"),
        (RepositoryNotFoundError, "no such repository"),
        (OfflineModeIsEnabled, "HF_HUB_OFFLINE"),
    ],
)
def test_the_hubs_refusals_are_told_apart(
    kind: type[Exception], remedy: str, checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise kind.__new__(kind)

    monkeypatch.setattr(check_hub.HfApi, "model_info", refuse)
    study = study_of(checkpoints | {"draft": "some/model"})
    (fault,) = found(list(model_findings(study, ["a"], {})), "fault")
    assert "some/model" in fault and remedy in fault


def test_another_number_of_rows_than_the_benchmark_has_is_a_warning(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    row = {"problem": "1+1?", "solution": "2", "answer": "2", "subject": "Algebra", "unique_id": "a"}
    other = row | {"problem": "1+2?", "answer": "3", "unique_id": "b"}
    (tmp_path / "short.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(other) + "\n")
    source = {"source": "math500", "path": str(tmp_path / "short.jsonl")}
    findings, questions = data_findings(study_of(checkpoints, benchmarks={"math500": source}))
    assert [row["problem"] for row in questions["math500"]] == ["1+1?", "1+2?"]
    assert "2 questions, expected 500: is this another edition of math500?" in found(findings, "warning")[0]
    own = {"path": str(tmp_path / "short.jsonl")}
    assert found(data_findings(study_of(checkpoints, benchmarks={"exam": own}))[0], "warning") == []
    wrong = found(data_findings(study_of(checkpoints, benchmarks={"exam": own | {"rows": 3}}))[0], "warning")
    assert "2 questions, expected 3: correct `rows`" in wrong[0]


def test_a_benchmark_row_without_an_answer_is_a_fault(checkpoints: dict[str, str], tmp_path: Path) -> None:
    row = {"problem": "1+1?", "solution": "2", "answer": "", "subject": "Algebra", "unique_id": "a"}
    (tmp_path / "empty.jsonl").write_text(2 * (json.dumps(row) + "\n"))
    source = {"source": "math500", "path": str(tmp_path / "empty.jsonl")}
    findings, questions = data_findings(study_of(checkpoints, benchmarks={"math500": source}))
    assert not questions and "'answer'" in found(findings, "fault")[0]


def scored_by(checkpoints: dict[str, str], path: Path, **prm: Any) -> list[str]:
    """Faults of a study whose PRM is at `path`."""
    study = study_of(checkpoints, prm={"path": str(path), **prm}, router={"init": checkpoints["prm"]})
    return found(list(model_findings(study, ["a"], {})), "fault")


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("auto", "prm.kind: value-head"),
        ("classifier", "Set prm.kind to what the checkpoint is"),
        ("marks", "Set prm.kind to what the checkpoint is"),
        ("value-head", "no v_head.summary.weight"),
    ],
)
def test_a_prm_with_another_head_than_its_kind_needs_is_a_fault(
    kind: str, remedy: str, checkpoints: dict[str, str]
) -> None:
    (fault,) = scored_by(checkpoints, Path(checkpoints["draft"]), kind=kind)
    assert fault.startswith("prm: ") and checkpoints["draft"] in fault and remedy in fault


def test_a_prm_of_three_labels_is_a_fault(checkpoints: dict[str, str], tmp_path: Path) -> None:
    (fault,) = scored_by(checkpoints, build_classifier(tmp_path / "three", labels=3))
    assert "3 labels" in fault and "1 or 2" in fault


@pytest.mark.parametrize("kind", ["judge", "token"])
def test_an_answering_prm_whose_words_are_no_tokens_is_a_fault(kind: str, checkpoints: dict[str, str]) -> None:
    (fault,) = scored_by(checkpoints, Path(checkpoints["draft"]), kind=kind)
    assert "prm.template" in fault


def test_a_marked_prm_without_its_mark_is_a_fault(checkpoints: dict[str, str], tmp_path: Path) -> None:
    marked = build_marked(tmp_path / "marked", prm_tokenizer())
    (fault,) = scored_by(checkpoints, marked, kind="marks")
    assert "<extra_0>" in fault and "prm.template.mark" in fault


def test_a_marked_prm_is_not_for_vllm_and_the_reason_is_told(checkpoints: dict[str, str], tmp_path: Path) -> None:
    marked = build_marked(tmp_path / "marked", prm_tokenizer("<extra_0>"))
    (fault,) = scored_by(checkpoints, marked, engine="vllm")
    assert "got marks: vLLM gives a text with marks a score for every token" in fault
    assert "set prm.engine to transformers" in fault
    assert scored_by(checkpoints, Path(checkpoints["prm"]), engine="vllm") == []


def test_prms_of_every_kind_pass(checkpoints: dict[str, str], tmp_path: Path) -> None:
    tokenizer = prm_tokenizer("<extra_0>", "Yes", "No")
    built = {
        "marks": build_marked(tmp_path / "marked", tokenizer),
        "judge": build_answering(tmp_path / "judge", tokenizer),
        "value-head": build_value_head(tmp_path / "head", tokenizer),
        "auto": Path(checkpoints["prm"]),
    }
    assert [scored_by(checkpoints, path, kind=kind) for kind, path in built.items()] == [[]] * len(built)


def test_no_tokenizer_is_loaded_twice(checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = Checkpoint.tokenizer

    def counted(self: Checkpoint, *, chat: bool = False) -> Any:
        loaded.append(self.path)
        return load(self, chat=chat)

    monkeypatch.setattr(Checkpoint, "tokenizer", counted)
    assert {finding.verdict for finding in model_findings(study_of(checkpoints), ["ab"], {})} == {"ok"}
    assert sorted(loaded) == sorted(checkpoints.values())  # routers start from the PRM


def test_a_router_start_without_padding_or_end_token_is_a_fault(checkpoints: dict[str, str], tmp_path: Path) -> None:
    start = build_causal(tmp_path / "start")
    settings = json.loads((start / "tokenizer_config.json").read_text())
    settings |= {"pad_token": None, "eos_token": None}
    (start / "tokenizer_config.json").write_text(json.dumps(settings))
    study = study_of(checkpoints, router={"init": str(start)})
    (fault,) = found(list(model_findings(study, ["a"], {})), "fault")
    assert fault.startswith("router.init") and "neither a padding" in fault


def test_a_router_start_that_is_no_decoder_is_a_fault(checkpoints: dict[str, str], tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = prm_tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    save(BertForSequenceClassification(config), tokenizer, tmp_path / "bert")
    study = study_of(checkpoints, router={"init": str(tmp_path / "bert")})
    (fault,) = found(list(model_findings(study, ["a"], {})), "fault")
    assert "no router can start from BertForSequenceClassification" in fault and "decoder-only" in fault


def test_a_directory_without_safetensors_is_a_fault(checkpoints: dict[str, str], tmp_path: Path) -> None:
    bare = build_causal(tmp_path / "bare")
    (bare / "model.safetensors").rename(bare / "pytorch_model.bin")
    (fault,) = found(list(model_findings(study_of(checkpoints | {"draft": str(bare)}), ["a"], {})), "fault")
    assert "pytorch_model.bin" in fault and "Only safetensors are loaded" in fault


def test_a_model_and_a_judge_without_their_output_layers_are_faults(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    judge = build_answering(tmp_path / "judge", prm_tokenizer("<extra_0>", "Yes", "No"))
    draft = build_causal(tmp_path / "draft")
    for path in (draft, judge):
        weights = load_file(path / "model.safetensors")
        del weights["lm_head.weight"]
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    study = study_of(
        checkpoints | {"draft": str(draft)},
        prm={"path": str(judge), "kind": "judge"},
        router={"init": checkpoints["prm"]},
    )
    faults = found(list(model_findings(study, ["a"], {})), "fault")
    assert [fault.split(":")[0] for fault in faults if "no output layer" in fault] == ["models.draft", "prm"]


def test_labelling_questions_without_a_column_are_a_fault(checkpoints: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"source": "a", "problem": "b"}) + "\n")
    settings = {"source": "numina", "path": str(tmp_path / "q.jsonl")}
    findings, _ = data_findings(study_of(checkpoints, questions=settings))
    assert any("no column 'solution'" in fault for fault in found(findings, "fault"))


@pytest.mark.parametrize(("gigabytes", "ready"), [(24.0, True), (4.0, False)])
def test_the_command_prints_the_memory_of_gpus_and_refuses_what_does_not_fit(
    gigabytes: float, ready: bool, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    on_gpu = {"device": "cuda:0", "dtype": "bfloat16"}
    study = {
        "study": "checked",
        "results": str(tmp_path / "results"),
        "models": {name: on_gpu | {"path": checkpoints[name], "batch_size": 4} for name in ("draft", "target")},
        "pairs": {"pair": {"draft": "draft", "target": "target"}},
        "prm": {"path": checkpoints["prm"], "device": "cuda:0"},
        "benchmarks": {"lab500": {"source": "lab500", "limit": 5}},
        "questions": {"source": "lab", "sample": 5},
        "generation": {"max_tokens": 200},
        "resources": {"gpu_memory_gb": gigabytes},
        "latency": {"eager_cuda": gigabytes > 5},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))  # JSON is YAML
    result = CliRunner().invoke(app, ["check", "--study", str(tmp_path / "study.yaml")])
    assert result.exit_code == (0 if ready else 1), result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert ["label", "pair", "models.draft", "0", "0.0", "2.0"] in [row[:6] for row in rows]
    assert ("GPU 0 has 3.7 GiB" in result.output) == (not ready)
    assert ("and its engine is transformers on cuda:0" in result.output) == (not ready)


@pytest.mark.models
def test_the_command_says_that_the_lab_is_ready() -> None:
    result = CliRunner().invoke(app, ["check", "--study", "config.yaml"])
    assert result.exit_code == 0, result.output
    assert "ready to run" in result.output and "fault " not in result.output
