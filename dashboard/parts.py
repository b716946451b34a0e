"""Rows to the words and tables of the page. Review text goes into text nodes only, never into markup."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboard import words
from dashboard.queries import MOST_REJECTED, RATE_SECONDS, Counts, Lag, NewestReview, Snapshot, mean_stars
from dashboard.words import NOTHING
from reviewpulse.labels import COLOURS, LABELS

TITLE_WIDTH = 90
TEXT_WIDTH = 240


def tiles(snapshot: Snapshot | None, window_minutes: float) -> list[Component]:
    """Return the five numbers at the top; without a snapshot each is a dash."""
    window = f"last {words.span(window_minutes)}"
    if snapshot is None:
        values = [NOTHING] * 5
        notes = [window, f"last {RATE_SECONDS} s", "", window, window]
    else:
        mean = mean_stars(snapshot.counts)
        values = [
            NOTHING if mean is None else f"{mean:.2f}",
            words.rate(snapshot.rate_per_second),
            NOTHING if snapshot.lag is None else words.count(snapshot.lag.records),
            words.count(sum(snapshot.counts)),
            _rejected(snapshot.rejected),
        ]
        notes = [window, f"last {RATE_SECONDS} s", _lag_note(snapshot.lag, snapshot.taken_at), window, window]
    names = ["Mean stars", "Reviews a second", "Consumer lag", "Scored", "Rejected"]
    return [_tile(name, value, note) for name, value, note in zip(names, values, notes, strict=True)]


def classes_table(counts: Counts | None) -> Component:
    """Return the five classes with their colour, share and number: the charts' legend, readable without colour."""
    return html.Table(
        [
            html.Thead(
                html.Tr(
                    [html.Th(html.Span("Class", className="unseen"), scope="col"), _number("Share"), _number("Reviews")]
                )
            ),
            html.Tbody([_class_row(index, counts) for index in reversed(range(5))]),
        ]
    )


def newest_table(reviews: Sequence[NewestReview], now: datetime) -> Component:
    """Return the newest reviews, one row each."""
    if not reviews:
        return html.P("No review yet.", className="none")
    columns = ["Class", "Review", "Given", "Age"]
    return html.Table(
        [
            html.Thead(html.Tr([html.Th(column, scope="col") for column in columns])),
            html.Tbody([_review_row(review, now) for review in reviews]),
        ]
    )


def aria(name: str, value: str) -> dict[str, Any]:
    """Return an attribute that says something to a screen reader; its name is no Python name."""
    return {f"aria-{name}": value}


def _tile(name: str, value: str, note: str) -> Component:
    return html.Div(
        [html.Dt(name), html.Dd(value, className="value"), html.Dd(note or "\N{NO-BREAK SPACE}", className="note")]
    )


def _rejected(rejected: int) -> str:
    return words.count(rejected) + ("+" if rejected >= MOST_REJECTED else "")


def _lag_note(lag: Lag | None, now: datetime) -> str:
    if lag is None:
        return ""
    partitions = "1 partition" if lag.partitions == 1 else f"{lag.partitions} partitions"
    return f"{partitions}, {words.age(lag.updated_at, now)} ago"


def _number(heading: str) -> Component:
    return html.Th(heading, scope="col", className="number")


def _class_row(index: int, counts: Counts | None) -> Component:
    reviews = sum(counts) if counts else 0
    share = words.percent(counts[index] / reviews) if counts and reviews else NOTHING
    number = words.count(counts[index]) if counts else NOTHING
    return html.Tr(
        [
            html.Th([_swatch(index), LABELS[index]], scope="row"),
            html.Td(share, className="number"),
            html.Td(number, className="number"),
        ]
    )


def _review_row(review: NewestReview, now: datetime) -> Component:
    index = LABELS.index(review.label)
    given = NOTHING if review.rating is None else f"{words.rating(review.rating)} \N{BLACK STAR}"
    return html.Tr(
        [
            html.Td(
                [
                    html.Span([_swatch(index), review.label], className="class"),
                    html.Span(words.percent(review.confidence), className="confidence"),
                ],
                className="said",
            ),
            html.Td(
                [
                    html.Div(words.cut(review.title or "", TITLE_WIDTH), className="title", dir="auto"),
                    html.Div(words.cut(review.text, TEXT_WIDTH), className="text", dir="auto"),
                ],
                className="review",
            ),
            html.Td(given, className="given"),
            html.Td(words.age(review.scored_at, now), className="age"),
        ]
    )


def _swatch(index: int) -> Component:
    return html.Span(className="swatch", style={"backgroundColor": COLOURS[LABELS[index]]}, **aria("hidden", "true"))
