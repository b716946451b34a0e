import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewpulse.records import (
    Origin,
    Rejected,
    Review,
    Source,
    TextLimit,
    decode_review,
    decode_scored,
    review_from_fields,
    scored,
)

SOURCE = Source("cluster", "reviews", "topic-id")


def test_text_alone_makes_a_review() -> None:
    review = decode_review(b'{"text": "fine"}')

    assert isinstance(review, Review)
    assert (review.text, review.rating, review.reviewed_at) == ("fine", None, None)


def test_a_missing_review_id_is_derived_and_stable() -> None:
    fields = {"text": "fine", "user_id": "u", "asin": "a", "timestamp": 5}
    derived = [decode_review(json.dumps(fields | extra).encode()) for extra in ({}, {"rating": 3}, {"review_id": None})]

    ids = {review.review_id for review in derived if isinstance(review, Review)}
    assert ids == {"5de42e3a074661aa77787955feb28513"}


@pytest.mark.parametrize("field", ["user_id", "asin", "timestamp", "text"])
def test_each_field_of_the_derived_id_matters(field: str) -> None:
    fields = {"text": "fine", "user_id": "u", "asin": "a", "timestamp": 5}
    changed = fields | {field: 6 if field == "timestamp" else "other"}

    first, second = (decode_review(json.dumps(each).encode()) for each in (fields, changed))

    assert isinstance(first, Review)
    assert isinstance(second, Review)
    assert first.review_id != second.review_id


def test_a_given_review_id_stays() -> None:
    review = decode_review(b'{"text": "fine", "review_id": "mine"}')

    assert isinstance(review, Review)
    assert review.review_id == "mine"


def test_unknown_fields_are_no_error() -> None:
    assert isinstance(decode_review(b'{"text": "fine", "helpful_vote": 3, "images": [{"a": 1}]}'), Review)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "empty value"),
        (b"", "empty value"),
        (b"{broken", "not a review"),
        (b"\xff\xfe", "not a review"),
        (b'{"title": "no text here"}', "text"),
        (b'{"text": "  <br /> "}', "no text"),
        (b'{"text": 5}', "text"),
        (b'{"text": "x", "rating": 7}', "rating"),
        (b'{"text": "x", "rating": true}', "rating"),
        (b'{"text": "x", "timestamp": 1e300}', "timestamp"),
        (b'{"text": "x", "timestamp": -1}', "timestamp"),
        (b'{"text": "\\ud800"}', "not a review"),
        (b'{"text": ' * 20_000, "text: expected"),
        (b"[" * 100_000, "not a review"),
        (b"[1, 2]", "not a review"),
        (b'{"text": "x", "review_id": "%s"}' % (b"i" * 513), "review_id"),
        (b'{"text": "x", "asin": "%s"}' % (b"i" * 513), "asin"),
        (b'{"text": "x", "rating": 1e400}', "rating"),
        (b'{"text": "x", "rating": %s}' % (b"9" * 5_000), "rating"),
        (b'{"text": "x", "timestamp": %s}' % (b"9" * 5_000), "timestamp"),
        (b'{"text": "x", "other": %s1%s}' % (b"[" * 5_000, b"]" * 5_000), "not a review"),
        (b'{"text": "x\\u0000y"}', "text: holds a NUL character"),
        (b'{"text": "x", "category": "\\u0000"}', "category: holds a NUL character"),
        (b'{"text": "x", "schema_version": 2}', "schema_version"),
    ],
)
def test_bad_data_is_rejected_with_a_reason_and_its_bytes(raw: bytes | None, reason: str) -> None:
    record = decode_review(raw)

    assert isinstance(record, Rejected)
    assert reason in record.reason
    assert record.raw == raw


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
FIELDS = ("text", "title", "rating", "timestamp", "review_id", "asin", "user_id", "schema_version", "other")


