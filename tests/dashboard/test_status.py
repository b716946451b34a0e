"""Each state has its own sentence."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dashboard.latest import Asking
from dashboard.queries import Lag, NewestReview, Snapshot
from dashboard.reader import Missing, Reading, Unreadable
from dashboard.status import Status, status_of
from dashboard.window import window_at

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def snapshot(lag: Lag | None = None, newest: tuple[NewestReview, ...] = ()) -> Snapshot:
    return Snapshot(NOW, window_at(NOW, 900), (), 0.0, 0, lag, newest)


def review(seconds_ago: float) -> NewestReview:
    return NewestReview(None, "text", "neutral", 0.5, None, "tiny v1", NOW - timedelta(seconds=seconds_ago))


@pytest.mark.parametrize(
    ("reading", "status"),
    [
        (Asking(), Status("waiting", "Asking the store for its first answer.")),
        (
            Missing("/data/store.db"),
            Status("waiting", "Waiting for the worker to make the store at /data/store.db; run 'reviewpulse work'."),
        ),
        (
            Unreadable("cannot read the store: disk I/O error"),
            Status("unreadable", "Cannot read the store: disk I/O error."),
        ),
        (snapshot(), Status("waiting", "The store is empty: waiting for the first review.")),
        (snapshot(newest=(review(2),)), Status("live", "Live. Last update 12:00:00.")),
        (
            snapshot(Lag(0, 4, NOW - timedelta(seconds=3)), (review(300),)),
            Status("live", "Live. Last update 12:00:00."),
        ),
        (
            snapshot(Lag(0, 4, NOW - timedelta(seconds=60)), (review(300),)),
            Status("silent", "Nothing from the worker since 11:59:00: no reviews arrive, or it has stopped."),
        ),
        (
            snapshot(Lag(1200, 4, NOW - timedelta(days=1))),
            Status(
                "silent",
                "Nothing from the worker since 2026-03-03 12:00:00: "
                "1,200 records were waiting then, so it has stopped or is stuck.",
            ),
        ),
    ],
)
def test_each_state_has_its_own_sentence(reading: Reading | Asking, status: Status) -> None:
    assert status_of(reading, NOW, UTC) == status


def test_times_are_in_the_viewers_zone() -> None:
    india = timezone(timedelta(hours=5, minutes=30))

    assert status_of(snapshot(newest=(review(2),)), NOW, india).sentence == "Live. Last update 17:30:00."
