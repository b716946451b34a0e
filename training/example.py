"""One review as training sees it, and when two of them are the same text or by the same customer."""

import hashlib
import re
from typing import Final, NamedTuple

from reviewpulse.records import Review
from reviewpulse.text import model_text

OWN_TEXT_CHARACTERS: Final = 50
"""A body with so many letters and digits is taken for the same review whatever its title says."""

_NOT_ALPHANUMERIC: Final = re.compile(r"[\W_]+")


class Example(NamedTuple):
    """One review as training sees it."""

    text: str
    rating: float | None
    user_id: str | None
    timestamp: int | None
    category: str | None
    is_train_only: bool = False


def example_of(review: Review, *, is_train_only: bool = False, is_labelled: bool = True) -> Example:
    """Return the review's example; its rating is left out unless it is labelled."""
    text = model_text(review.title or "", review.text)
    rating = review.rating if is_labelled else None
    return Example(text, rating, review.user_id, review.timestamp, review.category, is_train_only)


def text_key(title_and_text: str) -> bytes:
    """Return 16 bytes that are the same for texts that differ only in case, spaces, punctuation or a title.

    >>> text_key("Loud | Good, but loud!") == text_key("loud good but LOUD")
    True
    """
    body = _NOT_ALPHANUMERIC.sub("", title_and_text.partition(" | ")[2].casefold())
    whole = body if len(body) >= OWN_TEXT_CHARACTERS else _NOT_ALPHANUMERIC.sub("", title_and_text.casefold())
    return hashlib.blake2b((whole or title_and_text).encode(), digest_size=16).digest()


def customer_key(example: Example) -> bytes:
    """Return 16 bytes for the customer; an example without one is a customer of its own."""
    if example.user_id is None:
        return text_key(example.text)
    return hashlib.blake2b(example.user_id.encode(), digest_size=16, person=b"customer").digest()