@st.composite
def nearly_valid(draw: st.DrawFn) -> bytes:
    """Return the JSON of a review some of whose fields are odd, and some of whose bytes may be."""
    fields = {"text": "good", "rating": 5, "title": "t"} | draw(st.dictionaries(st.sampled_from(FIELDS), JSON))
    raw = bytearray(json.dumps(fields, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass"))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=2)):
        raw[place] = byte
    return bytes(raw[: draw(st.integers(0, len(raw))) or None])


@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=200), nearly_valid()))
def test_whatever_the_bytes_they_become_a_review_that_can_be_sent_on_or_a_reject_that_holds_them(raw: bytes) -> None:
    record = decode_review(raw, TextLimit(1_000))

    if isinstance(record, Rejected):
        assert (record.raw, bool(record.reason)) == (raw, True)
    else:
        assert decode_review(record.encode(), TextLimit(1_000)) == record


@pytest.mark.parametrize("field", ["text", "title"])
def test_a_long_text_is_cut_or_rejected_as_the_limit_says(field: str) -> None:
    raw = Review(**{"text": "fine", field: "x" * 101}).encode()

    cut, rejected = decode_review(raw, TextLimit(100)), decode_review(raw, TextLimit(100, is_cut=False))

    assert isinstance(cut, Review)
    assert getattr(cut, field) == "x" * 100
    assert isinstance(decode_review(raw), Review)
    assert cut.review_id == decode_review(raw).review_id  # type: ignore[union-attr]
    assert rejected == Rejected(raw, f"{field}: longer than 100 characters")


def test_the_known_schema_version_is_accepted() -> None:
    assert isinstance(decode_review(b'{"text": "fine", "schema_version": 1}'), Review)


def test_a_row_with_half_a_character_makes_no_review() -> None:
    assert "lone surrogate" in str(review_from_fields({"text": "\ud800 fine"}))


def test_a_character_reference_with_thousands_of_digits_is_no_error() -> None:
    assert isinstance(decode_review(b'{"text": "&#%s;"}' % (b"9" * 5_000)), Rejected)


TITLES = st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(st.builds(Review, text=st.text(min_size=1).filter(str.isalnum), title=TITLES))
def test_an_encoded_review_decodes_to_itself(review: Review) -> None:
    again = decode_review(review.encode())

    assert isinstance(again, Review)
    assert (again.text, again.title) == (review.text, review.title)


def test_fields_that_make_no_review_give_the_reason() -> None:
    assert review_from_fields({"text": ""}) == "no text"
    assert "rating" in str(review_from_fields({"text": "x", "rating": 9}))


def test_a_prediction_says_what_the_contract_says() -> None:
    review = Review(text="fine", review_id="r", rating=4.0, timestamp=1_500)
    now = datetime(2026, 1, 2, tzinfo=UTC)

    prediction = scored(review, (0.1, 0.2, 0.05, 0.15, 0.5), "negative", ("default", "7"), now, Origin(SOURCE, 2, 9))

    assert json.loads(prediction.encode()) == {
        "review_id": "r",
        "label": "negative",
        "stars": 2,
        "confidence": 0.2,
        "probabilities": {
            "very negative": 0.1,
            "negative": 0.2,
            "neutral": 0.05,
            "positive": 0.15,
            "very positive": 0.5,
        },
        "rating": 4.0,
        "model_name": "default",
        "model_version": "7",
        "reviewed_at": "1970-01-01T00:00:01.500000Z",
        "scored_at": "2026-01-02T00:00:00Z",
        "source_topic": "reviews",
        "source_partition": 2,
        "source_offset": 9,
    }
    assert decode_scored(prediction.encode()) == prediction


def test_event_ids_are_equal_for_a_redelivery_and_differ_for_everything_else() -> None:
    here = Origin(SOURCE, 0, 5)
    elsewhere = [
        Origin(SOURCE, 0, 6),
        Origin(SOURCE, 1, 5),
        Origin(Source("cluster", "reviews", "made-anew"), 0, 5),
    ]

    assert here.event_id == Origin(Source("cluster", "reviews", "topic-id"), 0, 5).event_id
    assert len({here.event_id, *(origin.event_id for origin in elsewhere)}) == 4
