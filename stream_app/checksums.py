"""Checksums of what both a published record and its row say: equal on every store as long as nothing was changed."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from reviewpulse.labels import LABELS
from reviewpulse.records import ScoredReview, to_milliseconds
from stream_app.topics import LONGEST_REASON

_REPLACED: Final = re.compile("[\0?\ufffd\ud800-\udfff]")
"""What stands in a header or in the store for what they cannot hold, and that itself."""


def digest(value: bytes | None) -> bytes:
    """Return the checksum of a record's value."""
    return hashlib.sha256(value or b"").digest()


def checksum(fields: Sequence[object]) -> bytes:
    """Return the checksum of some fields: 16 bytes; floats count to their last bit, which topics and stores keep.

    >>> checksum((0.1, "a")) == checksum([0.1, "a"]), checksum((0.1, "a")) == checksum((0.1 + 2**-56, "a"))
    (True, False)
    """
    return hashlib.blake2b(repr(tuple(fields)).encode(), digest_size=16).digest()


def prediction_checksum(prediction: ScoredReview) -> bytes:
    """Return the checksum of all of a prediction that its row repeats, in the order of stored.PREDICTED.

    Raises ValueError or OverflowError when a time is without a zone and out of range.
    """
    reviewed_at = prediction.reviewed_at
    return checksum(
        (
            *(prediction.review_id, prediction.rating, prediction.stars, prediction.confidence),
            *(prediction.probabilities.get(label) for label in LABELS),
            *(prediction.model_name, prediction.model_version),
            None if reviewed_at is None else to_milliseconds(reviewed_at),
            to_milliseconds(prediction.scored_at),
        )
    )


def reason_checksum(reason: str) -> bytes:
    """Return the checksum of a rejection's reason, as far as both a header and the store can hold it."""
    return checksum((_REPLACED.sub("?", reason[:LONGEST_REASON]),))
