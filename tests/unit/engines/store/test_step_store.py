from __future__ import annotations

import logging
import multiprocessing
import os
import platform
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arbitrage.engines.store.cached import StoredGenerator, StoredScorer
from arbitrage.engines.store.chunk_files import FORMAT_KEY, SCHEMA, StoreError, claimed, write_chunk
from arbitrage.engines.store.step_store import StepStore, score_key, step_key
from arbitrage.speculation.protocols import EngineError
from arbitrage.speculation.steps import GREEDY, AuthoredStep, GeneratedStep, Ids, Sampling


class Model:
    """Generator and scorer in one: answers from the ids, and remembers what it was asked."""

    def __init__(self, identity: str = "model") -> None:
        self.identity, self.max_context = identity, 2**20
        self.asked: list[Any] = []
        self.forgotten = 0
        self.fails = False

    def prompt_ids(self, problem: str) -> Ids:
        return tuple(problem.encode())

    step_ids = prompt_ids

    def input_ids(self, problem: str, history: Sequence[AuthoredStep], step: AuthoredStep) -> Ids:
        return (*problem.encode(), len(history), *step.text.encode())

    def generate(
        self, contexts: Sequence[Ids], limits: Sequence[int], sampling: Sampling = GREEDY
    ) -> list[GeneratedStep]:
        if self.fails:
            raise EngineError("out of memory")
        self.asked.append((list(contexts), list(limits), sampling))
        return [
            GeneratedStep(
                *(f"{ids}§{limit}\n\n", "length" if limit == 1 else "separator", (-sum(ids) / 4,) * limit),
                entropies=None if sum(ids) % 2 else (0.5,) * limit,
            )
            for ids, limit in zip(contexts, limits, strict=True)
        ]

    def score(self, inputs: Sequence[Ids]) -> list[float]:
        if self.fails:
            raise EngineError("out of memory")
        self.asked.append(list(inputs))
        return [sum(ids) / 3 for ids in inputs]

    def forget(self) -> None:
        self.forgotten += 1


def test_what_was_asked_before_is_not_asked_again_and_misses_are_asked_once(tmp_path: Path) -> None:
    store, model = StepStore(tmp_path, "shard"), Model()
    generator = StoredGenerator(model, store)
    first = generator.generate([(1,), (2,), (1,), (1,)], [5, 5, 5, 6])
    assert model.asked == [([(1,), (2,), (1,)], [5, 5, 6], GREEDY)]  # the limit is part of the question
    assert first[0] == first[2] != first[3]
    assert generator.generate([(3,), (2,)], [5, 5])[1] == first[1]
    assert model.asked[1:] == [([(3,)], [5], GREEDY)]
    assert generator.generate([(3,)], [5]) and len(model.asked) == 2
    assert (generator.calls, generator.steps, generator.tokens, generator.hits) == (2, 4, 21, 3)
    assert (store.generated_steps, store.generated_tokens, store.hits, store.misses) == (4, 21, 3, 4)


def test_scores_are_remembered_apart_from_steps(tmp_path: Path) -> None:
    store, model = StepStore(tmp_path, "shard"), Model()
    scorer = StoredScorer(model, store)
    StoredGenerator(model, store).generate([(1, 2)], [5])
    assert scorer.score([(1, 2), (3,), (1, 2)]) == [1.0, 1.0, 1.0] and model.asked[1:] == [[(1, 2), (3,)]]
    assert scorer.score([(3,)]) == [1.0] and len(model.asked) == 2
    assert (scorer.calls, scorer.scored, scorer.hits, store.scored, len(store)) == (1, 2, 2, 2, 3)


