"""What a reading makes the page say."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plotly.utils import PlotlyJSONEncoder

from dashboard.latest import Asking
from dashboard.page import answer, build_app, layout
from dashboard.parts import newest_table, tiles
from dashboard.queries import MOST_REJECTED, Bucket, Lag, NewestReview, Snapshot
from dashboard.reader import Missing
from dashboard.window import window_at
from reviewpulse.errors import StoreError
from reviewpulse.settings import DashboardSettings

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SETTINGS = DashboardSettings()
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script> [link](javascript:alert(3))'


def review(text: str, title: str | None = None, rating: float | None = None) -> NewestReview:
    return NewestReview(title, text, "very positive", 0.914, rating, "tiny v1", NOW - timedelta(seconds=65))


def snapshot(rejected: int = 3) -> Snapshot:
    window = window_at(NOW, 900)
    buckets = (Bucket(window.start_second, (10, 0, 0, 0, 2990)),)
    return Snapshot(NOW, window, buckets, 12.34, rejected, Lag(1500, 4, NOW - timedelta(seconds=2)), (review("Good."),))


def nodes(component: Any) -> Iterator[dict[str, Any]]:
    """Yield every component as the browser gets it."""
    for node in component if isinstance(component, list) else [component]:
        if isinstance(node, dict) and "type" in node:
            yield node
            yield from nodes(node["props"].get("children"))


def words_of(component: Any) -> list[str]:
    """Return the text nodes, in reading order."""
    found = []
    for node in nodes(json.loads(json.dumps(component, cls=PlotlyJSONEncoder))):
        children = node["props"].get("children")
        found += [child for child in (children if isinstance(children, list) else [children]) if isinstance(child, str)]
    return found


def test_tiles_say_value_and_span() -> None:
    assert words_of(tiles(snapshot(), 15)) == [
        *("Mean stars", "4.99", "last 15 minutes"),
        *("Reviews a second", "12.3", "last 10 s"),
        *("Consumer lag", "1,500", "4 partitions, 2 s ago"),
        *("Scored", "3,000", "last 15 minutes"),
        *("Rejected", "3", "last 15 minutes"),
    ]


def test_tiles_without_a_snapshot_are_dashes_in_the_same_places() -> None:
    assert words_of(tiles(None, 15))[1::3] == ["\N{EN DASH}"] * 5


def test_a_flood_of_rejected_records_is_shown_as_at_least() -> None:
    assert "100,000+" in words_of(tiles(snapshot(rejected=MOST_REJECTED), 15))


def test_a_review_row_says_class_confidence_title_text_rating_and_age() -> None:
    assert words_of(newest_table([review("It holds.", "Fine", 4.5)], NOW))[4:] == [
        "very positive",
        "91\N{NO-BREAK SPACE}%",
        "Fine",
        "It holds.",
        "4.5 ★",
        "1 min",
    ]


def test_hostile_text_stays_text_in_plain_components() -> None:
    table = newest_table([review(HOSTILE, title=HOSTILE)], NOW)

    assert words_of(table).count(HOSTILE) == 2
    kinds = {node["type"] for node in nodes(json.loads(json.dumps(table, cls=PlotlyJSONEncoder)))}
    assert kinds == {"Table", "Thead", "Tbody", "Tr", "Th", "Td", "Div", "Span"}


def test_review_text_never_reaches_a_figure() -> None:
    given = answer(snapshot(), SETTINGS, NOW, {"n": 1})

    drawn = json.dumps([given[name] for name in ("shares", "stars", "rate")], cls=PlotlyJSONEncoder)
    assert "Good." not in drawn
    assert "Good." in words_of(given["newest"])


def test_an_answer_carries_the_number_of_its_question_and_the_viewers_time() -> None:
    assert answer(Asking(), SETTINGS, NOW, {"n": 7, "minutes_east": 60})["news"] == {"n": 7, "clock": "13:00:00"}


@pytest.mark.parametrize("nonsense", [None, "1", 10**9, 1.5, {}])
def test_a_nonsense_zone_is_utc(nonsense: object) -> None:
    assert answer(Asking(), SETTINGS, NOW, {"n": 1, "minutes_east": nonsense})["news"]["clock"] == "12:00:00"


@pytest.mark.parametrize("nonsense", [None, "1", 1, [1]])
def test_an_ask_that_is_no_object_is_none(nonsense: object) -> None:
    assert answer(Asking(), SETTINGS, NOW, nonsense)["news"] == {"n": None, "clock": "12:00:00"}


def test_a_missing_store_is_said_in_words_and_the_figures_keep_their_axes() -> None:
    given = answer(Missing("/data/store.db"), SETTINGS, NOW, {"n": 1})

    assert given["kind"] == "status waiting"
    assert "/data/store.db" in given["sentence"]
    assert given["shares"].layout.xaxis.range is not None


def test_the_layout_has_a_place_for_every_output() -> None:
    given = json.loads(json.dumps(layout(SETTINGS, NOW), cls=PlotlyJSONEncoder))

    names = {node["props"].get("id") for node in nodes(given)}
    assert names >= {"status", "tiles", "shares", "classes", "stars", "rate", "newest", "model", "news", "ask", "tick"}


def test_a_store_that_is_no_url_is_refused_before_anything_is_served() -> None:
    with pytest.raises(StoreError):
        build_app(SETTINGS, "reviewpulse.db")
