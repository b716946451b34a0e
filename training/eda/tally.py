"""Counts rows one by one into everything the report says, at constant memory."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from reviewpulse.categories import category_of
from reviewpulse.forms import review_from_row
from reviewpulse.labels import LABELS, class_of_stars
from reviewpulse.reasons import kind_of
from reviewpulse.records import Review
from reviewpulse.rows import BadRow, Row
from reviewpulse.text import CLEANING_VERSION, LONGEST_TEXT, clean, model_text
from training.eda.groups import CategoryTally, TimeTally, printable
from training.eda.lengths import LengthTally
from training.eda.records import ClassCounts, Count, FileCounts, Markup, Report, StarTitles
from training.eda.repeats import Repeats
from training.eda.words import Vocabulary, words_of
from training.example import text_key
from training.titles import stars_of_title

FIELDS: Final = ("title", "rating", "user_id", "timestamp", "asin", "category")
"""Fields whose absence is reported; a row without text is no review at all."""

_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


class FileTally:
    """The counts of one file."""

    def __init__(self, name: str) -> None:
        self.name = printable(name)
        self.rows = self.reviews = self.unrated = 0
        self.exact_repeats = self.repeated_texts = self.contradictions = 0

    def counts(self) -> FileCounts:
        """Return the counts as they stand."""
        return FileCounts(**vars(self))


class Tally:
    """Everything that is counted: `begin_file`, then `add` for each of its rows, and `report` at the end."""

    def __init__(self, repeats: Repeats, now: datetime) -> None:
        self._now = now.astimezone(UTC)
        self._repeats = repeats
        self._files: list[FileTally] = []
        self._category: str | None = None
        self._rejections: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()
        self._classes: Counter[int] = Counter()
        self._text_classes: Counter[int] = Counter()
        self._tags = self._entities = self._cut_texts = 0
        self._star_titles = self._rated_star_titles = self._telling_titles = 0
        self._time = TimeTally(now)
        self._categories = CategoryTally()
        self._lengths = LengthTally()
        self._vocabulary = Vocabulary()

    def begin_file(self, path: Path) -> None:
        """Count the rows that follow under a file's name; one named after a category gives it to its rows."""
        self._files.append(FileTally(path.name))
        self._category = category_of(path)

    def add(self, row: Row | BadRow) -> None:
        """Count a row of the file that was begun last."""
        self._files[-1].rows += 1
        review = row.reason if isinstance(row, BadRow) else review_from_row(row.fields)
        if isinstance(review, str):
            self._rejections[kind_of(review)] += 1
        else:
            named = msgspec.structs.replace(review, category=review.category or self._category)
            self._add_review(named, self._files[-1])

    def _add_review(self, review: Review, file: FileTally) -> None:
        label = None if review.rating is None else class_of_stars(review.rating)
        file.reviews += 1
        if label is None:
            file.unrated += 1
        else:
            self._classes[label] += 1
        self._missing.update(field for field in FIELDS if getattr(review, field) is None)
        self._add_markup(review)
        self._add_title(clean(review.title or ""), label)
        self._time.add(review, label)
        self._categories.add(review)
        file.exact_repeats += self._repeats.is_repeated(review.review_id or "")
        self._add_text(model_text(review.title or "", review.text), label, file)

    def _add_markup(self, review: Review) -> None:
        title_and_text = f"{(review.title or '')[:LONGEST_TEXT]} {review.text[:LONGEST_TEXT]}"
        self._tags += _TAG.search(title_and_text) is not None
        self._entities += _ENTITY.search(title_and_text) is not None
        self._cut_texts += len(review.text) > LONGEST_TEXT

    def _add_title(self, title: str, label: int | None) -> None:
        stars = stars_of_title(title)
        if stars is not None:
            self._star_titles += 1
            self._rated_star_titles += label is not None
            self._telling_titles += class_of_stars(stars) == label

    def _add_text(self, text: str, label: int | None, file: FileTally) -> None:
        """Count a cleaned text; lengths and words are of its first form alone, as training keeps that one."""
        first = self._repeats.first_text(text_key(text), label)
        if not first.is_new:
            file.repeated_texts += 1
            file.contradictions += None not in (label, first.label) and label != first.label
            return
        words = words_of(text)
        self._lengths.add(len(text), len(words), label)
        if label is not None:
            self._text_classes[label] += 1
            self._vocabulary.add(words, label)

    def report(self) -> Report:
        """Return all that was counted."""
        files = tuple(file.counts() for file in self._files)
        total = _total(files)
        return Report(
            made_at=self._now.isoformat(timespec="seconds"),
            cleaning_version=CLEANING_VERSION,
            total=total,
            files=files,
            rejections=_counts(self._rejections.most_common(), total.rows),
            classes=self._class_counts(),
            missing=_counts(((field, self._missing[field]) for field in FIELDS), total.reviews),
            lengths=self._lengths.lengths(),
            markup=Markup(tags=self._tags, entities=self._entities, cut_texts=self._cut_texts),
            star_titles=StarTitles(
                reviews=self._star_titles, rated=self._rated_star_titles, telling=self._telling_titles
            ),
            future_reviews=self._time.future_reviews,
            years=self._time.years(),
            months=self._time.months(),
            categories=self._categories.categories(total.reviews),
            uncounted_category_reviews=self._categories.uncounted_reviews,
            vocabulary=self._vocabulary.facts(),
            telling_words=self._vocabulary.telling_words(),
        )

    def _class_counts(self) -> tuple[ClassCounts, ...]:
        rated, texts = max(self._classes.total(), 1), max(self._text_classes.total(), 1)
        return tuple(
            ClassCounts(
                label=label,
                reviews=self._classes[index],
                share=round(self._classes[index] / rated, 6),
                texts=self._text_classes[index],
                text_share=round(self._text_classes[index] / texts, 6),
            )
            for index, label in enumerate(LABELS)
        )


def _total(files: Sequence[FileCounts]) -> FileCounts:
    return FileCounts(
        name="all files",
        rows=sum(file.rows for file in files),
        reviews=sum(file.reviews for file in files),
        unrated=sum(file.unrated for file in files),
        exact_repeats=sum(file.exact_repeats for file in files),
        repeated_texts=sum(file.repeated_texts for file in files),
        contradictions=sum(file.contradictions for file in files),
    )


def _counts(named: Iterable[tuple[str, int]], total: int) -> tuple[Count, ...]:
    return tuple(Count(name, count, round(count / max(total, 1), 6)) for name, count in named)
