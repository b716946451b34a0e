"""Each public form becomes the same Review, whatever the file made of its values; a fault becomes a readable reason."""

import datetime as dt
import time
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewpulse.forms import FORMS, as_milliseconds, review_from_row
from reviewpulse.records import Review, review_from_fields

MS = 1_440_979_200_000  # 2015-08-31 UTC
NAN = float("nan")


def review(**fields: object) -> Review:
    made = review_from_fields(dict(fields))
    assert isinstance(made, Review)
    return made


def test_the_2023_form_keeps_all_that_a_review_has() -> None:
    row = {
        "rating": 5.0, "title": "Such a lovely scent", "text": "I like it.", "images": [], "asin": "B00YQ6X8EO",
        "parent_asin": "B00YQ6X8E1", "user_id": "AGKHLEW2SO", "timestamp": 1588687728923, "helpful_vote": 0,
        "verified_purchase": True, "category": "All_Beauty",
    }  # fmt: skip
    assert review_from_row(row) == review(
        rating=5.0, title="Such a lovely scent", text="I like it.", asin="B00YQ6X8EO", parent_asin="B00YQ6X8E1",
        user_id="AGKHLEW2SO", timestamp=1588687728923, category="All_Beauty",
    )  # fmt: skip


def test_the_5_core_form_is_in_seconds() -> None:
    row = {
        "overall": 4.0, "reviewText": "Good value", "summary": "Good", "unixReviewTime": 1440979200,
        "reviewTime": "08 31, 2015", "reviewerID": "A1", "asin": "B1", "verified": True, "style": {"Size:": " 5"},
    }  # fmt: skip
    expected = review(rating=4.0, text="Good value", title="Good", timestamp=MS, user_id="A1", asin="B1")
    assert review_from_row(row) == expected


def test_a_csv_of_fine_food_is_in_seconds_and_strings() -> None:
    row = {
        "Id": "1", "ProductId": "B1", "UserId": "A1", "ProfileName": "x", "HelpfulnessNumerator": "1",
        "HelpfulnessDenominator": "1", "Score": "2", "Time": "1440979200", "Summary": "Not as said", "Text": "Salted.",
    }  # fmt: skip
    assert review_from_row(row) == review(
        rating=2.0, title="Not as said", text="Salted.", timestamp=MS, user_id="A1", asin="B1"
    )


def test_customer_reviews_have_their_own_ids_and_dates() -> None:
    row = {
        "marketplace": "US", "customer_id": "18778586", "review_id": "RDIJS7QYB6XNR", "product_id": "B00EDBY7X8",
        "product_parent": "122952789", "product_title": "Game", "product_category": "Toys", "star_rating": "5",
        "helpful_votes": "0", "vine": "N", "review_headline": "Five Stars", "review_body": "Excellent!!!",
        "review_date": "2015-08-31",
    }  # fmt: skip
    assert review_from_row(row) == review(
        rating=5.0, title="Five Stars", text="Excellent!!!", timestamp=MS, user_id="18778586", asin="B00EDBY7X8",
        parent_asin="122952789", category="Toys", review_id="RDIJS7QYB6XNR",
    )  # fmt: skip


def test_a_text_alone_is_a_review() -> None:
    assert review_from_row({"text": "loud"}) == review(text="loud")


def test_a_category_from_outside_fills_in_and_never_overrides() -> None:
    assert review_from_row({"text": "loud"}, category="Gift_Cards") == review(text="loud", category="Gift_Cards")
    assert review_from_row({"text": "loud", "category": "Software"}, "Gift_Cards") == review(
        text="loud", category="Software"
    )


@pytest.mark.parametrize("missing", [None, "", NAN, " ", np.float64("nan"), np.datetime64("NaT")])
def test_a_missing_cell_is_none_in_every_field(missing: object) -> None:
    row = dict.fromkeys(("rating", "timestamp", "asin", "parent_asin", "user_id", "category"), missing)
    assert review_from_row({"text": "loud", **row}) == review(text="loud")


