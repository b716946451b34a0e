"""The dashboard behind its token: programs, browsers, and those who have neither token nor login."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard.servers import DashboardProcess
from tests.dashboard.stores import Scored, StoreBuilder
from tests.integration.browsers import NAME, SOON_MS, Watched, needs_chromium

TOKEN = "a token of the tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATHS = ("/", "/_dash-layout", "/_dash-dependencies", "/assets/heartbeat.js", "/assets/page.css", "/nowhere", "/docs")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DashboardProcess]:
    process = DashboardProcess(f"sqlite:///{tmp_path_factory.mktemp('gate') / 'store.db'}", REVIEWPULSE_TOKEN=TOKEN)
    yield process
    process.kill()


@pytest.fixture
def client(dashboard: DashboardProcess) -> Iterator[httpx.Client]:
    """A client from an address that no other test asks from: wrong tokens are counted by address."""
    address = f"127.0.1.{next(_numbers)}"
    with httpx.Client(base_url=dashboard.address, transport=httpx.HTTPTransport(local_address=address)) as client:
        yield client


_numbers = iter(range(1, 250))


def script_of_dash(client: httpx.Client) -> str:
    """Return the path of a script that the page loads from Dash's own packages."""
    return re.findall(r'src="(/_dash-component-suites/[^"]+)"', client.get("/", headers=BEARER).text)[0]


def test_without_token_nothing_is_served_but_the_login(client: httpx.Client) -> None:
    for path in (*PATHS, script_of_dash(client)):
        for method in ("GET", "POST", "PUT", "HEAD", "OPTIONS"):
            answer = client.request(method, path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)
    assert client.post("/_dash-update-component", json={}).status_code == 401
    browser = client.get("/", headers={"Accept": "text/html"})
    assert (browser.status_code, browser.headers["location"]) == (303, "/login")
    assert client.get("/login").text.count("<form") == 1


