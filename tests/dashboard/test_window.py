"""The buckets keep their place while the window moves."""

from datetime import UTC, datetime, timedelta

from dashboard.window import window_at

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def test_buckets_keep_their_place_from_one_refresh_to_the_next() -> None:
    now, later = (set(window_at(NOW + timedelta(seconds=wait), 900).bucket_starts) for wait in (0, 1))

    assert len(now ^ later) <= 2
