"""How long texts are, by class: exact counts of every length, of which there are few, since cleaning cuts texts."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from reviewpulse.labels import LABELS
from training.eda.records import Lengths, Spread

_ALL: Final = "all"
_SHARES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


class LengthTally:
    """The lengths of texts in characters and in words."""

    def __init__(self) -> None:
        names = (*LABELS, _ALL)
        self._characters: dict[str, Counter[int]] = {name: Counter() for name in names}
        self._words: dict[str, Counter[int]] = {name: Counter() for name in names}

    def add(self, characters: int, words: int, label: int | None) -> None:
        """Count a text of a class (0 to 4, None for unrated)."""
        for name in (_ALL,) if label is None else (_ALL, LABELS[label]):
            self._characters[name][characters] += 1
            self._words[name][words] += 1

    def lengths(self) -> tuple[Lengths, ...]:
        """Return the lengths of each class, in label order, and of all texts."""
        return tuple(
            Lengths(
                name=name,
                texts=characters.total(),
                characters=spread_of(characters),
                words=spread_of(self._words[name]),
            )
            for name, characters in self._characters.items()
        )


def spread_of(counts: Mapping[int, int]) -> Spread | None:
    """Return how lengths, each with how often it comes, are spread; None when there are none.

    >>> spread_of({10: 3, 20: 1}).median, spread_of({10: 3, 20: 1}).mean
    (10, 12.5)
    """
    if not counts:
        return None
    lengths = np.array(sorted(counts), dtype=np.int64)  # (lengths,)
    how_often = np.array([counts[length] for length in lengths.tolist()], dtype=np.int64)  # (lengths,)
    total, up_to = int(how_often.sum()), how_often.cumsum()
    p05, p25, median, p75, p95 = (int(lengths[np.searchsorted(up_to, share * total)]) for share in _SHARES)
    return Spread(
        mean=round(float(lengths @ how_often) / total, 1),
        shortest=int(lengths[0]),
        p05=p05,
        p25=p25,
        median=median,
        p75=p75,
        p95=p95,
        longest=int(lengths[-1]),
    )
