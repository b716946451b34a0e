"""Fetches a category of Amazon Reviews 2023; an interrupted download goes on where it stopped."""

import difflib
import os
import time
from pathlib import Path
from typing import Final

import httpx

from reviewpulse.categories import CATEGORIES
from reviewpulse.errors import DownloadError
from reviewpulse.progress import Progress, RateMeter, SilentProgress, Status

BASE_URL: Final = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/review_categories"

_GZIP_MAGIC: Final = b"\x1f\x8b"
_SECONDS_OF_SILENCE: Final = 30.0


class _Partial:
    """The bytes fetched so far, in `<name>.part`, and beside it the validator of the remote version they are of."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self._validator_path = target.with_name(target.name + ".part.version")

    @property
    def fetched_bytes(self) -> int:
        """How many bytes are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str | None:
        """The ETag or date of the remote version, None when the rest of it cannot be asked for."""
        return self._validator_path.read_text() if self.fetched_bytes and self._validator_path.exists() else None

    def restart(self, validator: str | None) -> None:
        """Empty it, for a version that may have no validator."""
        self.path.write_bytes(b"")
        self._validator_path.write_text(validator or "")

    def finish(self) -> None:
        """Give the whole file its name, at once and for good."""
        with self.path.open("rb") as file:
            is_gzip = file.read(2) == _GZIP_MAGIC
            os.fsync(file.fileno())
        if not is_gzip:
            self.discard()
            raise DownloadError(f"what came instead of {self.target.name} is no gzip file; is a login page in between?")
        self.path.replace(self.target)
        self._validator_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._validator_path.unlink(missing_ok=True)


def fetch(category: str, into: Path, *, base_url: str = BASE_URL, progress: Progress | None = None) -> Path:
    """Return the path of a category's file in the folder `into`, fetched unless it is there already.

    A connection that drops is taken up again for as long as every attempt brings something. Raises
    DownloadError, with the cure, for an unknown category, a server that cannot be reached or
    refuses, and a disk that cannot take the file.
    """
    check_category(category)
    name = f"{category}.jsonl.gz"
    partial = _Partial(into / name)
    if partial.target.exists():
        return partial.target
    url = httpx.URL(f"{base_url.rstrip('/')}/{name}")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with httpx.Client(follow_redirects=True, timeout=_SECONDS_OF_SILENCE) as client:
            while not _fetch_some(client, url, partial, progress or SilentProgress()):
                pass
        partial.finish()
    except OSError as exc:
        raise DownloadError(f"cannot write {partial.target}: {exc.strerror}; make room there or use --into") from exc
    return partial.target


def check_category(category: str) -> None:
    """Raise DownloadError, with the nearest names, unless it is a category of Amazon Reviews 2023.

    >>> check_category("gift cards")
    Traceback (most recent call last):
    ...
    reviewpulse.errors.DownloadError: no category 'gift cards'; did you mean Gift_Cards?
    """
    if category in CATEGORIES:
        return
    by_lower = {name.lower(): name for name in CATEGORIES}
    near = difflib.get_close_matches(category.lower().replace(" ", "_"), by_lower, n=3)
    hint = (
        f"did you mean {' or '.join(by_lower[name] for name in near)}?"
        if near
        else f"there are {', '.join(CATEGORIES)}"
    )
    raise DownloadError(f"no category {category!r}; {hint}")


def _fetch_some(client: httpx.Client, url: httpx.URL, partial: _Partial, progress: Progress) -> bool:
    """Fetch as much as one request brings; return whether the file is whole now.

    Raises DownloadError when the request brought nothing, or something else than the file.
    """
    bytes_before = partial.fetched_bytes
    headers = {"Accept-Encoding": "identity"}
    if partial.validator:
        headers |= {"Range": f"bytes={bytes_before}-", "If-Range": partial.validator}
    try:
        with client.stream("GET", url, headers=headers) as response:
            total_bytes = _take(response, partial, progress)
    except httpx.RequestError as exc:
        if partial.fetched_bytes > bytes_before:
            return False
        raise DownloadError(
            f"cannot fetch from {url.host} ({type(exc).__name__}: {exc}); check the connection and run it again: "
            "it goes on where it stopped"
        ) from exc
    if total_bytes is None or partial.fetched_bytes == total_bytes:
        return True
    partial.discard()
    raise DownloadError(f"{url.host} did not send the {total_bytes:,} bytes it promised; run it again")


def _take(response: httpx.Response, partial: _Partial, progress: Progress) -> int | None:
    """Add to the partial file what a response brings; return the whole file's bytes, None when not told."""
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _whole_bytes(response)
    if response.status_code == httpx.codes.OK:  # the first request, a changed file, or a server without ranges
        partial.restart(_validator(response))
    elif response.status_code != httpx.codes.PARTIAL_CONTENT:
        raise DownloadError(f"{response.url} answered {response.status_code} {response.reason_phrase}; try again later")
    elif _first_byte(response) != partial.fetched_bytes:
        raise DownloadError(f"{response.url.host} sent another range than it was asked for; delete {partial.path}")
    total_bytes = _whole_bytes(response)
    meter = RateMeter()
    with partial.path.open("ab") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            done_bytes = file.tell()
            rate = meter.rate_per_second(done_bytes, time.monotonic())
            progress.show(Status(done_bytes, total_bytes, f"{done_bytes / 1e6:,.1f} MB, {rate / 1e6:,.1f} MB/s"))
    return total_bytes


def _whole_bytes(response: httpx.Response) -> int | None:
    """Return the size of the whole file that a response is about, None when it does not say."""
    told = response.headers.get("Content-Range", "").rpartition("/")[2] or response.headers.get("Content-Length", "")
    return int(told) if told.isdigit() else None


def _first_byte(response: httpx.Response) -> int | None:
    """Return the position in the file that a partial response starts at."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else None


def _validator(response: httpx.Response) -> str | None:
    """Return what names this version of the file in If-Range: a strong ETag or the date (RFC 9110, 13.1.5)."""
    etag: str | None = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    last_modified: str | None = response.headers.get("Last-Modified")
    return last_modified
