"""Labelled reviews for training: read once, deduplicated, and split so that nothing leaks."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from reviewpulse.labels import class_of_stars
from reviewpulse.records import Review
from reviewpulse.text import model_text


class Examples(NamedTuple):
    """Texts as the model reads them and their class indices, in step."""

    texts: list[str]
    classes: list[int]


class Corpus(NamedTuple):
    """Training and validation examples: no customer and no text stands in both."""

    training: Examples
    validation: Examples
    sha256: str
    """Of all texts and classes in the order read."""


def build_corpus(reviews: Iterable[Review], *, validation_share: float, seed: int) -> Corpus:
    """Return the rated reviews, each text once, split by customer.

    A customer's reviews all fall on one side, chosen by a hash of the seed and the user_id; a
    review without one falls by its text. A review without a rating is left out.
    """
    training, validation = Examples([], []), Examples([], [])
    seen: set[bytes] = set()
    digest = hashlib.sha256()
    for review in reviews:
        if review.rating is None:
            continue
        text = model_text(review.title or "", review.text)
        key = hashlib.blake2b(text.lower().encode(), digest_size=16).digest()
        if key in seen:
            continue
        seen.add(key)
        label = class_of_stars(review.rating)
        side = validation if _share(f"{seed}/{review.user_id or text.lower()}") < validation_share else training
        side.texts.append(text)
        side.classes.append(label)
        digest.update(f"{label}\t{text}\n".encode())
    return Corpus(training, validation, digest.hexdigest())


def _share(key: str) -> float:
    """Return a number from 0 to 1 that depends on the key alone."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
