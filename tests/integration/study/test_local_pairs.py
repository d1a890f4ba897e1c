"""A real pretrained pair, and pairs nobody has seen, through all stages to the figures, by either in-process engine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbitrage.io.tables import read_table
from arbitrage.quantisation import gguf
from arbitrage.runtime.outputs import FIGURES
from tests.integration.study.test_studies import snakemake
from tests.support.local_pairs import cut_layers, local_study
from tests.support.quick import serve
from tests.support.smollm2 import smollm2_gguf
from tests.support.tiny_models import Architecture, TokenizerKind, build_causal, build_classifier

pytestmark = [pytest.mark.study, pytest.mark.extra, pytest.mark.timeout(2500)]

ENGINES = ["transformers", "vllm"]
# The families of draft and target. Width 128: vLLM's kernels for CPUs know no heads below 32.
TINY: dict[str, tuple[tuple[TokenizerKind, Architecture], tuple[TokenizerKind, Architecture]]] = {
    "qwen2": (("bpe", "qwen2"), ("bpe", "qwen2")),
    "llama, with tokenizers that differ": (("char", "llama"), ("bpe", "llama")),
}


@pytest.fixture(scope="module")
def quick() -> Iterator[Path]:
    with serve() as folder:
        yield folder


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """SmolLM2-135M-Instruct as target and as judge, a third of its layers as draft, two as the router's start."""
    file, folder = smollm2_gguf(), tmp_path_factory.mktemp("smollm2")
    target = folder / "target"
    gguf.unpack(file, target, dtype="float32")
    return {
        "draft": cut_layers(target, folder / "draft", 10),
        "target": target,
        "prm": {"path": str(target), "kind": "judge"},
        "start": cut_layers(target, folder / "start", 2),
    }


def run(folder: Path, quick: Path, engine: str, **models: Any) -> list[dict[str, Any]]:
    """Run the whole study of `models` in `folder`; its trajectories."""
    if engine == "vllm" and importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM (docs/engines.md)")
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump(local_study(folder, engine, **models)))
    done = snakemake("--configfile", str(study), path=quick, timeout_s=1200)
    assert done.returncode == 0, done.stderr[-6000:]
    results = folder / "results" / "local"
    assert (results / "summary.md").is_file() and len(list((results / "figures").glob("*.pdf"))) == len(FIGURES)
    return read_table(results / "trajectories" / "local" / "asked.parquet", "trajectories")


def solutions(rows: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """What the draft and the target write alone, by question and policy."""
    return {
        (row["question_id"], row["policy"]): "".join(step["text"] for step in row["steps"])
        for row in rows
        if row["policy"] in ("draft_only", "target_only")
    }


def test_a_real_pair_runs_to_its_figures_and_both_engines_write_the_same(
    smollm2: dict[str, Any], quick: Path, tmp_path: Path
) -> None:
    written = [solutions(run(tmp_path / engine, quick, engine, **smollm2)) for engine in ENGINES]
    equal = sum(written[0][key] == written[1][key] for key in written[0])
    assert len(written[0]) == len(written[1]) == 16
    assert equal >= 15, "at float32 a near tie may fall the other way, not two"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pair", TINY)
def test_another_pair_of_directories_works_by_its_paths_alone(
    pair: str, engine: str, quick: Path, tmp_path: Path
) -> None:
    draft, target = (
        build_causal(tmp_path / role, kind, seed=seed, architecture=architecture, width=128)
        for seed, (role, (kind, architecture)) in enumerate(zip(("draft", "target"), TINY[pair], strict=True))
    )
    prm = build_classifier(tmp_path / "prm", "bpe")
    rows = run(tmp_path, quick, engine, draft=draft, target=target, prm={"path": str(prm)}, start=prm)
    assert {row["policy"] for row in rows} >= {"rsd", "router", "oracle", "target_only"}
