"""The figures of an exploration, as PNG files 1,200 pixels wide."""

import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reviewpulse.labels import COLOURS, LABELS
from training.eda.records import ClassWords, Period, Report, Spread
from training.eda.words import LEAST_Z

FEW_RATED: Final = 20
"""Rated reviews below which a period's mean stars are left out of the figure."""

MOST_DAYS: Final = 3_660
"""A longer time is drawn by year, a shorter one by month."""

_WORDS_DRAWN: Final = 12
_ABOUT_Z: Final = """z: how surely the class uses
the word more than the
other classes together
(log-odds ratio with an
informative Dirichlet prior;
a word counts once a text)"""

_GREY: Final = "#5f666d"
_UNRATED_COLOUR: Final = "#e3e5e7"
_INCH_PIXELS: Final = 100
_WIDTH_INCHES: Final = 12.0
_TEXT_POINTS: Final = 13


def write_figures(report: Report, folder: Path) -> None:
    """Write classes.png, lengths.png, over_time.png and words.png into the folder; raises OSError."""
    figures: tuple[tuple[str, Callable[[Report], Figure]], ...] = (
        ("classes.png", classes_figure),
        ("lengths.png", lengths_figure),
        ("over_time.png", time_figure),
        ("words.png", words_figure),
    )
    for name, draw in figures:
        with warnings.catch_warnings():  # report.md says that words in some scripts are drawn as boxes
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            draw(report).savefig(folder / name, dpi=_INCH_PIXELS)


def classes_figure(report: Report) -> Figure:
    """Return bars: the rated reviews of each class, with their share."""
    figure = Figure(figsize=(_WIDTH_INCHES, 4.2), layout="constrained")
    axes = figure.subplots()
    counts = [row.reviews for row in report.classes]
    bars = axes.barh(LABELS, counts, color=list(COLOURS.values()))
    axes.bar_label(bars, [f" {row.reviews:,} ({row.share:.1%})" for row in report.classes], fontsize=_TEXT_POINTS)
    axes.set_xlim(0, max(*counts, 1) * 1.2)  # room for the text behind the longest bar
    axes.set_xlabel("rated reviews", fontsize=_TEXT_POINTS)
    _tidy(axes, counted="x")
    return figure


