"""Single faults, on the models of the zoo: each is named with its remedy, and nothing finished is lost."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from arbitrage import cli
from arbitrage.config.load import load_study, write_resolved
from arbitrage.config.study import Study
from arbitrage.engines.hf.generator import TransformersGenerator
from arbitrage.engines.scoring.scorers import PrmScorer
from arbitrage.engines.store.chunk_files import StoreError
from arbitrage.io.merge import merge_tables
from arbitrage.io.tables import TableError, read_table, write_table
from arbitrage.lab.register import register_sources
from arbitrage.questions.sampling import sample_questions
from arbitrage.runtime.progress import Progress
from arbitrage.runtime.provenance import record
from arbitrage.speculation.protocols import EngineError, ScoreError
from arbitrage.stages import label as label_stage
from tests.support.fault_table import Note
from tests.unit.routing.conftest import step_row

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]


def turn(file: Path, bit: int) -> None:
    """Turn one bit of a file over."""
    content = bytearray(file.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    file.write_bytes(content)


def cut(file: Path, bit: int) -> None:
    """Cut a file off at a bit's byte."""
    file.write_bytes(file.read_bytes()[: bit // 8 % file.stat().st_size])


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Twelve questions, labelled in chunks of two."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("ARBITRAGE_RUN_PID", raising=False)
    register_sources()
    small = {
        "results": str(tmp_path / "results"),
        "questions": {"pool": 60, "sample": 12},
        "steps": {"shards": 2, "chunk": 2},
    }
    return load_study([Path("config.yaml")], small)


Labelled = tuple[int, list[dict[str, Any]], float]  # tokens generated, rows, seconds


def label(study: Study, folder: Path) -> Labelled:
    rows, _ = sample_questions(study.study, study.questions, study.seed, [])
    write_table(folder / "questions.parquet", "questions", rows)
    began = time.monotonic()
    _, report = label_stage.label(study, "small", 0, folder / "questions.parquet", folder / "steps.parquet")
    seconds = time.monotonic() - began
    tokens = sum(int(report["work"][name]["tokens"]) for name in ("draft", "target"))
    return tokens, read_table(folder / "steps.parquet", "steps"), seconds


@pytest.fixture
def undisturbed(study: Study, tmp_path: Path) -> Labelled:
    """The same labels in other folders, and without a fault."""
    elsewhere = study.model_copy(update={"results": str(tmp_path / "elsewhere")})
    return label(elsewhere, tmp_path / "elsewhere")


def chunks(study: Study) -> list[Path]:
    return sorted(Path(study.results).glob(".store/*/labelling/*.parquet"))


def goes_on(study: Study, folder: Path, undisturbed: Labelled) -> float:
    """Label again, to the same rows, without what was kept; the seconds that the fault cost."""
    tokens, rows, seconds = label(study, folder)
    assert rows == undisturbed[1]
    assert 0 < tokens < undisturbed[0]
    nothing, _, idle = label(study, folder)
    assert nothing == 0
    return max(0.0, seconds - idle)


@pytest.mark.fault
@pytest.mark.parametrize("damage", [turn, cut])
def test_a_damaged_chunk_costs_its_own_work_only(
    damage: Callable[[Path, int], None], study: Study, tmp_path: Path, undisturbed: Labelled, note: Note
) -> None:
    label(study, tmp_path)
    damage(chunks(study)[1], 12_345)
    note("labelling: a chunk truncated, or one bit flipped", goes_on(study, tmp_path, undisturbed))
    assert len(list(Path(study.results).rglob("*.corrupt"))) == 1


@pytest.mark.fault
def test_an_engine_that_raises_in_the_middle_costs_one_chunk(
    study: Study, tmp_path: Path, undisturbed: Labelled, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    with monkeypatch.context() as patched:
        _at_call(patched, TransformersGenerator, "_write", 16, EngineError("CUDA out of memory; lower batch_size"))
        with pytest.raises(EngineError, match="out of memory"):
            label(study, tmp_path)
    assert chunks(study)
    assert not (tmp_path / "steps.parquet").exists()
    note("labelling: engine that raises in mid-batch", goes_on(study, tmp_path, undisturbed))


@pytest.mark.fault
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_named_and_never_remembered(
    value: float, study: Study, tmp_path: Path, undisturbed: Labelled, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    with monkeypatch.context() as patched:
        _at_call(patched, PrmScorer, "scalars", 8, torch.full((64,), value, dtype=torch.float64))
        with pytest.raises(ScoreError, match=rf"{study.prm.path}: the score of input .* is {value}; .*try float32"):
            label(study, tmp_path)
    assert chunks(study)
    note("labelling: score that is NaN or infinite", goes_on(study, tmp_path, undisturbed))


def _at_call(patched: pytest.MonkeyPatch, owner: type, name: str, number: int, answer: Any) -> None:
    """Have call `number` of a method raise `answer`, or return it."""
    method, calls = getattr(owner, name), iter(range(10**6))

    def instead(self: Any, *arguments: Any) -> Any:
        if next(calls) != number:
            return method(self, *arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer[: len(arguments[0])]

    patched.setattr(owner, name, instead)


@pytest.fixture
def tmpfs(study: Study) -> Iterator[Path]:
    """A file system of 1 MiB at the study's results."""
    folder = Path(study.results)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, text=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a traceback may hold a file


def fill(folder: Path) -> None:
    """Leave no room on the file system of `folder`, but for what goes once `ballast` is deleted."""
    with (folder / "ballast").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


@pytest.mark.fault
def test_a_full_disk_is_named_and_labelling_goes_on_once_there_is_room(
    tmpfs: Path,
    study: Study,
    tmp_path: Path,
    undisturbed: Labelled,
    monkeypatch: pytest.MonkeyPatch,
    note: Note,
) -> None:
    with monkeypatch.context() as patched:  # somebody else fills the disk once the first chunk is written
        patched.setattr(Progress, "advance", lambda self, units=1, **counts: self.unit == "questions" and fill(tmpfs))
        with pytest.raises(StoreError, match=r"step store cannot be written \(.*No space left on device.*make room"):
            label(study, tmp_path)
    assert len(chunks(study)) == 1
    assert not list(tmpfs.rglob("*.tmp"))
    (tmpfs / "ballast").unlink()
    note("labelling: disk full", goes_on(study, tmp_path, undisturbed))


def command(study: Study, *words: str | Path) -> int:
    """One command of the pipeline, as a rule gives it; its exit status."""
    sys.argv = ["arbitrage", words[0], "--study", str(write_resolved(study)), *map(str, words[1:])]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def steps(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished table of labelled steps with its record, on a disk of its own."""
    monkeypatch.setattr(sys, "argv", sys.argv)
    shard = tmp_path / "shards" / "steps.parquet"
    rows = [step_row(f"q{question:03}", index, (question % 7 - 3) / 10) for question in range(40) for index in range(3)]
    write_table(shard, "steps", rows)
    record([shard], "steps", study, [], {}, {}, time.time())
    return shard


@pytest.mark.fault("finished table truncated, or one bit flipped")
@pytest.mark.parametrize("damage", [turn, cut])
@pytest.mark.parametrize("bit", [40, 9_999, -30])
def test_a_damaged_table_is_named_before_it_is_used(
    damage: Callable[[Path, int], None],
    bit: int,
    study: Study,
    steps: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(steps, bit)
    assert command(study, "dataset", "--variant", "default", "--steps", steps, "--out", tmp_path / "dataset") == 1
    said = capsys.readouterr().err
    assert f"arbitrage: {steps}: " in said and "snakemake" in said
    assert not (tmp_path / "dataset").exists()


_ONE_UPDATE = Study.model_fields["router"].default.training.model_copy(update={"epochs": 0.01})


@pytest.mark.fault("half-written files of a killed job")
def test_what_a_killed_attempt_left_half_written_goes_with_the_next(study: Study, steps: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    left = [tmp_path / f".dataset.{end}.tmp" for end in ("123", "provenance.json.123")]
    left[0].mkdir()
    left[1].write_text("{")
    (tmp_path / ".dataset2.123.tmp").write_text("another's")
    assert command(study, "dataset", "--variant", "default", "--steps", steps, "--out", dataset) == 0
    assert [path.name for path in tmp_path.glob(".*.tmp")] == [".dataset2.123.tmp"]


@pytest.mark.fault("write error: disk full")
def test_a_full_disk_is_named_by_every_kind_of_writer(
    tmpfs: Path, study: Study, steps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "dataset"
    quick = study.model_copy(update={"router": study.router.model_copy(update={"training": _ONE_UPDATE})})
    assert command(quick, "dataset", "--variant", "default", "--steps", steps, "--out", dataset) == 0
    fill(tmpfs)
    for words in (
        ("dataset", "--variant", "default", "--steps", steps, "--out", tmpfs / "dataset"),
        ("router", "--variant", "default", "--dataset", dataset, "--out", tmpfs / "model"),
        ("evaluation-questions", "--name", "lab500", "--out", tmpfs / "lab500.parquet"),
    ):
        assert command(quick, *words) == 1
        said = capsys.readouterr().err
        assert "the disk is full; make room and give the same command again" in said
        assert str(tmpfs) in said
    (tmpfs / "ballast").unlink()
    assert not [path for path in tmpfs.iterdir() if not path.name.startswith(".model") and path.name != quick.study]


@pytest.mark.fault("number in a table that is NaN or infinite")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("column", ["draft_score", "target_scores", "advantage"])
def test_no_table_takes_a_number_that_is_not_finite(value: float, column: str, tmp_path: Path) -> None:
    table = tmp_path / "steps.parquet"
    odd = step_row("q1", 0, 0.5)
    odd[column] = [0.5, value] if column == "target_scores" else value
    with pytest.raises(TableError, match=rf"{table}: {column} would hold {value} \(1 times\); expected finite numbers"):
        write_table(table, "steps", [step_row("q0", 0, 0.5), odd])
    assert not list(tmp_path.iterdir())


@pytest.mark.fault("missing shard")
def test_a_missing_shard_is_named_with_the_remedy(steps: Path, tmp_path: Path) -> None:
    missing, out = tmp_path / "shard-1.parquet", tmp_path / "merged.parquet"
    with pytest.raises(
        TableError,
        match=rf"{missing}: no such table; run the study that writes it \(snakemake --cores all --configfile",
    ):
        merge_tables([steps, missing], "steps", out)
    assert not out.exists()


@pytest.mark.fault("table without a record with 300 flipped bits")
def test_the_pages_of_a_table_check_themselves_where_there_is_no_record(tmp_path: Path) -> None:
    table, rng = tmp_path / "steps.parquet", random.Random(1)
    rows = [step_row(f"q{question:03}", 0, question / 100) for question in range(40)]
    write_table(table, "steps", rows)
    whole = table.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    refused = 0
    for _ in range(300):
        turn(table, rng.randrange(32, 8 * (len(whole) - footer)))
        try:
            assert read_table(table, "steps") == rows  # a bit that says nothing
        except TableError:
            refused += 1
        table.write_bytes(whole)
    assert refused > 200
