"""What the router adds to transformers' Trainer: losses, batches, the order of examples, progress lines."""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from arbitrage.routing.label_classes import RoutingError
from arbitrage.runtime.provenance import digest

Example = dict[str, Any]  # input_ids: int array of shape (tokens,); labels: a number, as the loss wants it (`losses`)

LINE_EVERY_S = 5.0
SAVING_SHARE = 0.05  # of the time of training, at most
DISK_BYTES_S = 200e6  # of a checkpoint, until the first was written
POOL_BATCHES = 50  # batches whose examples are sorted by length together


class RightPadding:
    """Make a batch: right padding and its mask. The classifiers of transformers score the last token not padding."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask of shape (examples, longest), labels of shape (examples,)."""
        longest = max(len(example["input_ids"]) for example in examples)
        ids = np.full((len(examples), longest), self.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, example in enumerate(examples):
            length = len(example["input_ids"])
            ids[row, :length] = example["input_ids"]
            mask[row, :length] = 1
        labels = torch.tensor([example["labels"] for example in examples])
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}


class LengthGrouped(Sampler[int]):
    """Batches of examples of like length, in an order that follows from seed and epoch alone.

    Trainer's own sampler draws from the global generator, so a resumed training would see another order; and it goes
    from long to short, while here the batches are shuffled.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch, a resumed one too."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        pool = POOL_BATCHES * self.batch_size
        pools = [
            sorted(order[start : start + pool], key=self.lengths.__getitem__) for start in range(0, len(order), pool)
        ]
        grouped = [index for members in pools for index in members]
        batches = [grouped[start : start + self.batch_size] for start in range(0, len(grouped), self.batch_size)]
        full = (
            len(self.lengths) // self.batch_size
        )  # a smaller batch stays last, or the loader would cut across batches
        for number in [*torch.randperm(full, generator=generator).tolist(), *range(full, len(batches))]:
            yield from batches[number]


class RouterTrainer(Trainer):
    """Trainer with the order of examples of `LengthGrouped`."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        examples: Any = self.train_dataset
        lengths = [len(example["input_ids"]) for example in examples]
        return LengthGrouped(lengths, self.args.train_batch_size, self.args.seed)


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
        self._say(f"{len(kwargs['train_dataloader'].dataset)} examples, {state.max_steps} updates{again}")

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
        self._say(f"update {state.global_step}/{state.max_steps}, epoch {state.epoch:.2f}{loss}, {left:.0f} s left")

    @staticmethod
    def _say(text: str) -> None:
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
        due = since >= state.max_steps / 10 and SAVING_SHARE * elapsed >= self.cost_s
        if due and state.global_step < state.max_steps:
            self.last_update, self.last_time = state.global_step, time.monotonic()
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Remember what it cost."""
        self.cost_s = time.monotonic() - self.last_time


class Sealing(TrainerCallback):
    """Puts a digest beside each checkpoint as the last thing: without it, or with another, none is resumed from."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Seal the checkpoint that was just written."""
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        seal_of(checkpoint).write_text(digest(checkpoint), encoding="utf-8")


def seal_of(checkpoint: Path) -> Path:
    """Where the digest of a checkpoint's files is."""
    return checkpoint.with_name(f".{checkpoint.name}.sha256")
