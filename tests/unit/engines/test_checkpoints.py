from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from arbitrage.config.models import Model
from arbitrage.config.study import Study
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.factory import load_generator, load_prm, load_router, open_pair
from arbitrage.engines.prompting import Prompter
from arbitrage.engines.step_boundary import StopRule
from arbitrage.speculation.protocols import EngineError
from tests.support.tiny_models import build_causal, build_classifier


def _remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def _pickle(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def _truncate(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _lose_a_shard(directory: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def _deepen(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove("config.json"), "no config.json"),
        (_remove("model.safetensors"), "no weights at all"),
        (_remove("tokenizer.json"), "no tokenizer in"),
        (_remove("chat_template.jinja"), "no chat template"),
        (_pickle, r"pytorch_model\.bin.*Only safetensors are loaded"),
        (_truncate, r"model\.safetensors: no whole safetensors file .*fetch it again"),
        (_lose_a_shard, r"model-00002-of-00002\.safetensors.*fetch them again"),
        (_deepen, "lacks weights that LlamaForCausalLM needs"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_what_is_wrong(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    directory = build_causal(tmp_path / "model")
    damage(directory)
    with pytest.raises(EngineError, match=message) as error:
        checkpoint = resolve(directory)
        checkpoint.tokenizer(chat=True)
        checkpoint.load("float32", "cpu", ("ForCausalLM",))
    assert str(directory) in str(error.value)


@pytest.mark.parametrize(
    ("path", "revision", "message"),
    [
        ("/nowhere/zoo/draft", None, "no such model directory, and not a hub id"),
        ("owner/name", None, "needs a pinned commit"),
        ("owner/name", "0" * 40, "not to be had from the hub"),
    ],
)
def test_a_model_that_is_nowhere_is_named(
    path: str, revision: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EngineError, match=message):
        resolve(path, revision)


def test_a_model_with_another_head_is_refused(tmp_path: Path) -> None:
    causal, prm = build_causal(tmp_path / "causal"), build_classifier(tmp_path / "prm")
    with pytest.raises(EngineError, match=r"its head is LlamaForSequenceClassification; expected one of \*ForCausalLM"):
        resolve(prm).load("float32", "cpu", ("ForCausalLM",))
    with pytest.raises(EngineError, match="its head is LlamaForCausalLM"):
        resolve(causal).load("float32", "cpu", ("ForSequenceClassification",))


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(EngineError, match="in float32 on cuda"):
        resolve(build_causal(tmp_path / "m")).load("float32", "cuda", ("ForCausalLM",))


def test_a_fingerprint_changes_with_any_file_that_matters_and_with_nothing_else(tmp_path: Path) -> None:
    directory = build_causal(tmp_path / "model")
    checkpoint = resolve(directory)
    original = checkpoint.fingerprint()
    (directory / "README.md").write_text("a model card")
    assert checkpoint.fingerprint() == original
    seen = {
        original,
        checkpoint.fingerprint(dtype="bfloat16"),
        checkpoint.fingerprint(engine="x"),
    }
    for name in ("tokenizer.json", "config.json", "generation_config.json", "chat_template.jinja"):
        (directory / name).write_text((directory / name).read_text() + " ")
        seen.add(checkpoint.fingerprint())
    assert len(seen) == 7


def test_a_study_loads_its_engines(tmp_path: Path) -> None:
    form = {"classes": 2, "boundary": 1, "ordinal": False, "annotate": True, "separator": "\n\n"}
    study = Study.model_validate(
        {
            "study": "lab",
            "results": str(tmp_path),
            "models": {
                "draft": {"path": str(build_causal(tmp_path / "draft"))},
                "low": {"quantise": {"model": "draft", "bits": 3}},
            },
            "pairs": {"only": {"draft": "low", "target": "draft"}},
            "prm": {"path": str(build_classifier(tmp_path / "prm"))},
            "benchmarks": {"lab500": {"source": "lab500"}},
        }
    )
    with pytest.raises(EngineError, match=r"models\.low: .*lab/models/low is missing, which the rule quantise makes"):
        load_generator(study, "low")
    shutil.copytree(tmp_path / "draft", study.model_path("low"))
    generator = load_generator(study, "draft")
    with open_pair(study, "only") as (low, draft):
        assert low.identity == draft.identity == generator.identity
    assert load_prm(study).separator == generator.stop.separator == "\n\n"
    assert load_router(study, build_classifier(tmp_path / "router", labels=2, router=form)).separator == "\n\n"


def test_a_byte_level_tokenizer_labelled_llama_is_loaded_as_its_file_says(tmp_path: Path) -> None:
    """DeepSeek's checkpoints are so (transformers #45488): rebuilt as SentencePiece's kind, they lose all spaces."""
    path = build_causal(tmp_path / "labelled", "bpe")
    file = path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "LlamaTokenizerFast"}))
    assert AutoTokenizer.from_pretrained(path).decode(AutoTokenizer.from_pretrained(path).encode("a b")) != "a b"
    tokenizer = resolve(path).tokenizer(chat=True)
    text = "First we add 3 and 4.\n\nThen"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert tokenizer.eos_token == "</s>" and tokenizer.bos_token == "<s>"


def test_what_a_tokenizer_file_cuts_off_or_adds_does_not_reach_prompts(tmp_path: Path) -> None:
    """Files saved with truncation and padding on, or that add an end-of-sequence token to every text."""
    path = build_causal(tmp_path / "cut", "bpe")
    raw = Tokenizer.from_file(str(path / "tokenizer.json"))
    raw.enable_truncation(4)
    raw.enable_padding(length=64)
    raw.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    raw.save(str(path / "tokenizer.json"))
    prompter = Prompter("m", resolve(path).tokenizer(chat=True), Model(path="m"))
    for problem in ("What is 3 + 4? Add them.", "Is a</s>b true?"):  # the second takes the way around control tokens
        ids = prompter.prompt_ids(problem)
        text = prompter.tokenizer.decode(list(ids))
        assert problem in text and text.endswith("assistant: ") and "<pad>" not in text
    assert (
        prompter.tokenizer.decode(list(prompter.step_ids("So x = 2. Then x + x = 4."))) == "So x = 2. Then x + x = 4."
    )


def test_ids_beyond_the_tokenizer_which_padded_embeddings_can_write_are_no_text(tmp_path: Path) -> None:
    """Embeddings are padded to round numbers; vllm #340 died of such an id."""
    tokenizer = resolve(build_causal(tmp_path / "padded", "bpe")).tokenizer()
    rule = StopRule(tokenizer, "\n\n", {2})
    ids = tokenizer.encode("So x", add_special_tokens=False)
    assert rule.decode([*ids, len(tokenizer) + 7]) == "So x"
