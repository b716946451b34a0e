"""The reference profile of a checkpoint: what reviews and answers looked like when it was made, to tell drift from."""

from pathlib import Path
from typing import Final, Self

import msgspec
import numpy as np
import numpy.typing as npt

from reviewpulse.decision import Predictions
from reviewpulse.errors import CheckpointError
from reviewpulse.labels import LABELS
from reviewpulse.records import NOT_JSON

PROFILE_FILE: Final = "profile.json"
CONFIDENCE_EDGES: Final = tuple(round(edge, 2) for edge in np.linspace(0, 1, 21).tolist())
LENGTH_EDGES: Final = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 4096, 1_000_000)
"""Tokens of a whole text, before it is cut to what the model reads."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of reviews: each list of shares adds up to 1."""

    reviews: int
    class_shares: list[float]
    """Of the labels given, in label order."""
    confidence_edges: list[float]
    confidence_shares: list[float]
    """Of the labels' probabilities, between the edges."""
    length_edges: list[float]
    length_shares: list[float]
    """Of the texts' lengths in tokens, between the edges."""
    unknown_token_share: float
    """Of all tokens, those that stand for something the vocabulary does not know."""

    @classmethod
    def of(cls, predictions: Predictions, lengths: npt.NDArray[np.int64], unknown_tokens: int) -> Self:
        """Return the profile of some texts: their predictions and lengths (texts,) in tokens, and unknown tokens."""
        confidences = predictions.probabilities[np.arange(len(predictions.classes)), predictions.classes]
        return cls(
            reviews=len(lengths),
            class_shares=_shares(np.bincount(predictions.classes, minlength=len(LABELS))),
            confidence_edges=list(CONFIDENCE_EDGES),
            confidence_shares=_shares(np.histogram(confidences, CONFIDENCE_EDGES)[0]),
            length_edges=[float(edge) for edge in LENGTH_EDGES],
            length_shares=_shares(np.histogram(lengths, LENGTH_EDGES)[0]),
            unknown_token_share=round(unknown_tokens / max(int(lengths.sum()), 1), 6),
        )

    def write(self, folder: Path) -> None:
        """Write profile.json into the folder."""
        (folder / PROFILE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def read_profile(folder: Path) -> Profile:
    """Return a checkpoint folder's profile; raises CheckpointError when it is missing or damaged."""
    path = folder / PROFILE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except OSError as exc:
        raise CheckpointError(f"cannot read {path} ({exc.strerror}); train the checkpoint again") from exc
    except NOT_JSON as exc:
        raise CheckpointError(f"{path} is no profile of this version: {exc}; train the checkpoint again") from exc


def _shares(counts: npt.NDArray[np.int64]) -> list[float]:
    return [round(float(count), 6) for count in counts / max(int(counts.sum()), 1)]
