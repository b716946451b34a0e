"""Rows to figures, without a browser."""

from datetime import UTC, datetime, timedelta, timezone

from dashboard.figures import rate_figure, shares_figure, stars_figure
from dashboard.queries import Bucket
from dashboard.window import Window
from reviewpulse.labels import COLOURS, LABELS

WINDOW = Window(start_second=0, end_second=41, bucket_seconds=15)
BUCKETS = (Bucket(0, (1, 0, 0, 0, 3)), Bucket(15, (0, 0, 0, 0, 0)), Bucket(30, (0, 0, 2, 0, 0)))


def local(second: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=second)  # noqa: DTZ001 - plotly wants the wall clock


def test_shares_are_stacked_in_label_order_and_empty_where_nothing_was_scored() -> None:
    figure = shares_figure(BUCKETS, WINDOW, UTC)

    assert [column.name for column in figure.data] == list(LABELS)
    assert [column.y for column in figure.data] == [
        (0.25, None, 0.0),
        (0.0, None, 0.0),
        (0.0, None, 1.0),
        (0.0, None, 0.0),
        (0.75, None, 0.0),
    ]
    assert figure.layout.barmode == "stack"
    assert [column.marker.color for column in figure.data] == [COLOURS[label] for label in LABELS]


def test_mean_stars_has_a_gap_where_nothing_was_scored() -> None:
    assert stars_figure(BUCKETS, WINDOW, UTC).data[0].y == (4.0, None, 3.0)


def test_rate_leaves_out_the_bucket_that_is_still_filling() -> None:
    line = rate_figure(BUCKETS, WINDOW, UTC).data[0]

    assert (line.x, line.y) == ((local(0), local(15)), (4 / 15, 0.0))


def test_axes_are_fixed_to_the_window_in_the_viewers_zone() -> None:
    ends = (local(3600), local(3641))

    for draw in (shares_figure, stars_figure, rate_figure):
        figure = draw(BUCKETS, WINDOW, timezone(timedelta(hours=1)))
        assert figure.layout.xaxis.range == ends
        assert len(figure.layout.yaxis.range) == 2


def test_figures_without_rows_keep_their_axes() -> None:
    for draw in (shares_figure, stars_figure, rate_figure):
        assert draw((), WINDOW, UTC).layout.xaxis.range == (local(0), local(41))
