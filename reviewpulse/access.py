"""Who may ask our HTTP servers: the one token, as clients send it, and without one how they call the server."""

import hmac
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

FOREIGN_NAME: Final = "call this server by its address or as localhost, or set REVIEWPULSE_TOKEN"
"""What to tell those who call a server without a token by a name that is not its own, beside the status 421."""


def is_authorised(header: str | None, token: SecretStr | None) -> bool:
    """Return whether an Authorization header shows the token; always, where no token is set.

    The time it takes does not tell how much of a guess was right.

    >>> token = SecretStr("of sixteen letters")
    >>> is_authorised("Bearer of sixteen letters", token), is_authorised("Bearer guess", token)
    (True, False)
    >>> is_authorised(None, token), is_authorised(None, None)
    (False, True)
    """
    if token is None:
        return True
    scheme, _, credentials = (header or "").partition(" ")
    return scheme.lower() == "bearer" and is_token(credentials.strip(), token)


def is_token(guess: str, token: SecretStr) -> bool:
    """Return whether a guess is the token, in a time that does not depend on where they differ."""
    return hmac.compare_digest(
        guess.encode(errors="surrogatepass"), token.get_secret_value().encode(errors="surrogatepass")
    )


def is_own_name(header: str | None, host: str) -> bool:
    """Return whether a Host header calls a server by an address, as localhost or as the host that it listens on.

    A web page whose name was made to resolve to this machine (DNS rebinding) has another name there, never an address.

    >>> is_own_name("127.0.0.1:8050", "127.0.0.1"), is_own_name("[::1]:8050", "::1"), is_own_name("box", "box")
    (True, True, True)
    >>> is_own_name("127.0.0.1.evil.example:8050", "127.0.0.1"), is_own_name(None, "127.0.0.1")
    (False, False)
    """
    try:
        name = urlsplit(f"//{header or ''}").hostname or ""
        return name in ("localhost", host.lower()) or ip_address(name) is not None
    except ValueError:
        return False


def danger_of(address: str, token: SecretStr | None, told: str) -> str:
    """Return what to warn of when a server that tells something listens on an IP address, or nothing.

    >>> danger_of("0.0.0.0", None, "the reviews")
    'everyone who can reach 0.0.0.0 reads the reviews; set REVIEWPULSE_TOKEN, or listen on 127.0.0.1'
    >>> danger_of("127.0.0.1", None, "the reviews"), danger_of("0.0.0.0", SecretStr("x" * 16), "the reviews")
    ('', '')
    """
    if token is not None or ip_address(address).is_loopback:
        return ""
    return f"everyone who can reach {address} reads {told}; set REVIEWPULSE_TOKEN, or listen on 127.0.0.1"
