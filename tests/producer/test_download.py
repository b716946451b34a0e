"""A category arrives whole, whatever the connection does in between."""

import gzip
import http.server
import random
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producer.download import fetch
from reviewpulse.categories import CATEGORIES
from reviewpulse.errors import DownloadError
from reviewpulse.progress import Status

CONTENT = gzip.compress(random.Random(1).randbytes(300_000))
NAME = "Gift_Cards.jsonl.gz"


class Server(http.server.ThreadingHTTPServer):
    """A file server on loopback; its attributes say how it behaves, `asked` what it was asked for."""

    content = CONTENT
    etag: str | None = '"one"'
    modified: str | None = None
    knows_ranges = True
    drops_after: int | None = None
    """Bytes of each answer, after which the connection is cut."""
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/review_categories"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        content, start = self.server.content, 0
        validator = self.server.etag or self.server.modified
        if asked and self.server.knows_ranges and self.headers.get("If-Range") == validator:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in (("ETag", self.server.etag), ("Last-Modified", self.server.modified)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if self.server.drops_after is None else start + self.server.drops_after
        self.wfile.write(content[start:end])

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def cut_short(server: Server, into: Path, sent_bytes: int) -> None:
    """Leave a partial file behind, as a first attempt that is ended half way does."""
    server.drops_after, server.knows_ranges = sent_bytes, False
    with pytest.raises(DownloadError):
        fetch("Gift_Cards", into, base_url=server.url)
    server.drops_after, server.knows_ranges = None, True
    server.asked.clear()


def test_a_category_arrives_whole_and_under_its_name(server: Server, tmp_path: Path) -> None:
    shown: list[Status] = []

    class Progress:
        def show(self, status: Status) -> None:
            shown.append(status)

    path = fetch("Gift_Cards", tmp_path / "new", base_url=server.url, progress=Progress())
    assert path == tmp_path / "new" / NAME
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == [NAME]
    assert (shown[-1].done, shown[-1].total) == (len(CONTENT), len(CONTENT))


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize(("etag", "modified"), [('"one"', None), ('W/"weak"', "Mon, 01 Jan 2024 00:00:00 GMT")])
def test_a_connection_that_keeps_dropping_is_taken_up_again(
    server: Server, tmp_path: Path, etag: str, modified: str | None
) -> None:
    server.drops_after = 100_000
    server.etag, server.modified = (None, modified) if modified else (etag, None)
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_later_run_goes_on_where_the_first_one_stopped(server: Server, tmp_path: Path) -> None:
    cut_short(server, tmp_path, 120_000)
    assert not (tmp_path / NAME).exists()
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == CONTENT
    assert server.asked == ["bytes=120000-"]


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(server: Server, tmp_path: Path) -> None:
    cut_short(server, tmp_path, 120_000)
    server.etag, server.content = '"two"', gzip.compress(b"changed" * 50_000)
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == server.content


def test_a_server_without_ranges_sends_from_the_start(server: Server, tmp_path: Path) -> None:
    cut_short(server, tmp_path, 120_000)
    server.knows_ranges = False
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == CONTENT


def test_a_server_that_names_no_version_sends_from_the_start(server: Server, tmp_path: Path) -> None:
    server.etag = None
    cut_short(server, tmp_path, 120_000)
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_weak_etag_is_no_version_to_resume(server: Server, tmp_path: Path) -> None:
    server.etag = 'W/"one"'
    cut_short(server, tmp_path, 120_000)
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_partial_file_that_is_already_whole_only_gets_its_name(server: Server, tmp_path: Path) -> None:
    cut_short(server, tmp_path, 120_000)
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    cut_short(server, tmp_path, 120_000)
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT + b"more")
    with pytest.raises(DownloadError, match=r"did not send the .* bytes it promised; run it again"):
        fetch("Gift_Cards", tmp_path, base_url=server.url)
    assert fetch("Gift_Cards", tmp_path, base_url=server.url).read_bytes() == CONTENT


def test_something_else_than_gzip_is_refused(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="is no gzip file; is a login page in between"):
        fetch("Gift_Cards", tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_refuses_is_quoted(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=f"{NAME} answered {status} .*try again later"):
        fetch("Gift_Cards", tmp_path, base_url=server.url)


def test_being_offline_names_the_host_and_the_cure(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"cannot fetch from 127\.0\.0\.1 .*check the connection and run it again"):
        fetch("Gift_Cards", tmp_path, base_url="http://127.0.0.1:9")


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"cannot write .*file/Gift_Cards.*use --into"):
        fetch("Gift_Cards", tmp_path / "file", base_url=server.url)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("Gift_Card", "did you mean Gift_Cards?"), ("books", "did you mean Books"), ("xyzzy", "there are All_Beauty, ")],
)
def test_an_unknown_category_gets_the_nearest_names(tmp_path: Path, typed: str, hint: str) -> None:
    with pytest.raises(DownloadError, match=re.escape(hint)):
        fetch(typed, tmp_path)


def test_the_34_official_categories_are_known() -> None:
    assert len(set(CATEGORIES)) == 34