def test_models_samples_and_seeds_have_records_of_their_own_but_greedy_has_no_seed() -> None:
    ids, warm = (1, 2), Sampling(0.5, 1, 2)
    keys = {
        step_key("a", ids, 5, GREEDY),
        step_key("b", ids, 5, GREEDY),
        step_key("a", ids, 5, warm),
        step_key("a", ids, 5, Sampling(0.5, 1, 3)),
        step_key("a", ids, 5, Sampling(0.5, 2, 2)),
        step_key("a", ids, 5, Sampling(0.6, 1, 2)),
        step_key("a", (1, 2, 3), 5, GREEDY),
        score_key("a", ids),
    }
    assert len(keys) == 8 and all(len(key) == 16 for key in keys)
    assert step_key("a", ids, 5, Sampling(0.0, 9, 9)) == step_key("a", ids, 5, GREEDY)


def test_a_store_opened_again_gives_the_same_records_without_the_model(tmp_path: Path) -> None:
    store, model = StepStore(tmp_path, "shard"), Model()
    contexts: list[Ids] = [(index, 11) for index in range(20)]
    limits = [1 + index % 3 for index in range(20)]
    steps = StoredGenerator(model, store).generate(contexts, limits)
    scores = StoredScorer(model, store).score(contexts)
    chunk = store.commit("0001")
    assert chunk is not None and re.fullmatch(r"0001-[0-9a-f]{16}\.parquet", chunk.name)
    assert store.commit("0002") is None  # nothing new
    StoredScorer(model, store).score([(9, 9, 9)])
    assert store.commit("0002") is not None
    again, silent = StepStore(tmp_path, "shard"), Model()
    assert StoredGenerator(silent, again).generate(contexts, limits) == steps
    assert StoredScorer(silent, again).score([*contexts, (9, 9, 9)]) == [*scores, 9.0]
    assert silent.asked == [] and again.misses == 0 and len(again) == 41
    assert len(StepStore(tmp_path, "other shard")) == 0


def test_committing_a_name_that_is_taken_keeps_both_chunks(tmp_path: Path) -> None:
    one, two = StepStore(tmp_path, "shard"), StepStore(tmp_path, "shard")
    StoredScorer(Model(), one).score([(1,)])
    StoredScorer(Model(), two).score([(2,)])
    assert len({store.commit("0001") for store in (one, two)}) == 2
    assert len(StepStore(tmp_path, "shard")) == 2


def test_committing_what_another_writer_committed_leaves_one_chunk(tmp_path: Path) -> None:
    one, two = StepStore(tmp_path, "shard"), StepStore(tmp_path, "shard")
    for store in (one, two):
        StoredScorer(Model(), store).score([(1,)])
    assert one.commit("0001") == two.commit("0001")
    assert len(list((tmp_path / "shard").iterdir())) == 1


@pytest.mark.fault("model that raises in a batch")
def test_a_model_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    store, model = StepStore(tmp_path, "shard"), Model()
    generator, scorer = StoredGenerator(model, store), StoredScorer(model, store)
    generator.generate([(1,)], [5])
    model.fails = True
    with pytest.raises(EngineError, match="out of memory"):
        generator.generate([(1,), (2,)], [5, 5])
    with pytest.raises(EngineError, match="out of memory"):
        scorer.score([(2,)])
    assert (len(store), store.misses, generator.hits, generator.calls, scorer.calls) == (1, 1, 0, 1, 0)


def flipped(content: bytes, bit: int) -> bytes:
    """`content` with one bit turned over."""
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


