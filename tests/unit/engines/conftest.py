"""Tiny checkpoints, built once a session."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from arbitrage.config.models import Model
from arbitrage.config.pipeline import Generation
from arbitrage.config.prm import Prm
from arbitrage.engines.checkpoints import resolve
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.scoring.scorers import PrmScorer
from tests.support.tiny_models import Architecture, TokenizerKind, build_causal, build_classifier

CAUSAL: dict[str, tuple[TokenizerKind, Architecture]] = {
    "llama-char": ("char", "llama"),
    "llama-bpe": ("bpe", "llama"),
    "qwen2-bpe": ("bpe", "qwen2"),
}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell in the background has had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def checkpoints_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    for name, (tokenizer, architecture) in CAUSAL.items():
        build_causal(root / name, tokenizer, seed=3, architecture=architecture)
    build_classifier(root / "prm", "bpe")
    return root


@pytest.fixture(scope="session")
def wide_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny causal models with heads of 32: vLLM's kernels for CPUs know no smaller ones."""
    root = tmp_path_factory.mktemp("wide")
    for name, (tokenizer, architecture) in CAUSAL.items():
        build_causal(root / name, tokenizer, seed=3, architecture=architecture, width=128)
    build_classifier(root / "prm", "bpe", width=128)
    return root


@pytest.fixture(scope="session", params=list(CAUSAL))
def wide(request: pytest.FixtureRequest, wide_root: Path) -> Path:
    """The directory of each of them in turn."""
    return wide_root / str(request.param)


def load(directory: Path, batch_size: int = 8, system_prompt: str | None = None) -> TransformersGenerator:
    model = Model(path=str(directory), batch_size=batch_size, system_prompt=system_prompt)
    return TransformersGenerator(resolve(directory), model, Generation())


def load_prm(directory: Path, batch_size: int = 8) -> PrmScorer:
    return PrmScorer(resolve(directory), Prm(path=str(directory), batch_size=batch_size), "\n\n")


@pytest.fixture(scope="session", params=list(CAUSAL))
def causal(request: pytest.FixtureRequest, checkpoints_root: Path) -> Path:
    """The directory of each tiny causal model in turn."""
    return checkpoints_root / str(request.param)


@pytest.fixture(scope="session")
def prm(checkpoints_root: Path) -> PrmScorer:
    return load_prm(checkpoints_root / "prm")


def never_stop(generator: TransformersGenerator) -> None:
    """Have steps end by their limit alone."""
    generator.stop.eos_ids = generator.stop.checked = frozenset()
