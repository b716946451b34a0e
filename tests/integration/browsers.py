"""A real browser, and a page that keeps what happens in it."""

import shutil

import pytest
from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium")
NAME = "reviewpulse.test"
"""This machine for the browser, which trusts it less than loopback."""

ARGUMENTS = [
    f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SOON_MS = 8_000

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: run scripts/debian-packages.sh")


class Watched:
    """A page that keeps what the browser complains about and every address that it asks."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.addresses: set[str] = set()
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.addresses.add(request.url))
