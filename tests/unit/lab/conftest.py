"""A small tokenizer of the lab, made once."""

from pathlib import Path

import pytest

from arbitrage.lab.tokenizer import build_tokenizer


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(questions=500).save_pretrained(folder)
    return folder
