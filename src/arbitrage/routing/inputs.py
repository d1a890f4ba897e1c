"""What a router reads of a labelled step, by its kind: the ids of a text, or numbers (`speculation.scalars`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from arbitrage.config.router import RouterKind, Variant
from arbitrage.config.study import Study
from arbitrage.engines.factory import router_start
from arbitrage.engines.scoring.step_format import learn, step_input_ids
from arbitrage.io.tables import read_arrow, read_batches
from arbitrage.routing.label_classes import RoutingError
from arbitrage.speculation.scalars import Earlier, Signals, names_of, scalars
from arbitrage.speculation.steps import Author, AuthoredStep

ORDER = ["question_id", "step_index"]
States = Mapping[tuple[str, int], np.ndarray]  # float32 [width], by question id and step index


class Encoding(ABC):
    """From rows of the table `steps` to what a router reads. column: of the table `examples` that holds it."""

    column: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]  # columns of `steps`
    report: dict[str, Any]  # what training has to know of it

    @abstractmethod
    def inputs(self, batch: pa.RecordBatch) -> pa.ListArray:
        """The input of each row. Batches come in the order of `batches`."""

    def batches(self, steps: Path, kept: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The table `steps` by question and step, with the columns that are read and those `kept`.

        As the stage that merges shards leaves it; otherwise sorted in memory.
        """
        columns = list(dict.fromkeys((*self.reads, *kept)))
        last = ("", -1)
        for batch in read_batches(steps, "steps", ORDER):
            keys = list(zip(*(batch.column(name).to_pylist() for name in ORDER), strict=True))
            if [last, *keys] != sorted([last, *keys]):
                table = read_arrow(steps, "steps").select(columns)
                yield from table.sort_by([(name, "ascending") for name in ORDER]).to_batches()
                return
            last = keys[-1]
        yield from read_batches(steps, "steps", columns)


class TextEncoding(Encoding):
    """The draft step in its history, as a classifier will see it (`engines.scoring.step_format`)."""

    column = "input_ids"
    reads = ("problem", "history", "draft_step")

    def __init__(self, tokenizer: Any, separator: str, annotate: bool) -> None:
        """tokenizer: of the checkpoint the router starts from."""
        self._format = (separator, annotate)
        self._tokenizer, self.report = tokenizer, {"separator": separator}

    def inputs(self, batch: pa.RecordBatch) -> pa.ListArray:
        """Ids of each row's text, int32."""
        history = batch.column("history")
        models, texts = (history.flatten().field(name).to_pylist() for name in ("model", "text"))
        step = cache(AuthoredStep)  # a step comes again in the history of every later one
        written = [step(model, text) for model, text in zip(models, texts, strict=True)]
        ends = np.cumsum([0, *history.value_lengths().to_pylist()])
        problems, drafts = batch.column("problem").to_pylist(), batch.column("draft_step").to_pylist()
        draft_steps = [AuthoredStep("draft", text) for text in drafts]
        learn(self._tokenizer, problems, [*written, *draft_steps], *self._format)
        return _lists(
            (
                step_input_ids(self._tokenizer, problem, written[ends[row] : ends[row + 1]], draft, *self._format)
                for row, (problem, draft) in enumerate(zip(problems, draft_steps, strict=True))
            ),
            np.int32,
        )


