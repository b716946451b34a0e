"""A training's curves, as training_history.json keeps them."""

from pathlib import Path
from typing import Final

import msgspec

from reviewpulse.errors import CheckpointError
from reviewpulse.records import NOT_JSON

HISTORY_FILE: Final = "training_history.json"


class History(msgspec.Struct, frozen=True):
    """What a training saw on its way."""

    losses: list[tuple[float, float]]
    """(step, running mean of the training loss in nats)"""
    epochs: list[dict[str, float]]
    """The validation's figures after each epoch, with `epoch` and `step`."""

    def write(self, folder: Path) -> None:
        """Write training_history.json into the folder."""
        (folder / HISTORY_FILE).write_bytes(msgspec.json.encode(self) + b"\n")


def read_history(folder: Path) -> History | None:
    """Return a checkpoint's history, or None when it has none; raises CheckpointError when it is damaged."""
    path = folder / HISTORY_FILE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=History)
    except NOT_JSON as exc:
        raise CheckpointError(f"{path} is damaged ({exc}); copy the checkpoint anew") from exc
