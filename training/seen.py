"""Which reviews a checkpoint knows: fingerprints of texts and customers, so that an evaluation leaves them out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from reviewpulse.errors import CheckpointError
from training.corpus import Corpus
from training.split import Side

SEEN_FILE: Final = "seen.safetensors"


class Seen(NamedTuple):
    """Eight bytes for each text and each customer, sorted: no review can be read from them."""

    training: npt.NDArray[np.uint64]
    validation: npt.NDArray[np.uint64]

    @classmethod
    def of_corpus(cls, corpus: Corpus) -> Self:
        """Return the fingerprints of the sides that a training looks at."""
        return cls(*(_fingerprints(corpus.seen_keys(side)) for side in (Side.training, Side.validation)))

    def write(self, folder: Path) -> None:
        """Write the fingerprints into the checkpoint folder."""
        save_file(self._asdict(), folder / SEEN_FILE)
        (folder / SEEN_FILE).chmod(0o644)  # written as 0600

    def joined(self, other: Self) -> Self:
        """Return what either of two checkpoints knows."""
        pairs = zip(self, other, strict=True)
        return type(self)(*(np.union1d(mine, theirs).astype(np.uint64) for mine, theirs in pairs))

    def side_of(self, text: bytes, customer: bytes) -> Side:
        """Return where the checkpoint had this text or customer, given by their keys; test when it met neither."""
        prints = {fingerprint(text), fingerprint(customer)}
        if _holds(self.training, prints):
            return Side.training
        return Side.validation if _holds(self.validation, prints) else Side.test


def read_seen(folder: Path) -> Seen:
    """Return a checkpoint's fingerprints; raises CheckpointError when it has none that can be read."""
    try:
        return Seen(**load_file(folder / SEEN_FILE))
    except (OSError, SafetensorError, TypeError) as exc:
        raise CheckpointError(
            f"{folder} does not say which reviews it was trained on ({exc}); train the checkpoint again"
        ) from exc


def fingerprint(key: bytes) -> int:
    """Return eight bytes of a text's or customer's key as a number."""
    return int.from_bytes(key[:8], "big")


def _fingerprints(keys: Iterable[tuple[bytes, bytes]]) -> npt.NDArray[np.uint64]:
    return np.array(sorted({fingerprint(key) for pair in keys for key in pair}), dtype=np.uint64)


def _holds(known: npt.NDArray[np.uint64], prints: set[int]) -> bool:
    return any(
        place < len(known) and int(known[place]) == wanted
        for wanted in prints
        for place in [int(np.searchsorted(known, np.uint64(wanted)))]
    )
