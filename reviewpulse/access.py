"""Who may ask our HTTP servers: the one token, as clients send it."""

import hmac

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