@pytest.mark.fault("chunk of the step store truncated, or one bit flipped")
@pytest.mark.parametrize(
    "damage", [lambda content: content[:-20], *(lambda content, at=at: flipped(content, at) for at in (40, 999, -3))]
)
def test_a_damaged_chunk_is_reported_set_aside_and_its_work_redone(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = StepStore(tmp_path, "shard")
    chunks = []
    for name in ("0001", "0002"):
        StoredScorer(Model(), store).score([tuple(name.encode())])
        chunks.append(store.commit(name))
    chunk = chunks[0]
    assert chunk is not None
    chunk.write_bytes(damage(chunk.read_bytes()))
    with caplog.at_level(logging.WARNING):
        again = StepStore(tmp_path, "shard")
    assert f"{chunk}: damaged chunk" in caplog.text and "work is redone" in caplog.text
    assert chunk.with_name(chunk.name + ".corrupt").exists() and not chunk.exists()
    assert len(again) == 1
    model = Model()
    StoredScorer(model, again).score([tuple(name.encode()) for name in ("0001", "0002")])
    assert model.asked == [[tuple(b"0001")]]
    assert again.commit("0001") == chunk and len(StepStore(tmp_path, "shard")) == 2


def test_a_chunk_with_other_columns_is_set_aside_too(tmp_path: Path) -> None:
    (tmp_path / "shard").mkdir()
    pq.write_table(pa.table({"key": [1]}).replace_schema_metadata(SCHEMA.metadata), tmp_path / "shard" / "0001.parquet")
    assert len(StepStore(tmp_path, "shard")) == 0
    assert (tmp_path / "shard" / "0001.parquet.corrupt").exists()


@pytest.mark.parametrize("metadata", [None, {FORMAT_KEY: b"999"}])
def test_chunks_of_another_version_are_reported_and_stay_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metadata: dict[bytes, bytes] | None
) -> None:
    """Neither read, for their records may mean something else, nor touched, for that version may come back."""
    store = StepStore(tmp_path, "shard")
    StoredScorer(Model(), store).score([(1,), (2,)])
    chunk = store.commit("0001")
    assert chunk is not None
    columns = pq.read_table(chunk).append_column("more", pa.array([1, 2])).replace_schema_metadata(metadata)
    chunk.unlink()
    theirs = write_chunk(tmp_path / "shard", "0001", columns)
    theirs = theirs if metadata else theirs.rename(tmp_path / "shard" / "0001.parquet")  # as names were before digests
    before = theirs.read_bytes()
    with caplog.at_level(logging.WARNING):
        again = StepStore(tmp_path, "shard")
    assert "1 chunks of the step store are of another version" in caplog.text and "Delete them" in caplog.text
    model = Model()
    assert len(again) == 0 and StoredScorer(model, again).score([(1,)]) and model.asked == [[(1,)]]
    assert again.commit("0001") is not None
    assert theirs.read_bytes() == before and len(StepStore(tmp_path, "shard")) == 1


def test_another_model_finds_nothing_and_takes_nothing_from_the_first(tmp_path: Path) -> None:
    """Another model, tokenizer, type or engine is another identity: in one folder even, records stay apart."""
    for name in ("model", "other", "model"):
        store, model = StepStore(tmp_path, "shard"), Model(name)
        StoredGenerator(model, store).generate([(1,)], [5])
        StoredScorer(model, store).score([(1,)])
        store.commit("0001")
    assert model.asked == [] and len(StepStore(tmp_path, "shard")) == 4


def _hold(root: Path, held: Any, finish: Any) -> None:
    with claimed(root, "shard-0"):
        held.set()
        finish.wait(60)


def test_a_second_process_on_one_shard_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, finish = context.Event(), context.Event()
    first = context.Process(target=_hold, args=(tmp_path, held, finish))
    first.start()
    assert held.wait(30)
    told = f"shard-0 is being worked on by process {first.pid} on .*wait for it"
    with pytest.raises(StoreError, match=told), claimed(tmp_path, "shard-0"):
        pass
    with claimed(tmp_path, "shard-1"):  # another shard is nobody's business
        pass
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with claimed(tmp_path, "shard-0"):  # however the first one ended
        pass


def _score_and_commit(root: Path, ready: Any, go: Any) -> None:
    store = StepStore(root, "shard")
    ready.release()
    go.wait(30)
    StoredScorer(Model(), store).score([(number,) for number in range(50)])
    store.commit("0001")


