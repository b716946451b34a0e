"""Rows to plotly figures; colours of text and ground come from the style sheet, for light and dark."""

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

import plotly.graph_objects as go

from dashboard.queries import Bucket
from dashboard.window import Window
from reviewpulse.labels import COLOURS, LABELS

LINE_COLOUR: Final = "#7a828a"


def shares_figure(buckets: Sequence[Bucket], window: Window, zone: timezone) -> go.Figure:
    """Return stacked columns: the share of each class in each bucket; no column where nothing was scored."""
    starts = _local(buckets, zone)
    columns = [
        go.Bar(
            x=starts,
            y=[bucket.counts[index] / bucket.reviews if bucket.reviews else None for bucket in buckets],
            name=label,
            marker={"color": COLOURS[label], "line": {"width": 0}},
            width=window.bucket_seconds * 1000,
            offset=0,
            hovertemplate="%{y:.0%} " + label + "<extra></extra>",
        )
        for index, label in enumerate(LABELS)
    ]
    layout = _layout(window, zone, {"range": [0, 1], "tickvals": [0, 0.5, 1], "tickformat": ".0%"})
    return go.Figure(columns, layout.update(barmode="stack", bargap=0))


def stars_figure(buckets: Sequence[Bucket], window: Window, zone: timezone) -> go.Figure:
    """Return a line: the mean stars of each bucket, broken where nothing was scored."""
    line = go.Scatter(
        x=_local(buckets, zone),
        y=[bucket.mean_stars for bucket in buckets],
        mode="lines+markers",
        line={"width": 2, "color": LINE_COLOUR},
        marker={"size": 3, "color": LINE_COLOUR},
        hovertemplate="%{y:.2f} stars<extra></extra>",
    )
    return go.Figure([line], _layout(window, zone, {"range": [0.9, 5.1], "tickvals": [1, 3, 5]}))


def rate_figure(buckets: Sequence[Bucket], window: Window, zone: timezone) -> go.Figure:
    """Return a line: reviews a second in each bucket that is full; the one still filling is left out."""
    full = [bucket for bucket in buckets if bucket.start_second + window.bucket_seconds < window.end_second]
    rates = [bucket.reviews / window.bucket_seconds for bucket in full]
    line = go.Scatter(
        x=_local(full, zone),
        y=rates,
        mode="lines",
        line={"width": 2, "color": LINE_COLOUR},
        fill="tozeroy",
        fillcolor="rgba(122, 130, 138, 0.16)",
        hovertemplate="%{y:,.1f} a second<extra></extra>",
    )
    top = nice_ceiling(max(rates, default=0))
    return go.Figure([line], _layout(window, zone, {"range": [0, top * 1.03], "tickvals": [0, top / 2, top]}))


def nice_ceiling(number: float) -> float:
    """Return the least of 1, 2, 4, 6, 8, 10, 20, 40, ... not below a number: the axis then seldom moves.

    >>> nice_ceiling(0), nice_ceiling(3.2), nice_ceiling(512)
    (1, 4, 600)
    """
    if number <= 1:
        return 1
    power: int = 10 ** math.floor(math.log10(number))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= number)


def _local(buckets: Sequence[Bucket], zone: timezone) -> list[datetime]:
    return [_local_moment(bucket.start_second, zone) for bucket in buckets]


def _local_moment(second: int, zone: timezone) -> datetime:
    """Return the viewer's wall clock, without zone: plotly knows none."""
    return datetime.fromtimestamp(second, tz=zone).replace(tzinfo=None)


def _layout(window: Window, zone: timezone, yaxis: dict[str, Any]) -> go.Layout:
    """Return what all figures share; both axes are fixed, so that nothing moves by itself but the data."""
    ends = [_local_moment(window.start_second, zone), _local_moment(window.end_second, zone)]
    return go.Layout(
        margin={"l": 44, "r": 20, "t": 8, "b": 28},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"family": "inherit", "size": 12},
        template={},
        showlegend=False,
        hovermode="x unified",
        dragmode=False,
        uirevision="kept",
        xaxis={
            "type": "date",
            "range": ends,
            "fixedrange": True,
            "showgrid": False,
            "nticks": 6,
            "tickformat": "%H:%M",
            "hoverformat": "%H:%M:%S",
            "spikethickness": -2,
            "ticklabelstandoff": 4,
        },
        yaxis={"fixedrange": True, "zeroline": False, "ticklabelstandoff": 6, **yaxis},
    )