class ScalarEncoding(Encoding):
    """The scalars of the draft's step, and its hidden state, as a router of their kind will see them."""

    column = "scalars"
    reads = (*ORDER, "history", "draft_logprobs", "draft_entropies", "target_logprobs", "draft_score", "tokens_so_far")

    def __init__(self, kind: RouterKind, steps: Path, states: States | None = None) -> None:
        """steps: of all of them, entropies are among the scalars where every one has them. states: of the kinds that
        read them.

        Raises RoutingError where the target has not read the steps and the kind wants it to.
        """
        missing = {"draft_entropies": 0, "target_logprobs": 0}
        for batch in read_batches(steps, "steps", list(missing)):
            missing = {name: count + batch.column(name).null_count for name, count in missing.items()}
        if kind == "scalars+target" and missing["target_logprobs"]:
            raise RoutingError(
                f"{steps}: {missing['target_logprobs']} steps were labelled without the target reading them, which a "
                f"router of kind {kind} learns from; label them again, with that variant in router.variants"
            )
        self._names = names_of(kind, entropies=not missing["draft_entropies"])
        self._question, self._lowest = "", list[float]()  # under way, and of its steps so far
        self._states = states
        width = len(next(iter(states.values()))) if states else 0
        self.report = {"names": list(self._names), "state_width": width}

    def inputs(self, batch: pa.RecordBatch) -> pa.ListArray:
        """The scalars of each row, then its state, float64."""
        history = batch.column("history")
        authors = pa.ListArray.from_arrays(history.offsets, history.values.field("model")).to_pylist()
        rows = batch.select([name for name in self.reads if name != "history"]).to_pylist()
        return _lists(map(self._scalars, rows, authors), np.float64)

    def _scalars(self, row: dict[str, Any], authors: list[Author]) -> list[float]:
        if row["question_id"] != self._question:
            self._question, self._lowest = row["question_id"], list[float]()
        if len(authors) != len(self._lowest):
            raise RoutingError(
                f"question {self._question}, step {row['step_index']}: {len(authors)} steps before it, and "
                f"{len(self._lowest)} of them labelled; expected all. Run the stage `steps` again"
            )
        earlier = [Earlier(author, lowest) for author, lowest in zip(authors, self._lowest, strict=True)]
        found = scalars(
            row["draft_logprobs"],
            row["draft_entropies"],
            earlier,
            row["tokens_so_far"],
            Signals(row["draft_score"], row["target_logprobs"]),
        )
        self._lowest.append(min(row["draft_logprobs"]))
        state = () if self._states is None else self._states[row["question_id"], row["step_index"]]
        return [*(found[name] for name in self._names), *state]


def encoding(study: Study, variant: Variant, steps: Path, states: Sequence[Path] = ()) -> Encoding:
    """What a router of `variant` reads of the table `steps`. states: the tables of that name, where it reads those.

    Raises EngineError, RoutingError, TableError.
    """
    if variant.kind == "classifier":
        return TextEncoding(router_start(study).tokenizer(), study.generation.separator, variant.annotate)
    return ScalarEncoding(variant.kind, steps, states_of(steps, states) if variant.reads_states else None)


def states_of(steps: Path, tables: Sequence[Path]) -> States:
    """The draft's state after each labelled step, by question and step. tables: `states`, of all shards.

    Raises RoutingError where a step has none, or states are not all of one width; TableError.
    """
    found: dict[tuple[str, int], np.ndarray] = {}
    for batch in (batch for table in tables for batch in read_batches(table, "states")):
        keys = zip(*(batch.column(name).to_pylist() for name in ORDER), strict=True)
        found |= zip(keys, batch.column("state").to_numpy(zero_copy_only=False), strict=True)
    labelled = [
        key
        for batch in read_batches(steps, "steps", ORDER)
        for key in zip(*(batch.column(name).to_pylist() for name in ORDER), strict=True)
    ]
    missing = [key for key in labelled if key not in found]
    if missing:
        question, step = missing[0]
        raise RoutingError(
            f"{len(missing)} labelled steps have no hidden state of the draft (question {question}, step {step} among "
            "them); give the `states` tables of all shards, made from these steps (--states)"
        )
    if len(widths := sorted({len(state) for state in found.values()})) > 1:
        raise RoutingError(
            f"hidden states of {' and '.join(map(str, widths))} numbers; expected one draft's. Give tables of one "
            "pair, or run the stage `states` again"
        )
    return found


def _lists(rows: Iterator[Sequence[float]], dtype: type) -> pa.ListArray:
    arrays: list[np.ndarray] = [np.asarray(row, dtype=dtype) for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in arrays])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, np.concatenate(arrays))
