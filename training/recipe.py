"""How to fine-tune: the options of a fit in one value."""

import msgspec

from training.objectives import Imbalance


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
