"""The store's address: a SQLAlchemy URL in, and how messages name it without its password."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from reviewpulse.errors import StoreError

_HIDDEN: Final = "***"
_SECRET_OPTIONS: Final = ("password", "sslpassword")
"""Options of a PostgreSQL URL's query that are secrets too."""


def parse_store_url(url: str) -> URL:
    """Return the URL of a store, postgresql:// with its driver; raises StoreError on what is no URL of one.

    >>> parse_store_url("postgresql://me@db.example.org/reviews").drivername
    'postgresql+psycopg'
    """
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # the error may repeat the URL with its password: not kept as cause
        raise StoreError(
            "REVIEWPULSE_STORE is no SQLAlchemy URL; write for example sqlite:///reviewpulse.db "
            "or postgresql+psycopg://user:password@host/database"
        ) from None
    is_server = parsed.get_backend_name() != "sqlite"
    if is_server and url.count("@") > (parsed.username is not None):
        raise StoreError(  # else a part of the password would be taken for a host, a database or an option, and shown
            "REVIEWPULSE_STORE has an @ or a / where none may be; in a user name, a password or an option "
            "write %40 for @ and %2F for /"
        )
    if not is_server and (parsed.database or ":memory:").startswith((":memory:", "file:")):
        raise StoreError(
            "REVIEWPULSE_STORE names no file that others can read; write for example sqlite:///reviewpulse.db"
        )
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def store_name(url: URL) -> str:
    """Return the URL as messages show it, without its secrets.

    >>> store_name(make_url("postgresql://me:hush@db/reviews?sslpassword=hush"))
    'postgresql://me:***@db/reviews'
    """
    return url.difference_update_query(_SECRET_OPTIONS).render_as_string()


def store_fault(error: BaseException, url: URL) -> str:
    """Return the first line of what a database says went wrong, without the URL's secrets."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    said = lines[0] if lines else type(error).__name__
    for secret in _secrets(url):
        said = said.replace(secret, _HIDDEN)
    return said


def _secrets(url: URL) -> list[str]:
    options = [url.query.get(name, "") for name in _SECRET_OPTIONS]
    texts = [url.password or "", *(option for option in options if isinstance(option, str))]
    return [text for text in texts if text]
