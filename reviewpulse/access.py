"""Who may ask our HTTP servers: the one token, as clients send it."""

import hmac
from ipaddress import ip_address

from pydantic import SecretStr


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
