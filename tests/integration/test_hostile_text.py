"""Reviews that would be markup, code or commands are shown as what they are: text. In a real browser."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard import parts, words
from tests.dashboard.servers import DashboardProcess
from tests.dashboard.stores import Scored, StoreBuilder
from tests.integration.browsers import SOON_MS, Watched, needs_chromium

pytestmark = needs_chromium


class Canary:
    """A server on loopback that nobody has a reason to ask."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        canary = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canary.asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def attacks(url: str) -> list[str]:
    """Return texts that run something, load something or draw something where they are taken for more than text."""
    return [
        f"<script>window.pwned=1;fetch('{url}/script')</script>",
        f"<img src='{url}/img' onerror='window.pwned=2;alert(1)'>",
        f"<svg onload='window.pwned=3'><image href='{url}/svg'/></svg>",
        f"<iframe src='{url}/frame' srcdoc='<script>parent.pwned=4</script>'></iframe>",
        f"<a href='javascript:window.pwned=5'>click</a> <link rel=stylesheet href='{url}/css'>",
        f"[click](javascript:window.pwned=6) ![image]({url}/markdown) <{url}/auto> **bold** `code` # head",
        f"<b>bold</b> <i>it</i> <a href='{url}/plotly'>plotly</a> <sup>up</sup> <span style='color:red'>x</span>",
        "</div></td></table><script>window.pwned=7</script><style>body{display:none}</style>",
        "{{constructor.constructor('window.pwned=8')()}} ${window.pwned=9} <%= 7*7 %> $x^2$",
        "&lt;script&gt;window.pwned=10&lt;/script&gt; &amp;lt;img src=x onerror=window.pwned=11&amp;gt;",
        '{"props": {"children": "x", "dangerouslySetInnerHTML": {"__html": "<img src=x>"}}, "type": "Markdown"}',
        "\x1b[31mred\x1b[0m \u202etxt.exe\u202c \u2066isolated \u200bzero\u200dwidth\ufeff nul\x00nul \U0001f600",
        "w" * 20_000,
        "<" * 5_000,
        "\u0e49" * 3_000 + "Z\u0351\u036b\u0343" * 500,
    ]


@pytest.fixture
def canary() -> Iterator[Canary]:
    canary = Canary()
    yield canary
    canary.close()


INJECTED = ("script", "style", "link", "img", "image", "iframe", "a", "b", "i", "sup", "code", "h1", "form", "input")


def elements(page: Page) -> dict[str, int]:
    """Return how many elements of each kind a review could inject the whole document has."""
    return {kind: page.locator(kind).count() for kind in INJECTED}


def test_hostile_reviews_are_shown_and_neither_run_nor_drawn_nor_fetched(
    browser: Browser, canary: Canary, tmp_path: Path
) -> None:
    store = StoreBuilder(tmp_path)
    process = DashboardProcess(store.url)
    context = browser.new_context(bypass_csp=True)  # the text alone must be harmless
    watched, dialogs = Watched(context.new_page()), list[str]()
    page = watched.page
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    now = datetime.now(tz=UTC)
    texts = attacks(canary.url)
    try:
        plain = Scored(now, 3, text="plain", title="plain", asin="plain", category="plain", model="plain")
        store.add_reviews(store.add_source("t1"), [plain] * 15)
        page.goto(process.address)
        expect(page.locator("#newest tbody tr")).to_have_count(15, timeout=SOON_MS)
        page.locator("#shares").hover()  # for which plotly brings styles
        page.wait_for_timeout(500)
        before = elements(page)

        hostile = [Scored(now, 3, text=text, title=text, asin=text, category=text, model=text) for text in texts]
        store.add_reviews(store.add_source("t2", topic=texts[0]), hostile)
        expect(page.locator("#newest")).not_to_contain_text("plain", timeout=SOON_MS)
        page.wait_for_timeout(1_500)

        assert elements(page) == before
        kinds = page.evaluate("[...new Set([...document.querySelectorAll('#newest *')].map(e => e.tagName))].sort()")
        assert kinds == ["DIV", "SPAN", "TABLE", "TBODY", "TD", "TH", "THEAD", "TR"]
        assert page.evaluate("[window.pwned, Object.keys(Object.prototype).length]") == [None, 0]
        assert (dialogs, canary.asked) == ([], [])
        assert not [address for address in watched.addresses if not address.startswith((process.address, "data:"))]
        shown = page.locator("#newest .text").all_text_contents()
        stored = (text.partition("\x00")[0] for text in texts)  # where SQLite's substr ends
        assert sorted(shown) == sorted(words.cut(text, parts.TEXT_WIDTH) for text in stored)
        assert all(text.isprintable() for text in shown)
        assert "<script>window.pwned=1;" in "".join(shown)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.locator("#status").inner_text().startswith("Live.")
        assert watched.complaints == []
    finally:
        context.close()
        process.kill()
        store.close()
