"""Takes a picture of a running dashboard: `screenshot_dashboard.py ADDRESS OUT.png [--dark] [--width 1400]`."""

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def take_screenshot(address: str, out: Path, *, width: int, height: int | None, is_dark: bool, chromium: str) -> None:
    """Write the page at an address to a PNG once its charts are drawn; without a height the whole page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height or 900},
            color_scheme="dark" if is_dark else "light",
            device_scale_factor=2 if width < 600 else 1,
        )
        page.goto(address)
        page.locator("#shares .main-svg").first.wait_for()
        page.wait_for_function("document.querySelector('#status').textContent.includes('Last update')")
        page.wait_for_timeout(1500)
        page.screenshot(path=out, full_page=height is None)
        browser.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="for example http://127.0.0.1:8050")
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--dark", action="store_true", help="as a reader with a dark desktop sees it")
    parser.add_argument("--width", type=int, default=1400, help="width in pixels; 390 is a phone")
    parser.add_argument("--height", type=int, help="height in pixels; the whole page when left out")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser to use")
    given = parser.parse_args()
    take_screenshot(
        given.address,
        given.out,
        width=given.width,
        height=given.height,
        is_dark=given.dark,
        chromium=given.chromium,
    )


if __name__ == "__main__":
    main()
