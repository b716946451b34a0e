"""Fine-tuning: AdamW, warm-up and linear decay, the best epoch kept, resumable."""

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import torch
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from reviewpulse.classifier import compute_dtype, is_out_of_memory, pad
from reviewpulse.errors import TrainingError
from training.batches import Examples, epoch_batches
from training.objectives import Objective
from training.recipe import Recipe
from training.resume import Snapshots

log = logging.getLogger(__name__)

HISTORY_STEPS = 20
"""Steps between two points of the loss curve."""


_NO_MEMORY = "memory does not hold {} of this model; take a smaller --base, or --upper-layers"


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
    recipe, examples and number of CPU threads give the same weights, also when a killed run goes on
    from its snapshot; on a GPU the last bits may differ.
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
            except RuntimeError as exc:
                if not is_out_of_memory(exc):
                    raise
                if self._position.micro_rows == 1:
                    raise TrainingError(_NO_MEMORY.format("one review")) from exc
            self._optimizer.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._position.micro_rows = -(-self._position.micro_rows // 2)
            log.warning("out of memory: going on with %d rows at a time", self._position.micro_rows)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self._position.step + 1}: the training diverged; "
                "remove the .training folder and take a smaller --learning-rate"
            )
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._recipe.clip_norm)
        self._take_step()
        self._schedule.step()
        self._optimizer.zero_grad()
        return loss

    def _take_step(self) -> None:
        try:
            self._optimizer.step()
        except RuntimeError as exc:
            if is_out_of_memory(exc):
                raise TrainingError(_NO_MEMORY.format("the optimizer's state")) from exc
            raise

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


def _optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW over what is trained; it decays matrices but neither biases nor layer norms."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in trained if weight.ndim > 1]
    others = [weight for weight in trained if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
