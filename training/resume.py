"""Snapshots of a run of training: a killed one goes on from the last, to the same result."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from reviewpulse.durable import sync
from reviewpulse.errors import TrainingError

log = logging.getLogger(__name__)

SNAPSHOT_SECONDS: Final = 300.0
SNAPSHOT: Final = "snapshot.pt"
BEST: Final = "best.safetensors"


class Snapshots:
    """Where a run keeps its last state and its best weights: one folder, every file replaced as a whole."""

    def __init__(self, folder: Path, every_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._every_seconds = every_seconds
        self._clock = clock
        self._saved = clock()

    @property
    def is_due(self) -> bool:
        """Whether the last snapshot is old enough."""
        return self._clock() - self._saved >= self._every_seconds

    def save(self, tensors: Mapping[str, Any], position: bytes) -> None:
        """Keep the state. Where the disk has no room training goes on, and says what that means."""
        self._saved = self._clock()
        part = self._folder / f"{SNAPSHOT}.part"
        try:
            torch.save({**tensors, "position": position}, part)
            sync(part)
            part.replace(self._folder / SNAPSHOT)
        except (OSError, RuntimeError) as exc:  # torch's zip writer raises RuntimeError on a full disk
            part.unlink(missing_ok=True)
            log.warning("no snapshot (%s): training goes on, but if killed it goes on from an older one", exc)

    def load(self) -> tuple[dict[str, Any], bytes] | None:
        """Return the last state and position, or None when there is none; no code in the file runs."""
        path = self._folder / SNAPSHOT
        if not path.exists():
            return None
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as exc:  # whatever a damaged archive makes torch raise
            raise TrainingError(f"{path} is damaged ({exc}); remove it to train from the beginning") from exc
        position: bytes = tensors.pop("position")
        return tensors, position

    def keep_best(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep these weights as the best so far; raises TrainingError when the disk has no room."""
        part = self._folder / f"{BEST}.part"
        try:
            save_file({name: tensor.contiguous().clone() for name, tensor in weights.items()}, part)
            sync(part)
            part.replace(self._folder / BEST)
        except (OSError, SafetensorError) as exc:
            part.unlink(missing_ok=True)
            raise TrainingError(
                f"cannot keep the best weights in {self._folder} ({exc}); make room and run the same command again"
            ) from exc

    def best_weights(self) -> dict[str, torch.Tensor]:
        """Return the weights kept last."""
        return load_file(self._folder / BEST)
