"""What an engineer should notice in an exploration, in plain English."""

from collections.abc import Callable
from itertools import chain
from typing import Final

from training.eda.records import Period, Report

FEW_OF_A_CLASS: Final = 100
"""Texts of a class below which its validation and test shares (8% and 10%) hold a handful."""

FEW_OF_A_YEAR: Final = 100
"""Rated reviews below which a year's mean stars move by 0.1 and more by chance."""


def summary(report: Report) -> tuple[str, ...]:
    """Return the findings, one or two sentences each; no sentence holds anything that a row said."""
    return tuple(chain.from_iterable(find(report) for find in _FINDINGS))


def _size(report: Report) -> list[str]:
    total, files = report.total, len(report.files)
    said = [f"{total.reviews:,} {_of('review', total.reviews)} in {files:,} {_of('file', files)}."]
    if total.rejected:
        share = shown_share(total.rejected / total.rows)
        said.append(
            f"Rows that are no review: {total.rejected:,} of {total.rows:,} ({share}), most often for: "
            f"{report.rejections[0].name}. They are passed over."
        )
    if total.unrated:
        said.append(
            f"Reviews without a rating: {total.unrated:,} ({shown_share(total.unrated / total.reviews)}). No class can "
            "be learned from them."
        )
    return said


def _imbalance(report: Report) -> list[str]:
    if not any(row.reviews for row in report.classes):
        return []
    largest = max(report.classes, key=lambda row: row.reviews)
    rarest = min((row for row in report.classes if row.reviews), key=lambda row: row.reviews)
    said = [f"There is no '{row.label}' review at all." for row in report.classes if not row.reviews]
    if rarest is not largest:
        said.append(
            f"'{largest.label}' is {largest.reviews / rarest.reviews:,.1f} times as frequent as '{rarest.label}'. "
            f"Always answering '{largest.label}' would be right for {shown_share(largest.share)} of the rated reviews: "
            "judge a model by macro-F1, not by accuracy."
        )
    return said + [
        f"Different texts that are '{row.label}': {row.texts:,}. So few make figures for this class shaky."
        for row in report.classes
        if row.reviews and row.texts < FEW_OF_A_CLASS
    ]


def _repeats(report: Report) -> list[str]:
    total = report.total
    if not total.repeated_texts and not total.exact_repeats:
        return ["No review comes twice."]
    said = (
        f"Reviews that repeat an earlier text: {total.repeated_texts:,} "
        f"({shown_share(total.repeated_texts / total.reviews)}); reviews that are exact repeats: "
        f"{total.exact_repeats:,}. Training keeps each text once."
    )
    if total.contradictions:
        said += f" Repeated texts with another class than the first: {total.contradictions:,}."
    return [said]


def _star_titles(report: Report) -> list[str]:
    titles = report.star_titles
    if not titles.reviews:
        return []
    of_all, right = (titles.reviews / report.total.reviews, titles.telling / max(titles.rated, 1))
    return [
        f"Reviews whose title says nothing but the stars, such as 'Five Stars': {titles.reviews:,} "
        f"({shown_share(of_all)}); in {shown_share(right)} of the rated ones it gives the class away. "
        "A model reads it there: `evaluate` shows the figures without them as well."
    ]


def _gaps(report: Report) -> list[str]:
    consequences = (
        ("timestamp", "a date", "They cannot be held out as the newest ones."),
        ("user_id", "a customer", "The split cannot keep together what one person wrote."),
    )
    missing = {row.name: row for row in report.missing}
    said = [
        f"Reviews without {what}: {missing[field].count:,} ({shown_share(missing[field].share)}). {consequence}"
        for field, what, consequence in consequences
        if missing[field].count
    ]
    if report.future_reviews:
        said.append(f"Reviews dated later than this report: {report.future_reviews:,}. Check the clock they came from.")
    return said


def _lengths(report: Report) -> list[str]:
    words, markup = report.lengths[-1].words, report.markup
    said = []
    if words:
        said.append(
            f"Half of the texts have at most {words.median:,} words, 95% at most {words.p95:,}. A word is one token or "
            "more; a model reads the first --max-tokens of them."
        )
    if markup.tags or markup.entities:
        tags, entities = (shown_share(count / report.total.reviews) for count in (markup.tags, markup.entities))
        said.append(f"HTML tags stand in {tags} of the reviews, HTML entities in {entities}; cleaning resolves them.")
    return said


def _drift(report: Report) -> list[str]:
    years = [year for year in report.years if sum(year.class_counts) >= FEW_OF_A_YEAR and year.mean_rating]
    if len(years) < 2:
        return []
    lowest, highest = min(years, key=_stars), max(years, key=_stars)
    return [
        f"Mean stars lie between {_stars(lowest):.2f} ({lowest.name}) and {_stars(highest):.2f} ({highest.name}), "
        f"in years with at least {FEW_OF_A_YEAR} rated reviews."
    ]


def shown_share(share: float) -> str:
    """Return a share (0 to 1) in percent, one that is not 0 never as 0.

    >>> shown_share(0.1234), shown_share(0.0001), shown_share(0)
    ('12.3%', '<0.1%', '0.0%')
    """
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _of(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _stars(year: Period) -> float:
    return year.mean_rating or 0.0


_FINDINGS: Final[tuple[Callable[[Report], list[str]], ...]] = (
    _size,
    _imbalance,
    _repeats,
    _star_titles,
    _gaps,
    _lengths,
    _drift,
)
