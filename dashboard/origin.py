"""Where a form was sent from: a page of this server, or one of another site in the same browser."""

from collections.abc import Mapping
from typing import Final

_OURS: Final = ("same-origin", "none")  # none: the user's own doing, such as a reload


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that another site's page sends a request; programs say nothing.

    Sec-Fetch-Site decides where there is one, for it holds behind a proxy that changes Host. Browsers send it over TLS
    and on loopback, else Origin only.

    >>> is_cross_site({"sec-fetch-site": "cross-site"}), is_cross_site({"sec-fetch-site": "same-origin"})
    (True, False)
    >>> is_cross_site({"origin": "http://a.example", "host": "b:8050"}), is_cross_site({"host": "b:8050"})
    (True, False)
    """
    if "sec-fetch-site" in headers:
        return headers["sec-fetch-site"] not in _OURS
    return "origin" in headers and headers["origin"].partition("://")[2] != headers.get("host")
