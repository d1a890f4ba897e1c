"""What the router adds to transformers' Trainer: updates of whole questions, their loss, progress lines.

Of several processes (`processes`) all draw the same updates, and each reads its share of an update's micro batches; the
sum of their gradients is that of one process, up to rounding.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from arbitrage.engines.hf.packed import Tree, batch_of, last_states, passes
from arbitrage.routing.label_classes import RoutingError
from arbitrage.runtime.provenance import digest

LINE_EVERY_S = 5.0
SAVING_SHARE = 0.05  # of the time of training, at most
DISK_BYTES_S = 200e6  # of a checkpoint, until the first was written
POOL_UPDATES = 50  # updates whose rows are sorted by length together


@dataclass(frozen=True, eq=False)
class Judged:
    """Examples in one row, of one question as a rule.

    labels: what the loss reads of each (`losses.targets_of`), in the order of the tree's members. states: what the
    frozen layers give of the tree's ids [ids, hidden], where it is kept (`frozen_layers`).
    """

    tree: Tree
    labels: NDArray[Any]
    states: Tensor | None = None


def micro_batches(rows: Sequence[Judged], columns: int) -> list[dict[str, Tensor]]:
    """What is read in one pass each (`packed.passes`): a `packed.batch_of`, and `labels` (examples,)."""
    batches = []
    for places in passes([row.tree for row in rows], columns):
        together = [rows[place] for place in places]
        batch = batch_of([row.tree for row in together])
        batch["labels"] = torch.from_numpy(np.concatenate([row.labels for row in together]))
        if states := [row.states for row in together if row.states is not None]:
            batch["states"] = pad_sequence(states, batch_first=True)
        batches.append(batch)
    return batches


class Updates(Sampler[list[int]]):
    """The rows of each update, in an order that follows from seed and epoch alone; every row comes once an epoch.

    There are as many updates as `batch_size` examples each would make, as even as whole rows allow, of rows of like
    length, against padding. Trainer's own sampler draws from the global generator, so a resumed training would see
    another order.
    """

    def __init__(self, rows: Sequence[Judged], batch_size: int, seed: int) -> None:
        self.examples = np.array([len(row.labels) for row in rows])
        self.lengths = np.array([len(row.tree) for row in rows])
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def __len__(self) -> int:
        return min(-(-int(self.examples.sum()) // self.batch_size), len(self.examples))

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch, a resumed one too."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        order = torch.randperm(len(self.examples), generator=generator).numpy()
        count = len(self)
        pool = -(-len(order) * POOL_UPDATES // count)
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        order = np.concatenate([members[np.argsort(self.lengths[members], kind="stable")] for members in pools])
        middles = np.cumsum(self.examples[order]) - self.examples[order] / 2
        numbers = np.arange(count + 1)
        cuts = np.searchsorted(middles, numbers * (self.examples.sum() / count))
        cuts = np.maximum.accumulate(cuts - numbers) + numbers  # at least a row each
        cuts = np.minimum(cuts, len(order) - count + numbers)
        updates = [order[first:last].tolist() for first, last in pairwise(cuts)]
        for number in torch.randperm(count, generator=generator).tolist():
            yield updates[number]


def _packed_logits(model: Any, bf16: bool, **batch: Tensor) -> Tensor:
    """The head's logits of each input of a `packed.batch_of` [examples, labels], with `bf16` in bfloat16 autocast."""
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
        logits: Tensor = model.score(last_states(model, batch))
    return logits.float()


