"""What travels on the topics: each record spelled once, with its own codec. See docs/contracts.md."""

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec

from reviewpulse.labels import LABELS, Label, stars_of_label
from reviewpulse.text import has_text

LATEST_TIMESTAMP: Final = 253_402_300_799_000
"""The last second of the year 9999, in ms UTC: the latest time that Python's datetime holds."""

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON from somewhere may raise: not JSON or not as asked for, not UTF-8, nested too deeply."""

_EVENTS: Final = uuid.UUID("6f3c0f6e-6f0b-5c1e-9d56-8d2f3c9a7b11")

LONGEST_ID: Final = 512
"""Characters of a review_id, which is the key of the prediction, and of the other names: both must stay small."""

LONGEST_TEXT: Final = 100_000
"""Characters of a text or title, unless the settings say otherwise."""

LEAST_TEXT_LIMIT: Final = 1_000
"""A shorter limit for texts would cut what the model reads."""

Rating = Annotated[float, msgspec.Meta(ge=1, le=5)]
Timestamp = Annotated[int, msgspec.Meta(ge=0, le=LATEST_TIMESTAMP)]
Name = Annotated[str, msgspec.Meta(max_length=LONGEST_ID)]
Probabilities = tuple[float, float, float, float, float]


class Review(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One product review, in the names of Amazon Reviews 2023; only `text` is required."""

    text: str
    review_id: Name | None = None
    title: str | None = None
    rating: Rating | None = None
    asin: Name | None = None
    parent_asin: Name | None = None
    user_id: Name | None = None
    timestamp: Timestamp | None = None
    category: Name | None = None
    schema_version: Literal[1] | None = None

    def encode(self) -> bytes:
        """Return the value for topic `reviews`: a JSON object as UTF-8."""
        return _ENCODER.encode(self)

    @property
    def reviewed_at(self) -> datetime | None:
        """When the customer wrote it (UTC), or None when the review carries no time."""
        return None if self.timestamp is None else from_milliseconds(self.timestamp)


class TextLimit(msgspec.Struct, frozen=True):
    """What becomes of texts and titles that are too long."""

    characters: int = LONGEST_TEXT
    is_cut: bool = True
    """Cut after so many characters, else rejected."""


class Rejected(msgspec.Struct, frozen=True):
    """A record's value that is no review, untouched (None where there was none), and why."""

    raw: bytes | None
    reason: str


class Source(msgspec.Struct, frozen=True):
    """A topic told apart from all others, also from an earlier one of its name: by the id Kafka gave it."""

    cluster_id: str
    topic: str
    topic_id: str


class Origin(msgspec.Struct, frozen=True):
    """Where a record came from."""

    source: Source
    partition: int
    offset: int

    @property
    def event_id(self) -> str:
        """The same for every delivery of this record, different for every other record."""
        return str(uuid.uuid5(_EVENTS, f"{self.source.topic_id}/{self.partition}/{self.offset}"))


