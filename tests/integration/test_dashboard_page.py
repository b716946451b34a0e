"""The page in a real browser, served by a real process from a real store."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from reviewpulse.labels import LABELS
from tests.dashboard.servers import DashboardProcess
from tests.dashboard.stores import Scored, StoreBuilder
from tests.integration.browsers import SOON_MS, Watched, needs_chromium

pytestmark = needs_chromium


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, timezone_id="Asia/Kolkata")
    yield Watched(context.new_page())
    context.close()


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[DashboardProcess]:
    process = DashboardProcess(f"sqlite:///{tmp_path / 'store.db'}")
    yield process
    process.kill()


@pytest.fixture
def store(tmp_path: Path, dashboard: DashboardProcess) -> Iterator[StoreBuilder]:
    """A store that is made only after the dashboard runs, as a fresh installation would."""
    builder = StoreBuilder(tmp_path)
    yield builder
    builder.close()


def write_some(store: StoreBuilder) -> int:
    """Write what a live worker leaves and return the number of its source."""
    now = datetime.now(tz=UTC)
    source = store.add_source("t1")
    store.add_reviews(
        source,
        [
            Scored(now - timedelta(seconds=10 + stars), stars, text=f"text of {stars}", rating=float(stars))
            for stars in (1, 2, 3, 4, 5)
        ],
    )
    store.set_offsets(source, [(5, 12), (0, 0)], now)
    return source


def open_page(watched: Watched, dashboard: DashboardProcess) -> Page:
    watched.page.goto(dashboard.address)
    return watched.page


def test_page_waits_for_the_store_and_then_shows_its_rows(
    watched: Watched, dashboard: DashboardProcess, tmp_path: Path
) -> None:
    page = open_page(watched, dashboard)
    expect(page.locator("#status")).to_contain_text(f"make the store at {tmp_path / 'store.db'}", timeout=SOON_MS)

    store = StoreBuilder(tmp_path)
    expect(page.locator("#status")).to_contain_text("The store is empty", timeout=SOON_MS)

    write_some(store)
    expect(page.locator("#newest")).to_contain_text("text of 3", timeout=SOON_MS)
    expect(page.locator("#status")).to_contain_text("Live.")
    expect(page.locator("#tiles")).to_contain_text("Consumer lag72 partitions")
    for label in LABELS:
        expect(page.locator("#classes")).to_contain_text(label)
    assert page.locator("#shares .bars .point path").count() >= 5
    store.close()


def test_page_complains_of_nothing_and_asks_no_other_machine(
    watched: Watched, dashboard: DashboardProcess, store: StoreBuilder
) -> None:
    write_some(store)
    page = open_page(watched, dashboard)
    expect(page.locator("#newest")).to_contain_text("text of 5", timeout=SOON_MS)
    page.locator("#shares").hover()
    page.wait_for_timeout(2_000)

    assert watched.complaints == []
    assert {address for address in watched.addresses if not address.startswith((dashboard.address, "data:"))} == set()


def test_page_says_that_the_server_is_gone_and_recovers_when_it_is_back(
    watched: Watched, dashboard: DashboardProcess, store: StoreBuilder
) -> None:
    source = write_some(store)
    page = open_page(watched, dashboard)
    expect(page.locator("#status")).to_contain_text("Live.", timeout=SOON_MS)

    dashboard.kill()
    gone = page.locator("#notice")
    expect(gone).to_have_text(re.compile(r"server does not answer\. Last update \d\d:\d\d:\d\d\."), timeout=SOON_MS)
    expect(gone).to_be_visible()
    expect(page.locator("#status")).to_be_hidden()

    store.set_offsets(source, [(5, 12), (0, 0)], datetime.now(tz=UTC))  # the worker went on meanwhile
    again = DashboardProcess(store.url, port=dashboard.port)
    try:
        expect(gone).to_be_hidden(timeout=SOON_MS)
        expect(page.locator("#status")).to_contain_text("Live.", timeout=SOON_MS)
    finally:
        again.kill()


def test_page_notices_a_server_that_hangs(watched: Watched, dashboard: DashboardProcess, store: StoreBuilder) -> None:
    write_some(store)
    page = open_page(watched, dashboard)
    expect(page.locator("#status")).to_contain_text("Live.", timeout=SOON_MS)

    dashboard.pause()
    try:
        expect(page.locator("#notice")).to_contain_text("does not answer", timeout=SOON_MS)
    finally:
        dashboard.go_on()
    expect(page.locator("#notice")).to_be_hidden(timeout=SOON_MS)


def test_page_says_that_a_locked_store_cannot_be_read(
    watched: Watched, dashboard: DashboardProcess, store: StoreBuilder
) -> None:
    write_some(store)
    store.close()
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("UPDATE offsets SET next_offset = next_offset + 1")
        connection.commit()
        page = open_page(watched, dashboard)
        expect(page.locator("#status")).to_contain_text("another process may hold it locked", timeout=2 * SOON_MS)
    expect(page.locator("#status")).to_contain_text("Live.", timeout=2 * SOON_MS)


def test_a_paused_page_stands_still_until_it_is_resumed(
    watched: Watched, dashboard: DashboardProcess, store: StoreBuilder
) -> None:
    write_some(store)
    page = open_page(watched, dashboard)
    expect(page.locator("#status")).to_contain_text("Live.", timeout=SOON_MS)

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#notice")).to_contain_text("Paused. Last update")
    page.wait_for_timeout(1_000)
    store.add_reviews(store.add_source("t2"), [Scored(datetime.now(tz=UTC), 4, text="written while paused")])
    page.wait_for_timeout(2_000)
    expect(page.locator("#newest")).not_to_contain_text("written while paused")

    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#newest")).to_contain_text("written while paused", timeout=SOON_MS)


def test_times_are_those_of_the_viewer(watched: Watched, dashboard: DashboardProcess, store: StoreBuilder) -> None:
    write_some(store)
    page = open_page(watched, dashboard)
    india = datetime.now(tz=UTC) + timedelta(hours=5, minutes=30)

    expect(page.locator("#status")).to_contain_text(f"Last update {india:%H:}", timeout=SOON_MS)


def test_a_refresh_moves_nothing_on_the_page(
    watched: Watched, dashboard: DashboardProcess, store: StoreBuilder
) -> None:
    write_some(store)
    page = open_page(watched, dashboard)
    expect(page.locator("#status")).to_contain_text("Live.", timeout=SOON_MS)
    page.wait_for_timeout(500)
    places = [page.locator(f"#{name}").bounding_box() for name in ("tiles", "shares", "stars", "rate", "newest")]

    source = store.add_source("t2")
    store.add_reviews(source, [Scored(datetime.now(tz=UTC), 1, text="long " * 100, title="long " * 50)] * 10)
    expect(page.locator("#newest")).to_contain_text("long long", timeout=SOON_MS)

    after = [page.locator(f"#{name}").bounding_box() for name in ("tiles", "shares", "stars", "rate", "newest")]
    assert [box and (box["x"], box["y"], box["width"]) for box in after] == [
        box and (box["x"], box["y"], box["width"]) for box in places
    ]


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_screen(
    watched: Watched, dashboard: DashboardProcess, store: StoreBuilder, width: int
) -> None:
    store.add_reviews(store.add_source("t1"), [Scored(datetime.now(tz=UTC), 1, text="w" * 400, title="W" * 200)])
    watched.page.set_viewport_size({"width": width, "height": 800})
    page = open_page(watched, dashboard)
    expect(page.locator("#newest")).to_contain_text("wwww", timeout=SOON_MS)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