class RouterTrainer(Trainer):
    """Trainer whose batch is one update: its examples' mean loss, in micro batches of at most `columns` ids."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor], batch_size: int, columns: int, **options: Any) -> None:
        """loss: summed over examples. batch_size: examples an update, about (`Updates`). options: Trainer's.

        The model reads packed batches from here on: its `forward` is what DistributedDataParallel wraps.
        """
        super().__init__(**options)
        self._loss, self._batch_size, self._columns = loss, batch_size, columns
        model: Any = self.model
        model.forward = partial(_packed_logits, model, self.args.bf16)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """An update at a time, as a list of micro batches."""
        rows: Any = self.train_dataset
        updates = Updates(rows, self._batch_size, self.args.seed)
        loader: DataLoader[Any] = DataLoader(
            rows,
            batch_sampler=updates,
            collate_fn=self.collate,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # One process of one: each reads whole updates, and takes its share of them in `training_step`.
        prepared: DataLoader[Any] = prepare_data_loader(loader, num_processes=1, process_index=0)
        return prepared

    def collate(self, rows: Sequence[Judged]) -> dict[str, Any]:
        """An update's `micro_batches`, as `training_step` takes them."""
        return {"micro_batches": micro_batches(rows, self._columns)}

    def training_step(self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Gradients of the mean loss over all examples of an update; returns that loss, its mean over the processes.

        Each process reads as many micro batches, the last ones for a loss of 0 where there are too few: the others wait
        for its gradients, and with sharded weights in every pass.
        """
        micro = inputs["micro_batches"]
        examples = sum(len(batch["labels"]) for batch in micro)
        rounds = -(-len(micro) // self.args.world_size)
        losses = []
        for number in range(rounds):
            place = number * self.args.world_size + self.args.process_index
            extra = place >= len(micro)
            batch = micro[0 if extra else place]
            count: Any = math.inf if extra else examples
            exchanged = self.is_fsdp_enabled or number == rounds - 1  # sharded gradients are never kept whole
            with nullcontext() if exchanged else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, batch, count))
        return torch.stack(losses).sum()

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """A micro batch's part of the mean loss over `num_items_in_batch` examples, times the number of processes.

        For gradients and losses are averaged over the processes.
        """
        labels = inputs.pop("labels")
        return self._loss(model(**inputs), labels) * (self.args.world_size / num_items_in_batch)


class Progress(TrainerCallback):
    """A line every few seconds: updates done, mean loss since the last line that had one, time left."""

    def __init__(self) -> None:
        self.begun = self.last_line = time.monotonic()
        self.first_update = 0
        self.loss: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; a resumed training starts at a later update."""
        self.begun = self.last_line = time.monotonic()
        self.first_update = state.global_step
        again = f", resumed after {state.global_step}" if state.global_step else ""
        rows = kwargs["train_dataloader"].dataset
        examples = sum(len(row.labels) for row in rows)
        self._say(state, f"{examples} examples in {len(rows)} rows, {state.max_steps} updates{again}")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Remember the latest loss. Raises RoutingError where it is not finite: the training has diverged."""
        self.loss = kwargs["logs"].get("loss", self.loss)
        if self.loss is not None and not math.isfinite(self.loss):
            raise RoutingError(
                f"the loss is {self.loss} at update {state.global_step}; expected a finite number. Lower "
                "router.training.learning_rate, or leave out bf16; if it is so from the start, router.init is damaged"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say where the training is, if nothing was said for a while."""
        now = time.monotonic()
        if now - self.last_line < LINE_EVERY_S and state.global_step < state.max_steps:
            return
        self.last_line = now
        done = state.global_step - self.first_update
        left = (now - self.begun) / done * (state.max_steps - state.global_step)
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        self._say(
            state, f"update {state.global_step}/{state.max_steps}, epoch {state.epoch:.2f}{loss}, {left:.0f} s left"
        )

    @staticmethod
    def _say(state: TrainerState, text: str) -> None:
        if state.is_world_process_zero:
            print(f"router: {text}", file=sys.stderr, flush=True)


class Saving(TrainerCallback):
    """When a checkpoint is written: after a tenth of all updates, but saving takes a twentieth of the time at most.

    So a kill loses a tenth of a long training, and a short one of a large model is not spent on writing checkpoints.
    """

    def __init__(self) -> None:
        self.last_update, self.last_time, self.cost_s = 0, time.monotonic(), 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Guess what the first checkpoint will cost: weights and AdamW's two moments, in float32."""
        self.last_update, self.last_time = state.global_step, time.monotonic()
        self.cost_s = 12 * kwargs["model"].num_parameters() / DISK_BYTES_S

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Have one written where both are due, unless the training is over."""
        since, elapsed = state.global_step - self.last_update, time.monotonic() - self.last_time
        if since < state.max_steps / 10 or state.global_step == state.max_steps:
            return
        (due,) = broadcast_object_list([SAVING_SHARE * elapsed >= self.cost_s])  # clocks differ: the first process's
        if due:
            self.last_update, self.last_time = state.global_step, time.monotonic()
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Remember what it cost."""
        self.cost_s = time.monotonic() - self.last_time


class Sealing(TrainerCallback):
    """Puts a digest beside each checkpoint as the last thing: without it, or with another, none is resumed from."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint that was just written, by all processes."""
        PartialState().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        seal_of(checkpoint).write_text(digest(checkpoint), encoding="utf-8")


def seal_of(checkpoint: Path) -> Path:
    """Where the digest of a checkpoint's files is."""
    return checkpoint.with_name(f".{checkpoint.name}.sha256")