class ScoredReview(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of one review, as it goes to topic `predictions`."""

    review_id: str
    label: Label
    stars: int
    confidence: float
    probabilities: dict[Label, float]
    rating: float | None
    model_name: str
    model_version: str
    reviewed_at: datetime | None
    scored_at: datetime
    source_topic: str
    source_partition: int
    source_offset: int

    def encode(self) -> bytes:
        """Return the value for topic `predictions`: a JSON object as UTF-8."""
        return _ENCODER.encode(self)


_TEXT_FIELDS: Final = ("text", "title", "review_id", "asin", "parent_asin", "user_id", "category")
_ENCODER = msgspec.json.Encoder()
_REVIEW_DECODER = msgspec.json.Decoder(Review, strict=False)
_SCORED_DECODER = msgspec.json.Decoder(ScoredReview)


def decode_review(raw: bytes | None, limit: TextLimit | None = None) -> Review | Rejected:
    """Return the review that a record's value holds, or why it holds none; never raises.

    Text and title stay as long as they are unless a limit is given.
    """
    if not raw:
        return Rejected(raw, "empty value")
    try:
        review = _REVIEW_DECODER.decode(raw)
    except msgspec.DecodeError as exc:
        return Rejected(raw, _reason(str(exc)))
    except (UnicodeDecodeError, RecursionError) as exc:
        return Rejected(raw, f"not a review: {type(exc).__name__}")
    checked = _checked(review)
    if isinstance(checked, Review) and limit is not None:
        checked = _limited(checked, limit)
    return checked if isinstance(checked, Review) else Rejected(raw, checked)


def review_from_fields(fields: dict[str, object]) -> Review | str:
    """Return the review that already named fields make, or the reason why they make none."""
    try:
        review = msgspec.convert(fields, Review, strict=False)
        review.encode()
    except msgspec.ValidationError as exc:
        return str(exc)
    except UnicodeEncodeError:
        return "holds half of a character (a lone surrogate), which is no text"
    return _checked(review)


def decode_scored(raw: bytes) -> ScoredReview:
    """Return the prediction that a record's value holds; raises one of NOT_JSON on anything else."""
    return _SCORED_DECODER.decode(raw)


def scored(
    review: Review, probabilities: Probabilities, label: Label, model: tuple[str, str], now: datetime, origin: Origin
) -> ScoredReview:
    """Return the prediction for a review: probabilities in label order, model as (name, version)."""
    return ScoredReview(
        review_id=review.review_id or _derived_id(review),
        label=label,
        stars=stars_of_label(label),
        confidence=probabilities[LABELS.index(label)],
        probabilities=dict(zip(LABELS, probabilities, strict=True)),
        rating=review.rating,
        model_name=model[0],
        model_version=model[1],
        reviewed_at=review.reviewed_at,
        scored_at=now,
        source_topic=origin.source.topic,
        source_partition=origin.partition,
        source_offset=origin.offset,
    )


def from_milliseconds(milliseconds: int) -> datetime:
    """Return a UTC datetime for milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def to_milliseconds(moment: datetime) -> int:
    """Return milliseconds since 1970 for an aware datetime."""
    return round(moment.timestamp() * 1000)


def _reason(said: str) -> str:
    """Return a decoder's complaint with the field's name first.

    >>> _reason("Expected `float` <= 5.0 - at `$.rating`"), _reason("Object missing required field `text`")
    ('rating: expected `float` <= 5.0', 'no text')
    """
    if said == "Object missing required field `text`":
        return "no text"
    complaint, _, field = said.partition(" - at `$.")
    return f"{field.rstrip('`')}: {complaint[0].lower()}{complaint[1:]}" if field else f"not a review: {said}"


def _checked(review: Review) -> Review | str:
    """Return the review with its id, or why it is none: no text is left after cleaning, or no store can hold it."""
    for name in _TEXT_FIELDS:
        if "\0" in (getattr(review, name) or ""):
            return f"{name}: holds a NUL character"
    if not has_text(review.text):
        return "no text"
    return review if review.review_id else msgspec.structs.replace(review, review_id=_derived_id(review))


def _limited(review: Review, limit: TextLimit) -> Review | str:
    """Return the review with text and title within the limit, or which of them is too long.

    >>> _limited(Review(text="fine"), TextLimit(3)).text, _limited(Review(text="fine"), TextLimit(3, is_cut=False))
    ('fin', 'text: longer than 3 characters')
    """
    for name in ("text", "title"):
        value = getattr(review, name) or ""
        if len(value) > limit.characters:
            if not limit.is_cut:
                return f"{name}: longer than {limit.characters:,} characters"
            review = msgspec.structs.replace(review, **{name: value[: limit.characters]})
    return review


def _derived_id(review: Review) -> str:
    """Return an id that is stable for the same (user_id, asin, timestamp, text): 32 hex digits."""
    key = _ENCODER.encode((review.user_id, review.asin, review.timestamp, review.text))
    return hashlib.sha256(key).hexdigest()[:32]
