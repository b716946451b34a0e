"""The kinds of the reasons why a row is no review, so that they can be counted."""

import re
from typing import Final

# What a reason quotes from its row is left out: it may be anything, and each row would be a reason of its own.
_REASONS: Final = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (r"no text", "no text"),
        (r"rating .* is not a number", "rating is not a number"),
        (r"rating \S+ is not 1 to 5", "rating is not 1 to 5"),
        (r"time .* is neither a number nor an ISO date", "time is neither a number nor an ISO date"),
        (r"time \S+ ms is not from 1970 to 9999", "time is not from 1970 to 9999"),
        (r".* stands where text should be", "a list or an object stands where text should be"),
        (r"unknown form with .*", "fields of no known form"),
        (r"not UTF-8", "not UTF-8"),
        (r"not a JSON object: .*", "not a JSON object"),
        (r"longer than .* bytes", "line too long"),
        (r"\d+ columns where the header has \d+", "more or fewer columns than the header"),
        (r".*a quote that is never closed.*", "a quote that is never closed"),
    )
)


def kind_of(reason: str) -> str:
    """Return the kind of a reason why a row is no review, without what it quotes from the row.

    >>> kind_of("rating 'five' is not a number"), kind_of("something new")
    ('rating is not a number', 'another fault')
    """
    return next((kind for pattern, kind in _REASONS if pattern.fullmatch(reason)), "another fault")