def lengths_figure(report: Report) -> Figure:
    """Return a box for each class in characters and in words: middle half, median, and 5th to 95th percentile."""
    figure = Figure(figsize=(_WIDTH_INCHES, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    classes = report.lengths[: len(LABELS)]
    _draw_boxes(left, [row.words for row in classes], "words in a text (title and text, cleaned)")
    _draw_boxes(right, [row.characters for row in classes], "characters in a text (title and text, cleaned)")
    left.set_yticks(range(len(LABELS)), LABELS)
    figure.supxlabel(
        "box: the middle half of the texts, line: median, whiskers: 5th to 95th percentile",
        fontsize=_TEXT_POINTS - 1,
        color=_GREY,
    )
    return figure


def time_figure(report: Report) -> Figure:
    """Return stacked columns of the reviews of each class and, below, the mean stars, by month or by year."""
    figure = Figure(figsize=(_WIDTH_INCHES, 6.6), layout="constrained")
    periods = _drawn_periods(report)
    if not periods:
        _say(figure.subplots(), "no review carries a time that has passed")
        return figure
    unit = "month" if _is_month(periods[0]) else "year"
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_columns(upper, periods)
    upper.set_ylabel(f"reviews a {unit}", fontsize=_TEXT_POINTS)
    figure.legend(loc="outside upper center", ncols=len(LABELS) + 1, frameon=False, fontsize=_TEXT_POINTS)
    _draw_stars(lower, periods)
    lower.set_xlabel(f"UTC; mean stars of {unit}s with at least {FEW_RATED} rated reviews", fontsize=_TEXT_POINTS)
    lower.xaxis.set_major_formatter(ConciseDateFormatter(lower.xaxis.get_major_locator()))
    return figure


def words_figure(report: Report) -> Figure:
    """Return bars for each class: the z-scores of its most telling words."""
    figure = Figure(figsize=(_WIDTH_INCHES, 8.0), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True).flatten().tolist()
    highest = max((word.z for words in report.telling_words for word in words.words), default=LEAST_Z)
    for axes, words in zip(panels, report.telling_words, strict=False):
        _draw_words(axes, words)
        axes.set_xlim(0, highest * 1.05)
    panels[-1].set_axis_off()
    panels[-1].text(0.0, 0.5, _ABOUT_Z, fontsize=_TEXT_POINTS, color=_GREY, va="center")
    return figure


def _drawn_periods(report: Report) -> tuple[Period, ...]:
    """Return months or, for a long time, years, without those that lie behind the report's own time."""
    months = tuple(month for month in report.months if month.name <= report.made_at[: len(month.name)])
    if not months:
        return ()
    (first, _), (_, end) = _ends(months[0]), _ends(months[-1])
    if (end - first).days <= MOST_DAYS:
        return months
    return tuple(year for year in report.years if year.name <= report.made_at[: len(year.name)])


def _is_month(period: Period) -> bool:
    return "-" in period.name


def _ends(period: Period) -> tuple[datetime, datetime]:
    """Return when a month or a year begins and when the next one does."""
    year, _, month = period.name.partition("-")
    start = datetime(int(year), int(month or 1), 1, tzinfo=UTC)
    if not month:
        return start, start.replace(year=start.year + 1)
    return start, start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)


def _draw_columns(axes: Axes, periods: Sequence[Period]) -> None:
    ends = [_ends(period) for period in periods]
    starts = date2num([start for start, _ in ends])
    widths = 0.9 * (date2num([end for _, end in ends]) - starts)
    bottoms = np.zeros(len(periods))  # (periods,)
    unrated = [period.reviews - sum(period.class_counts) for period in periods]
    layers: list[tuple[str, str, list[int]]] = [
        (label, COLOURS[label], [period.class_counts[index] for period in periods])
        for index, label in enumerate(LABELS)
    ]
    if any(unrated):
        layers.append(("no rating", _UNRATED_COLOUR, unrated))
    for label, colour, counts in layers:
        axes.bar(starts, counts, width=widths, bottom=bottoms, align="edge", color=colour, label=label)
        bottoms += counts
    _tidy(axes, counted="y")


def _draw_stars(axes: Axes, periods: Sequence[Period]) -> None:
    """Draw the mean stars as a line that breaks where a period has too few."""
    middles = date2num([start + (end - start) / 2 for start, end in map(_ends, periods)])  # (periods,)
    stars = [
        period.mean_rating if period.mean_rating and sum(period.class_counts) >= FEW_RATED else np.nan
        for period in periods
    ]
    axes.xaxis_date()
    axes.plot(middles, stars, color=_GREY, marker="o", markersize=5)
    axes.set_ylim(1, 5)
    axes.set_ylabel("mean stars", fontsize=_TEXT_POINTS)
    _tidy(axes, counted="")


def _draw_boxes(axes: Axes, spreads: Sequence[Spread | None], unit: str) -> None:
    known = [(place, spread) for place, spread in enumerate(spreads) if spread]
    boxes = axes.bxp(
        [
            {"whislo": spread.p05, "q1": spread.p25, "med": spread.median, "q3": spread.p75, "whishi": spread.p95}
            for _, spread in known
        ],
        positions=[place for place, _ in known],
        widths=0.6,
        orientation="horizontal",
        patch_artist=True,
        showfliers=False,
        manage_ticks=False,
        medianprops={"color": "black", "linewidth": 2},
    )
    for patch, (place, _) in zip(boxes["boxes"], known, strict=True):
        patch.set_facecolor(COLOURS[LABELS[place]])
    axes.set_xlim(left=0)
    axes.set_ylim(-0.6, len(LABELS) - 0.4)
    axes.set_xlabel(unit, fontsize=_TEXT_POINTS)
    _tidy(axes, counted="x")


def _draw_words(axes: Axes, words: ClassWords) -> None:
    drawn = words.words[:_WORDS_DRAWN]
    places = range(len(drawn))
    axes.barh(places, [word.z for word in drawn], color=COLOURS[words.label])
    axes.set_yticks(places, [word.word for word in drawn])
    axes.invert_yaxis()
    axes.tick_params(labelbottom=True)
    axes.set_title(words.label, fontsize=_TEXT_POINTS + 1, loc="left")
    axes.set_xlabel("z", fontsize=_TEXT_POINTS)
    _tidy(axes, counted="x")
    if not drawn:
        _say(axes, "no word tells this class")


def _say(axes: Axes, what: str) -> None:
    """Write instead of a drawing why there is none."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", fontsize=_TEXT_POINTS, color=_GREY)


def _tidy(axes: Axes, *, counted: str) -> None:
    """Give the axes readable letters, no frame, and thousands with commas on the axis that counts."""
    axes.tick_params(labelsize=_TEXT_POINTS)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if counted:
        axis = axes.xaxis if counted == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True))
        axis.set_major_formatter(FuncFormatter(lambda number, _place: f"{number:,.0f}"))
        axis.grid(color="#e3e5e7")