@pytest.mark.parametrize(
    "moment",
    [
        MS, float(MS), str(MS), "1.4409792E12", MS // 1000, str(MS // 1000), Decimal(MS), np.int64(MS), "2015-08-31",
        "2015-08-31T02:00:00+02:00", dt.date(2015, 8, 31), dt.datetime(2015, 8, 31),  # noqa: DTZ001
        dt.datetime(2015, 8, 31, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        np.datetime64("2015-08-31T00:00:00.000000000"),
    ],
)  # fmt: skip
def test_a_time_is_read_however_the_file_wrote_it(moment: object) -> None:
    assert review_from_row({"text": "loud", "timestamp": moment}) == review(text="loud", timestamp=MS)


def test_a_time_without_a_zone_is_utc_wherever_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert as_milliseconds("2015-08-31", is_in_seconds=False) == MS
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("stars", [4, 4.0, "4", "4.0", " 4 ", Decimal(4), np.float32(4), np.int8(4)])
def test_a_rating_is_read_however_the_file_wrote_it(stars: object) -> None:
    assert review_from_row({"text": "loud", "rating": stars}) == review(text="loud", rating=4.0)


def test_a_number_in_a_text_column_is_text() -> None:
    assert review_from_row({"text": 10, "title": 2.0, "asin": 1400501466}) == review(
        text="10", title="2", asin="1400501466"
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "x", "rating": 7}, "rating 7 is not 1 to 5"),
        ({"text": "x", "rating": "0.5"}, "rating 0.5 is not 1 to 5"),
        ({"text": "x", "rating": "five"}, "rating 'five' is not a number"),
        ({"text": "x", "rating": True}, "rating True is not a number"),
        ({"text": "x", "rating": "inf"}, "rating 'inf' is not a number"),
        ({"text": ""}, "no text"),
        ({"text": None, "rating": 5}, "no text"),
        ({"text": "<br />&nbsp;"}, "no text"),
        ({"overall": 5.0, "summary": "x"}, "no text"),
        ({"text": ["a", "b"]}, "['a', 'b'] stands where text should be"),
        ({"text": "x", "timestamp": "yesterday"}, "time 'yesterday' is neither a number nor an ISO date"),
        ({"text": "x", "timestamp": float("inf")}, "time inf is neither a number nor an ISO date"),
        ({"text": "x", "timestamp": -5}, "time -5000 ms is not from 1970 to 9999"),
        ({"text": "x", "timestamp": 10**17}, f"time {10**17} ms is not from 1970 to 9999"),
    ],
)
def test_a_reason_says_what_is_wrong_with_which_value(row: dict[str, object], reason: str) -> None:
    assert review_from_row(row) == reason


def test_an_unknown_form_gets_the_known_ones_listed() -> None:
    reason = review_from_row({f"column {number}": 1 for number in range(100)})
    assert isinstance(reason, str)
    assert reason.startswith("unknown form with column 0, column 1,")
    assert "column 8" not in reason
    assert all(form.name in reason and form.text in reason for form in FORMS)
    assert str(review_from_row({})).startswith("unknown form with nothing; known are")


@given(st.integers(100_000_000_000, 253_402_300_799_000))
def test_milliseconds_and_the_same_moment_as_a_datetime_agree(milliseconds: int) -> None:
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)
    assert as_milliseconds(moment, is_in_seconds=False) == milliseconds
    assert as_milliseconds(milliseconds, is_in_seconds=False) == milliseconds
    assert as_milliseconds(moment.isoformat(), is_in_seconds=False) == milliseconds


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.lists(st.integers())


@given(
    st.dictionaries(
        st.sampled_from([name for form in FORMS for name in (form.text, form.rating, form.timestamp)]), values
    )
)
def test_any_row_is_a_review_or_a_reason_and_nothing_raises(row: dict[str, object]) -> None:
    made = review_from_row(row)
    assert isinstance(made, str) or msgspec.json.decode(made.encode(), type=Review) == made
