"""Models are written at half the size, and are what was measured."""

from pathlib import Path

import pytest
import torch

from arbitrage.lab.generation import ZooError, load_language_model, load_tokenizer
from arbitrage.lab.models import llama_config, new_language_model, round_to_stored, write_model


def test_what_is_read_back_is_the_rounded_model(tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    model = new_language_model(llama_config(tokenizer, 16, 1, 2, 32), seed=0)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    round_to_stored(model)
    rounded = {name: weight.clone() for name, weight in model.named_parameters()}
    assert any(not torch.equal(before[name], weight) for name, weight in rounded.items())
    write_model(tmp_path / "model", model, tokenizer, {})
    read = dict(load_language_model(tmp_path / "model").named_parameters())
    assert all(
        torch.equal(read[name], weight) and read[name].dtype == torch.float32 for name, weight in rounded.items()
    )
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert size < 2.2 * sum(weight.numel() for weight in rounded.values())


def test_a_weight_beyond_the_stored_type_is_named(tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    model = new_language_model(llama_config(tokenizer, 16, 1, 2, 32), seed=0)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = 1e6
    with pytest.raises(ZooError, match=r"a weight of lm_head.weight is 1e\+06, above what torch.float16 holds"):
        write_model(tmp_path / "model", model, tokenizer, {})
    assert not (tmp_path / "model").exists()
