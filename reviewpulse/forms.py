"""The public forms that reviews come in, told apart by their field names, and how each becomes a Review.

Nothing behind this module sees a dict of fields.
"""

import math
import re
import reprlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Final

import msgspec

from reviewpulse.records import Review, review_from_fields, to_milliseconds

FIRST_MILLISECONDS: Final = 100_000_000_000
"""A smaller time in the 2023 form is in seconds: as ms it would lie before March 1973, when there were no reviews."""

_LISTED_FIELDS: Final = 8  # of an unknown form, in the reason
_SHORT: Final = reprlib.repr
_FAULT: Final = re.compile(r"\$\.(\w+)")


class Form(msgspec.Struct, frozen=True):
    """One public form: the fields that show it, any of which is enough, and where Review's fields are in it."""

    name: str
    marks: tuple[str, ...]
    text: str
    rating: str
    timestamp: str
    others: tuple[tuple[str, str], ...]
    is_in_seconds: bool


FORMS: Final = (
    Form(
        "Amazon Reviews 2023, or plain text",
        marks=("text",),
        text="text",
        rating="rating",
        timestamp="timestamp",
        others=tuple((name, name) for name in ("title", "asin", "parent_asin", "user_id", "category", "review_id")),
        is_in_seconds=False,
    ),
    Form(
        "Amazon Review Data 2014 and 2018",
        marks=("reviewText", "overall"),
        text="reviewText",
        rating="overall",
        timestamp="unixReviewTime",
        others=(("title", "summary"), ("asin", "asin"), ("user_id", "reviewerID"), ("category", "category")),
        is_in_seconds=True,
    ),
    Form(
        "Amazon Customer Reviews",
        marks=("review_body", "star_rating"),
        text="review_body",
        rating="star_rating",
        timestamp="review_date",
        others=(
            ("title", "review_headline"),
            ("asin", "product_id"),
            ("parent_asin", "product_parent"),
            ("user_id", "customer_id"),
            ("category", "product_category"),
            ("review_id", "review_id"),
        ),
        is_in_seconds=False,
    ),
    Form(
        "Amazon Fine Food Reviews",
        marks=("Score",),
        text="Text",
        rating="Score",
        timestamp="Time",
        others=(("title", "Summary"), ("asin", "ProductId"), ("user_id", "UserId")),
        is_in_seconds=True,
    ),
)


def review_from_row(fields: Mapping[str, object], category: str | None = None) -> Review | str:
    """Return the review that a row holds, or a reason, fit for a user to read, why it holds none.

    category is for rows that carry none, like those of the 2023 files, which are named after it.
    None, "" and NaN count as missing. A time may be a number, a number in text, a date or datetime
    (UTC unless it says otherwise) or an ISO date; the form decides whether a number is ms or seconds.
    """
    form = next((form for form in FORMS if any(mark in fields for mark in form.marks)), None)
    if form is None:
        return _unknown_form(fields)
    try:
        named = _named(form, fields)
    except ValueError as exc:
        return str(exc)
    named["category"] = named.get("category") or category
    review = review_from_fields(named)
    return _readable(review, named) if isinstance(review, str) else review


def _named(form: Form, fields: Mapping[str, object]) -> dict[str, object]:
    """Return a row's values in Review's names and types; raises ValueError with a reason for the user."""
    named: dict[str, object] = {name: as_text(fields.get(source)) for name, source in form.others}
    text, rating, moment = fields.get(form.text), fields.get(form.rating), fields.get(form.timestamp)
    named["text"] = as_text(text)
    if named["text"] is None:
        raise ValueError("no text")
    try:
        named["rating"] = as_number(rating)
    except ValueError as exc:
        raise ValueError(f"rating {_SHORT(rating)} is not a number") from exc
    try:
        named["timestamp"] = as_milliseconds(moment, is_in_seconds=form.is_in_seconds)
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"time {_SHORT(moment)} is neither a number nor an ISO date") from exc
    return named


def as_text(value: object) -> str | None:
    """Return a cell as text, None when it is missing; raises ValueError for a list or an object.

    >>> as_text("loud"), as_text(10.0), as_text(float("nan")), as_text("")
    ('loud', '10', None, None)
    """
    if isinstance(value, str):
        return None if not value or value.isspace() else value
    if is_missing(value):
        return None
    if isinstance(value, list | dict):
        raise ValueError(f"{_SHORT(value)} stands where text should be")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def as_number(value: object) -> float | None:
    """Return a cell as a number, None when it is missing; raises ValueError when it is none.

    >>> as_number("4.0"), as_number(5), as_number(" "), as_number(None)
    (4.0, 5.0, None, None)
    """
    if is_missing(value):
        return None
    number = float(str(value))
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def as_milliseconds(value: object, *, is_in_seconds: bool) -> int | None:
    """Return a cell as ms since 1970 UTC, None when it is missing; raises ValueError when it is no time.

    Below FIRST_MILLISECONDS a number is taken for seconds whatever the form says.

    >>> as_milliseconds("2015-08-31", is_in_seconds=False), as_milliseconds(1440979200, is_in_seconds=True)
    (1440979200000, 1440979200000)
    """
    if is_missing(value):
        return None
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    else:
        try:
            number = value if type(value) is int else float(str(value))
        except ValueError:
            moment = datetime.fromisoformat(str(value).strip())
        else:
            return round(number * 1000) if is_in_seconds or number < FIRST_MILLISECONDS else round(number)
    return to_milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def is_missing(value: object) -> bool:
    """Return whether a cell holds nothing: None, blank text, NaN or NaT.

    >>> is_missing(float("nan")), is_missing(" "), is_missing(0)
    (True, True, False)
    """
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _unknown_form(fields: Mapping[str, object]) -> str:
    """Return the reason for fields that are of no known form."""
    found = ", ".join(list(fields)[:_LISTED_FIELDS]) or "nothing"
    known = "; ".join(f"{form.name} ({form.text}, {form.rating})" for form in FORMS)
    return f"unknown form with {found}; known are {known}"


def _readable(reason: str, named: Mapping[str, object]) -> str:
    """Return a validator's reason in words that name the value and what it should be."""
    fault = _FAULT.search(reason)
    if fault and fault[1] == "rating":
        return f"rating {named['rating']:g} is not 1 to 5"
    if fault and fault[1] == "timestamp":
        return f"time {named['timestamp']} ms is not from 1970 to 9999"
    return reason