def test_two_writers_at_once_lose_nothing_where_no_lock_keeps_them_apart(tmp_path: Path) -> None:
    """A file system without locks: both finish, and equal chunks are one: their names tell what is in them."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    writers = [context.Process(target=_score_and_commit, args=(tmp_path, ready, go)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for _ in writers:
        assert ready.acquire(timeout=30)
    go.set()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(list((tmp_path / "shard").glob("0001-*.parquet"))) == 1
    again, silent = StepStore(tmp_path, "shard"), Model()
    assert len(again) == 50
    assert StoredScorer(silent, again).score([(3,)]) == [1.0] and silent.asked == []


def _write_until_killed(root: Path, started: Any) -> None:
    def stall(*arguments: Any, **options: Any) -> None:
        Path(arguments[1]).write_bytes(b"PAR1 half a chunk")
        started.set()
        time.sleep(60)

    store = StepStore(root, "shard")
    StoredScorer(Model(), store).score([(1,)])
    store.commit("0001")
    StoredScorer(Model(), store).score([(2,)])
    pq.write_table = stall
    store.commit("0002")


@pytest.mark.fault("writer killed in the middle of a chunk")
def test_a_writer_killed_in_the_middle_of_a_chunk_leaves_the_finished_ones(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    writer = context.Process(target=_write_until_killed, args=(tmp_path, started))
    writer.start()
    assert started.wait(30) and writer.pid is not None
    (leftover,) = (tmp_path / "shard").glob(".*.tmp")
    assert len(StepStore(tmp_path, "shard")) == 1 and leftover.exists()  # the writer lives: its file is not touched
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    store = StepStore(tmp_path, "shard")
    assert len(store) == 1 and [path.name[:5] for path in (tmp_path / "shard").iterdir()] == ["0001-"]
    assert StoredScorer(Model(), store).score([(2,)]) and store.commit("0002") is not None


def test_a_leftover_of_another_host_goes_after_a_day(tmp_path: Path) -> None:
    (tmp_path / "shard").mkdir()
    young, old, own = (
        tmp_path / "shard" / f".{name}@0001.tmp"
        for name in ("1@elsewhere", "2@elsewhere", f"{os.getpid()}@{platform.node()}")
    )
    for file in (young, old, own):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    StepStore(tmp_path, "shard")
    assert young.exists() and own.exists() and not old.exists()


def test_a_chunk_that_cannot_be_written_is_an_error_and_can_be_committed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StepStore(tmp_path, "shard")
    StoredScorer(Model(), store).score([(1,)])

    def full(*arguments: Any, **options: Any) -> None:
        Path(arguments[1]).write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(StoreError, match=r"No space left on device.*make room"):
            store.commit("0001")
    assert list((tmp_path / "shard").iterdir()) == []
    store.commit("0001")
    assert len(StepStore(tmp_path, "shard")) == 1


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError, match=r"folder cannot be made.*correct `results`"):
        StepStore(tmp_path / "results", "shard")


def test_hundred_thousand_records_open_within_a_second_or_two(tmp_path: Path) -> None:
    count = 100_000
    keys = np.random.default_rng(0).bytes(16 * count)
    columns = [
        pa.array([keys[16 * index : 16 * index + 16] for index in range(count)], pa.binary(16)),
        pa.array(["So 3 + 4 = 7.\n\n"] * count),
        pa.array([0] * count, pa.int8()),
        pa.array([[-0.5] * 12] * count, pa.list_(pa.float32())),
        pa.array([None] * count, pa.list_(pa.float32())),
        pa.array([None] * count, pa.float64()),
    ]
    (tmp_path / "shard").mkdir()
    write_chunk(tmp_path / "shard", "0001", pa.Table.from_arrays(columns, schema=SCHEMA))
    began = time.process_time()
    store = StepStore(tmp_path, "shard")
    assert time.process_time() - began < 2.0 and len(store) == count
    assert store.step(keys[-16:]) == GeneratedStep("So 3 + 4 = 7.\n\n", "separator", (-0.5,) * 12)
