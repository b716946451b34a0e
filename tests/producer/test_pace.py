"""A pace spreads reviews over time, with no clock of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.pace import OwnTimesPace, Pace, SteadyPace, pace_of
from reviewpulse.errors import SettingsError

HOUR_MS = 3_600_000


def sent_at(pace: Pace, timestamps: list[int | None]) -> list[float]:
    """Return when each review goes out if sending takes no time."""
    now, moments = 0.0, []
    for timestamp in timestamps:
        now += pace.wait_seconds(timestamp, now)
        moments.append(now)
    return moments


def test_without_a_pace_every_review_is_due() -> None:
    assert sent_at(pace_of(None, None), [5, None, HOUR_MS]) == [0, 0, 0]


def test_a_rate_spaces_reviews_evenly_from_the_first_one_on() -> None:
    assert sent_at(pace_of(4, None), [None] * 5) == [0, 0.25, 0.5, 0.75, 1.0]


def test_a_short_delay_is_caught_up_and_an_outage_is_not() -> None:
    pace = SteadyPace(10)
    assert [pace.wait_seconds(None, now) for now in (0.0, 0.3, 0.3)] == [0, 0, 0]
    assert [round(pace.wait_seconds(None, 60.0), 3) for _ in range(3)] == [0, 0.1, 0.2]


def test_own_times_keep_the_gaps_and_shrink_them() -> None:
    assert sent_at(pace_of(None, 3600), [HOUR_MS, 2 * HOUR_MS, 2 * HOUR_MS, 5 * HOUR_MS]) == [0, 1, 1, 4]
    assert sent_at(pace_of(None, 1), [0, 1500]) == [0, 1.5]


def test_a_review_without_a_time_or_from_the_past_goes_out_at_once() -> None:
    assert sent_at(OwnTimesPace(3600), [None, HOUR_MS, None, 0, 2 * HOUR_MS]) == [0, 0, 0, 0, 1]


@given(
    st.floats(0.001, 1e6),
    st.lists(st.none() | st.integers(0, 10**13)),
    st.booleans(),
)
def test_no_pace_ever_asks_for_a_negative_wait(speed: float, timestamps: list[int | None], is_rate: bool) -> None:
    pace = pace_of(speed, None) if is_rate else pace_of(None, speed)
    moments = sent_at(pace, timestamps)
    assert moments == sorted(moments)


@pytest.mark.parametrize(("rate", "speedup"), [(0, None), (None, -1), (float("inf"), None), (None, float("nan"))])
def test_a_speed_that_is_none_is_refused(rate: float | None, speedup: float | None) -> None:
    with pytest.raises(SettingsError, match="must be above 0"):
        pace_of(rate, speedup)


def test_two_paces_at_once_are_refused() -> None:
    with pytest.raises(SettingsError, match="exclude each other"):
        pace_of(1, 1)
