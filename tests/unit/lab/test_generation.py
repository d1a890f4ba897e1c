"""Batched writing gives what transformers gives one context at a time; what is no model of the lab is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from arbitrage.errors import UserError
from arbitrage.lab.generation import (
    context_ids,
    continue_texts,
    load_classifier,
    load_language_model,
    load_tokenizer,
    require_one_vocabulary,
)
from arbitrage.lab.models import llama_config, new_language_model
from arbitrage.lab.question_stream import lab_questions
from arbitrage.lab.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def model_folder(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has not learned a thing, and so ends its texts at very different places."""
    folder = tmp_path_factory.mktemp("model") / "model"
    tokenizer = load_tokenizer(tokenizer_folder)
    model = new_language_model(llama_config(tokenizer, 16, 2, 2, 32), seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    model.lm_head.weight.data[tokenizer.eos_token_id] *= 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_batched_writing_is_one_by_one_writing(model_folder: Path) -> None:
    model, tokenizer = load_language_model(model_folder), load_tokenizer(model_folder)
    contexts = [context_ids(tokenizer, row["problem"]) for row in lab_questions("validation", 30, seed=1)]
    texts = continue_texts(model, tokenizer, contexts, max_new_tokens=40)
    lengths = set()
    for context, text in zip(contexts, texts, strict=True):
        written = model.generate(torch.tensor([context]), max_new_tokens=40, do_sample=False)[0, len(context) :]
        kept = [int(token) for token in written if token not in (tokenizer.eos_token_id, tokenizer.pad_token_id)]
        assert tokenizer.decode(kept) == text
        lengths.add(len(kept))
    assert len(lengths) > 3, "rows must end at different places for this to test anything"


def test_sampling_repeats_with_its_seed_only(model_folder: Path) -> None:
    model, tokenizer = load_language_model(model_folder), load_tokenizer(model_folder)
    contexts = [context_ids(tokenizer, "Write 57 in base 3.")] * 4
    first, again, other = (continue_texts(model, tokenizer, contexts, 1.0, seed, 20) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) > 1


def test_what_is_no_model_of_the_lab_is_refused_in_one_line(model_folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(model_folder, cut)
    (cut / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"cut: no model\.safetensors; the model is incomplete"):
        load_classifier(cut)
    other = tmp_path / "other"
    build_tokenizer(questions=300, seed=7).save_pretrained(other)
    with pytest.raises(UserError, match=r"other: another vocabulary than .*model"):
        require_one_vocabulary([model_folder, other])
    settings = json.loads((model_folder / "tokenizer.json").read_text())
    settings["added_tokens"] = [token for token in settings["added_tokens"] if token["content"] != "\n\n"]
    (other / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"other: its tokenizer has no token of its own for '\\n\\n'"):
        load_tokenizer(other)