def test_with_the_token_a_program_gets_all(client: httpx.Client) -> None:
    for path in ("/", "/_dash-layout", "/assets/page.css", script_of_dash(client)):
        assert client.get(path, headers=BEARER).status_code == 200, path


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_cannot_use_and_a_logout_takes_it(
    client: httpx.Client,
) -> None:
    answer = client.post("/login", data={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    said = answer.headers["set-cookie"].lower()
    assert TOKEN not in said
    assert {"httponly", "samesite=strict", "max-age=43200"} <= set(said.split("; "))
    assert client.get("/_dash-layout").status_code == 200

    client.post("/logout")
    assert client.get("/_dash-layout").status_code == 401


PROXIED = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}


@pytest.mark.parametrize("trusted", ["127.0.0.1", ""])
def test_only_a_trusted_proxy_is_believed(tmp_path: Path, trusted: str) -> None:
    settings = {"REVIEWPULSE_TOKEN": TOKEN, "REVIEWPULSE_TRUSTED_PROXIES": trusted}
    process = DashboardProcess(f"sqlite:///{tmp_path / 'store.db'}", **settings)
    try:
        with httpx.Client(base_url=process.address, headers={"X-Forwarded-Proto": "https"}) as proxy:
            cookie = proxy.post("/login", data={"token": TOKEN}).headers["set-cookie"].lower()
            proxy.cookies.clear()
            assert ("secure" in cookie.split("; ")) == bool(trusted)
            for number in range(10):
                proxy.get("/", headers={"Authorization": "Bearer wrong", "X-Forwarded-For": f"203.0.113.{number}"})
            answer = proxy.get("/", headers=BEARER | {"X-Forwarded-For": "203.0.113.99"})
            assert answer.status_code == (200 if trusted else 429)
    finally:
        process.kill()


def test_a_cookie_that_was_not_signed_here_lets_nobody_in(client: httpx.Client) -> None:
    cookie = client.post("/login", data={"token": TOKEN}).cookies["reviewpulse"]
    client.cookies.clear()
    for forged in (cookie[:-2], "let in", cookie.replace("let in", "let me"), "", "\\x00", "a.b.c", "null"):
        assert client.get("/", headers={"Cookie": f"reviewpulse={forged}"}).status_code == 401, forged


def test_a_login_ends(tmp_path: Path) -> None:
    process = DashboardProcess(
        f"sqlite:///{tmp_path / 'store.db'}", REVIEWPULSE_TOKEN=TOKEN, REVIEWPULSE_LOGIN_HOURS=str(1 / 3600)
    )
    try:
        with httpx.Client(base_url=process.address) as client:
            cookie = client.post("/login", data={"token": TOKEN}).headers["set-cookie"].partition(";")[0]
            assert client.get("/", headers={"Cookie": cookie}).status_code == 200
            time.sleep(2.1)  # whole seconds are counted
            assert client.get("/", headers={"Cookie": cookie}).status_code == 401
    finally:
        process.kill()


@pytest.mark.parametrize("way", ["form", "header"])
def test_wrong_tokens_are_limited_and_then_even_the_right_one_waits(client: httpx.Client, way: str) -> None:
    def attempt(token: str) -> httpx.Response:
        if way == "form":
            return client.post("/login", data={"token": token})
        return client.get("/", headers={"Authorization": f"Bearer {token}"})

    assert [attempt("wrong").status_code for _ in range(10)] == [401] * 10
    refused = attempt(TOKEN)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60


ELSEWHERE = ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"})


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_forms_of_other_sites_neither_lock_out_nor_log_out(client: httpx.Client, headers: dict[str, str]) -> None:
    for _ in range(11):
        assert client.post("/login", data={"token": "wrong"}, headers=headers).status_code == 403
    assert client.post("/login", data={"token": TOKEN}).status_code == 303

    answer = client.post("/logout", headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_a_body_beyond_the_limit_is_refused_with_and_without_a_stated_length(client: httpx.Client) -> None:
    too_much = b"x" * 65_537
    pieces = [b"x" * 1_000] * 70
    for path in ("/login", "/_dash-update-component", "/"):
        assert client.post(path, content=too_much, headers=BEARER).status_code == 413, path
        assert client.post(path, content=iter(pieces), headers=BEARER).status_code == 413, path
    assert client.post("/login", content=b"token=" + b"x" * 60_000).status_code == 401


def test_every_answer_carries_the_security_headers(client: httpx.Client) -> None:
    for path, headers in (("/", BEARER), ("/", {}), ("/login", {}), ("/assets/page.css", BEARER)):
        answer = client.get(path, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        assert policy["frame-ancestors"] == "'none'"
        assert policy["default-src"] == "'none'"
        assert "unsafe" not in policy["script-src"]


def test_the_token_is_not_in_the_log(dashboard: DashboardProcess, client: httpx.Client) -> None:
    client.post("/login", data={"token": TOKEN})
    client.get("/", headers=BEARER)
    assert TOKEN not in "".join(dashboard.log)


@needs_chromium
def test_a_browser_logs_in_where_it_tells_the_origin_only(browser: Browser, dashboard: DashboardProcess) -> None:
    page = browser.new_page()
    page.goto(f"http://{NAME}:{dashboard.port}/login")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"http://{NAME}:{dashboard.port}/")
    page.close()


@needs_chromium
def test_a_browser_logs_in_lives_lives_and_logs_out(browser: Browser, tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    store.add_reviews(store.add_source("t1"), [Scored(datetime.now(tz=UTC), 5, text="behind the gate")])
    process = DashboardProcess(store.url, REVIEWPULSE_TOKEN=TOKEN)
    try:
        watched = Watched(browser.new_context().new_page())
        page = watched.page
        page.goto(process.address)
        expect(page).to_have_url(f"{process.address}/login")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("That is not the token")
        page.get_by_label("Token").fill(TOKEN)
        watched.complaints.clear()  # the browser complains of the 401
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#newest")).to_contain_text("behind the gate", timeout=SOON_MS)
        expect(page.locator("#status")).to_contain_text("Live.")
        assert watched.complaints == []

        page.context.clear_cookies()  # as when the login's time is over
        expect(page.get_by_label("Token")).to_be_visible(timeout=3 * SOON_MS)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#newest")).to_contain_text("behind the gate", timeout=SOON_MS)
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        page.context.close()
    finally:
        process.kill()
        store.close()
