"""What the roll-up has to count: all rows that are there and, beyond them, no more than were pruned."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

SHARE_OF_ERROR: Final = 1e-9
"""How far two sums of the same numbers may lie apart, for each one's rounding."""

LEAST_ERROR: Final = 1e-6


class Total(NamedTuple):
    """So many reviews, and the sum of their confidences."""

    reviews: int = 0
    confidence: float = 0.0


class StarsCount(NamedTuple):
    """The reviews with so many stars, in the roll-up and in the rows."""

    stars: int
    counted: Total
    rows: Total

    @property
    def without_row(self) -> int:
        """How many are counted without a row; below 0: rows that are not counted."""
        return self.counted.reviews - self.rows.reviews

    @property
    def is_confidence_possible(self) -> bool:
        """Whether what is counted without a row can have the rest of the confidence, each between 0 and 1."""
        error = LEAST_ERROR + SHARE_OF_ERROR * self.rows.confidence
        return -error <= self.counted.confidence - self.rows.confidence <= self.without_row + error


class Rollup(NamedTuple):
    """The roll-up beside the rows of all sources, in one state of the store."""

    by_stars: Sequence[StarsCount]
    most_pruned: int
    """No more rows than so many were pruned."""

    @property
    def counted(self) -> int:
        """How many reviews the roll-up counts."""
        return sum(one.counted.reviews for one in self.by_stars)

    def faults(self) -> Iterator[str]:
        """Yield what does not add up."""
        without_row = sum(one.without_row for one in self.by_stars)
        if without_row > self.most_pruned:
            pruned = f"of which {self.most_pruned:,} may have been pruned"
            yield f"sentiment_by_second counts {without_row:,} without a row, {pruned}"
        for one in self.by_stars:
            where = f"with {one.stars} stars sentiment_by_second"
            if one.without_row < 0:
                yield f"{where} counts {one.counted.reviews:,}, predictions has {one.rows.reviews:,} rows"
            elif not one.is_confidence_possible:
                sums = f"{one.counted.confidence:.9g}, predictions of {one.rows.confidence:.9g}"
                yield f"{where} has a sum of confidences of {sums}"
