"""What to train: every option of a training in one value, which the card keeps."""

import msgspec

from training.base import PACKAGED_BASE
from training.calibration import Calibration
from training.recipe import Recipe
from training.split import SplitPlan


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to train and what to call it."""

    name: str
    base: str = PACKAGED_BASE
    layers: tuple[int, ...] = ()
    """Which of the base's layers to keep; empty for all."""
    upper_layers: int = 0
    """How many of them to train, from the top; 0 for all, with the word vectors."""
    vocabulary: int = 0
    """How many word pieces to keep; 0 for all."""
    neurons: int = 0
    """How many feed-forward neurons a layer keeps; 0 for all."""
    max_tokens: int = 128
    teacher: str | None = None
    """Name or folder of the checkpoint to learn from."""
    train_only: tuple[str, ...] = ()
    """More values of a row's field `source` whose rows are for training only; evaluations keep to it."""
    calibration: Calibration = Calibration.bias_corrected
    """Where a card names none it was this; `train` and `compare` take entropy-based unless told otherwise."""
    split: SplitPlan = SplitPlan()
    recipe: Recipe = Recipe()
