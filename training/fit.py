"""Fine-tuning: length-bucketed batches, AdamW, warm-up and linear decay, the best epoch kept, resumable."""

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from reviewpulse.classifier import compute_dtype, pad
from training.objectives import Imbalance, Objective
from training.resume import Snapshots
from training.tokens import Tokens

log = logging.getLogger(__name__)

BUCKET_BATCHES = 50
"""Batches whose rows are sorted by length together: enough that a batch is hardly padded, few enough to stay random."""

HISTORY_STEPS = 20
"""Steps between two points of the loss curve."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How to fine-tune."""

    epochs: int = 2
    batch_rows: int = 32
    micro_rows: int = 0
    """Rows of one forward pass, whose gradients add up to the batch's; 0 for the whole batch."""
    learning_rate: float = 6e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    clip_norm: float = 1.0
    patience: int = 2
    """Epochs without a better validation that end training early; 0 for never."""
    imbalance: Imbalance = Imbalance.logit_adjustment
    teacher_weight: float = 0.7
    """The teacher's part of the loss of a labelled row; an unlabelled one has no other."""
    teacher_temperature: float = 2.0
    seed: int = 0


class Examples(NamedTuple):
    """What fitting reads, in step: one row a review."""

    tokens: Tokens
    classes: npt.NDArray[np.int64]
    """(rows,); -1 where there is no class."""
    teacher_logits: npt.NDArray[np.float32] | None = None
    """(rows, labels)"""


class Step(NamedTuple):
    """Where fitting stands after a step; loss is in nats, a running mean."""

    number: int
    total: int
    loss: float
    epoch: int
    rows: int
    """Reviews of this step."""


class Position(msgspec.Struct):
    """How far fitting is, and what it has seen: what a snapshot keeps beside the tensors."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    running_loss: float = 0.0
    best_quality: float = -1.0
    epochs_without_gain: int = 0
    micro_rows: int = 0
    losses: list[tuple[int, float]] = []
    """(step, running loss) every HISTORY_STEPS."""
    epochs: list[dict[str, float]] = []
    """The validation's metrics after each epoch."""


