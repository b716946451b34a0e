"""Reviews and their stars by month, by year and by category."""

from collections import Counter, defaultdict
from datetime import datetime
from typing import Final

from reviewpulse.labels import LABELS
from reviewpulse.records import Review, to_milliseconds
from training.eda.records import Category, Period

MOST_CATEGORIES: Final = 10_000
"""Different categories that are counted: a file that has more keeps something else in that field."""

_LONGEST_NAME: Final = 100  # characters of a category
_MONTH_LETTERS: Final = len("2019-05")
_YEAR_LETTERS: Final = len("2019")


class TimeTally:
    """Dated reviews by month, UTC; the years 1970 to 9999 that a review can carry bound the memory."""

    def __init__(self, now: datetime) -> None:
        self._now_milliseconds = to_milliseconds(now)
        self._counts: dict[str, Counter[int | None]] = defaultdict(Counter)
        self._stars: dict[str, float] = defaultdict(float)
        self.future_reviews = 0

    def add(self, review: Review, label: int | None) -> None:
        """Count a review of a class (0 to 4, None for unrated); one without a time is passed over."""
        moment = review.reviewed_at
        if moment is None or review.timestamp is None:
            return
        month = f"{moment.year:04}-{moment.month:02}"
        self._counts[month][label] += 1
        self._stars[month] += review.rating or 0
        self.future_reviews += review.timestamp > self._now_milliseconds

    def months(self) -> tuple[Period, ...]:
        """Return the months that have reviews, in order."""
        return self._periods(_MONTH_LETTERS)

    def years(self) -> tuple[Period, ...]:
        """Return the years that have reviews, in order."""
        return self._periods(_YEAR_LETTERS)

    def _periods(self, letters: int) -> tuple[Period, ...]:
        counts: dict[str, Counter[int | None]] = defaultdict(Counter)
        stars: dict[str, float] = defaultdict(float)
        for month in sorted(self._counts):
            counts[month[:letters]].update(self._counts[month])
            stars[month[:letters]] += self._stars[month]
        return tuple(_period(name, counter, stars[name]) for name, counter in counts.items())


def _period(name: str, counts: Counter[int | None], stars: float) -> Period:
    by_class = tuple(counts[index] for index in range(len(LABELS)))
    return Period(
        name=name,
        reviews=counts.total(),
        class_counts=by_class,
        mean_rating=_mean(stars, sum(by_class)),
    )


class CategoryTally:
    """Reviews by category, the first most_categories different ones."""

    def __init__(self, most_categories: int = MOST_CATEGORIES) -> None:
        self._most_categories = most_categories
        self._reviews: Counter[str] = Counter()
        self._rated: Counter[str] = Counter()
        self._stars: dict[str, float] = defaultdict(float)
        self.uncounted_reviews = 0

    def add(self, review: Review) -> None:
        """Count a review; one without a category is passed over."""
        if review.category is None:
            return
        name = printable(review.category)[:_LONGEST_NAME]
        if name not in self._reviews and len(self._reviews) >= self._most_categories:
            self.uncounted_reviews += 1
            return
        self._reviews[name] += 1
        if review.rating is not None:
            self._rated[name] += 1
            self._stars[name] += review.rating

    def categories(self, all_reviews: int) -> tuple[Category, ...]:
        """Return the categories, the largest first."""
        return tuple(
            Category(
                name=name,
                reviews=reviews,
                share=round(reviews / all_reviews, 6),
                mean_rating=_mean(self._stars[name], self._rated[name]),
            )
            for name, reviews in sorted(self._reviews.items(), key=lambda item: (-item[1], item[0]))
        )


def printable(name: str) -> str:
    """Return a name without line ends, control characters and half characters, which nothing should print.

    >>> printable("toys\\x1b[31m\\n and games")
    'toys [31m and games'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())


def _mean(stars: float, rated: int) -> float | None:
    return round(stars / rated, 3) if rated else None