class Fitting:
    """One run of fine-tuning on a model, in place.

    evaluate returns the validation's metrics, of which `quality` chooses the epoch. The same
    recipe, examples and number of threads give the same weights, also when a killed run goes on
    from its snapshot.
    """

    def __init__(
        self, model: PreTrainedModel, examples: Examples, objective: Objective, recipe: Recipe, snapshots: Snapshots
    ) -> None:
        self._model = model
        self._examples = examples
        self._objective = objective
        self._recipe = recipe
        self._snapshots = snapshots
        self._position = Position(micro_rows=recipe.micro_rows or recipe.batch_rows)
        self._steps = recipe.epochs * -(-len(examples.tokens) // recipe.batch_rows)
        self._optimizer = _optimizer(model, recipe)
        warmup_steps = round(self._steps * recipe.warmup_share)
        self._schedule = get_linear_schedule_with_warmup(self._optimizer, warmup_steps, self._steps)

    def run(self, evaluate: Callable[[PreTrainedModel], dict[str, float]], on_step: Callable[[Step], None]) -> Position:
        """Train to the end, leave the model at its best epoch, and return what was seen on the way."""
        self._restore()
        while self._position.epoch < self._recipe.epochs and not self._has_stalled():
            self._train_epoch(on_step)
            self._model.eval()
            metrics = evaluate(self._model)
            self._note_epoch(metrics)
            self._save()
        self._model.load_state_dict(self._snapshots.best_weights())
        self._model.eval()
        return self._position

    def _train_epoch(self, on_step: Callable[[Step], None]) -> None:
        self._model.train()
        position = self._position
        batches = epoch_batches(self._examples, self._recipe, position.epoch)
        for rows in batches[position.batch :]:
            loss = self._step(rows)
            position.batch += 1
            position.step += 1
            position.running_loss = loss if position.step == 1 else 0.98 * position.running_loss + 0.02 * loss
            if position.step % HISTORY_STEPS == 0:
                position.losses.append((position.step, round(position.running_loss, 4)))
            on_step(Step(position.step, self._steps, position.running_loss, position.epoch + 1, len(rows)))
            if self._snapshots.is_due:
                self._save()
        position.epoch += 1
        position.batch = 0

    def _step(self, rows: Sequence[int]) -> float:
        """Make one step of the optimizer and return its loss; a batch that memory cannot hold is halved."""
        while True:
            try:
                loss = self._add_gradients(rows)
                break
            except (torch.OutOfMemoryError, RuntimeError) as exc:
                if not _is_out_of_memory(exc) or self._position.micro_rows == 1:
                    raise
            self._optimizer.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._position.micro_rows = -(-self._position.micro_rows // 2)
            log.warning("out of memory: going on with %d rows at a time", self._position.micro_rows)
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.clip_norm)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()
        return loss

    def _add_gradients(self, rows: Sequence[int]) -> float:
        total = 0.0
        for start in range(0, len(rows), self._position.micro_rows):
            part = rows[start : start + self._position.micro_rows]
            loss = self._losses(part).sum() / len(rows)
            loss.backward()
            total += float(loss.detach())
        return total

    def _losses(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the loss of each row: (rows,)."""
        device, examples = self._model.device, self._examples
        inputs = {name: tensor.to(device) for name, tensor in pad([examples.tokens[row] for row in rows]).items()}
        classes = torch.from_numpy(examples.classes[rows]).to(device)  # (rows,)
        teacher = None
        if examples.teacher_logits is not None:
            teacher = torch.from_numpy(examples.teacher_logits[rows]).to(device)  # (rows, labels)
        with autocast(device):
            logits = self._model(**inputs).logits  # (rows, outputs)
        return self._objective.losses(logits.float(), classes, teacher)

    def _note_epoch(self, metrics: dict[str, float]) -> None:
        position = self._position
        position.epochs.append({"epoch": position.epoch, "step": position.step} | metrics)
        if metrics["quality"] > position.best_quality:
            position.best_quality, position.epochs_without_gain = metrics["quality"], 0
            self._snapshots.keep_best(self._model.state_dict())
        else:
            position.epochs_without_gain += 1

    def _has_stalled(self) -> bool:
        return 0 < self._recipe.patience <= self._position.epochs_without_gain

    def _save(self) -> None:
        tensors = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        self._snapshots.save(tensors, msgspec.json.encode(self._position))

    def _restore(self) -> None:
        if (snapshot := self._snapshots.load()) is None:
            return
        tensors, position = snapshot
        self._position = msgspec.json.decode(position, type=Position)
        self._model.load_state_dict(tensors["model"])
        self._optimizer.load_state_dict(tensors["optimizer"])
        self._schedule.load_state_dict(tensors["schedule"])
        torch.set_rng_state(tensors["random"])
        if tensors["random_cuda"]:
            torch.cuda.set_rng_state_all(tensors["random_cuda"])
        log.info("going on from step %d of %d", self._position.step, self._steps)


def autocast(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context that computes in bfloat16 where the device multiplies in it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype(device.type) == torch.bfloat16)


def epoch_batches(examples: Examples, recipe: Recipe, epoch: int) -> list[list[int]]:
    """Return the row indices of an epoch's batches: always the same ones for a seed and an epoch.

    Each row comes once, except with the weighted sampler: it draws as many rows with replacement,
    every class equally often.
    """
    shuffler = random.Random(f"{recipe.seed}/{epoch}")  # noqa: S311  # for batches, not for secrets
    rows = list(range(len(examples.tokens)))
    if recipe.imbalance is Imbalance.sampler:
        counts = np.bincount(examples.classes, minlength=1)
        rows = shuffler.choices(rows, weights=(1 / counts[examples.classes]).tolist(), k=len(rows))
    return list(bucketed_batches(rows, examples.tokens.lengths, recipe.batch_rows, shuffler))


def bucketed_batches(
    rows: Sequence[int], lengths: Sequence[int] | npt.NDArray[np.int64], batch_rows: int, shuffler: random.Random
) -> Iterator[list[int]]:
    """Yield the row indices in batches of rows alike in length, in random order.

    >>> sorted(sum(bucketed_batches([0, 1, 2, 3], [5, 1, 9, 2], 2, random.Random(0)), []))
    [0, 1, 2, 3]
    """
    rows = list(rows)
    shuffler.shuffle(rows)
    span = batch_rows * BUCKET_BATCHES
    batches = []
    for start in range(0, len(rows), span):
        bucket = sorted(rows[start : start + span], key=lengths.__getitem__)
        batches += [bucket[at : at + batch_rows] for at in range(0, len(bucket), batch_rows)]
    shuffler.shuffle(batches)
    yield from batches


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over what is trained; it decays matrices but neither biases nor layer norms."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in trained if weight.ndim > 1]
    others = [weight for weight in trained if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
