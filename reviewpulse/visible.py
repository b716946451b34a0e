"""Foreign text made harmless for a terminal: whatever could steer it is spelled out instead of sent."""

import logging
from typing import Final

_CUT: Final = " ..."


def visible(text: str) -> str:
    r"""Return text in which every character that is not printable, line ends apart, stands as an escape.

    Control characters, terminal escapes, marks that turn the direction of writing, characters without width and
    lone surrogates are among them.

    >>> visible("red \x1b[31m\u202e\ud800 \r\nnext")
    'red \\x1b[31m\\u202e\\ud800 \\r\nnext'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else _escape(letter) for letter in text)


def visible_line(text: str, most_characters: int) -> str:
    r"""Return the beginning of a text as one line, at most so many characters long.

    >>> visible_line("a\nb\x07", 80), visible_line("abcdefgh", 6)
    ('a\\nb\\x07', 'ab ...')
    """
    line = visible(text[: most_characters + 1]).replace("\n", "\\n")
    return line if len(line) <= most_characters else line[: max(most_characters - len(_CUT), 0)] + _CUT


def visible_json(encoded: bytes) -> bytes:
    r"""Return JSON that means the same, with whatever could steer a terminal as \u escapes.

    >>> visible_json('{"a":"caf\xe9 \x9b31m"}'.encode()).decode()
    '{"a":"caf\xe9 \\u009b31m"}'
    """
    text = encoded.decode()
    if text.isprintable():
        return encoded
    return "".join(letter if letter.isprintable() else _json_escape(letter) for letter in text).encode()


class VisibleFormatter(logging.Formatter):
    """Log lines in which names and reasons from somewhere are spelled out likewise."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and lines of a traceback, made visible."""
        return visible(super().format(record))


def as_text(raw: bytes) -> str:
    r"""Return bytes as text; those that are not UTF-8 stand as \xNN.

    >>> as_text(b"caf\xe9")
    'caf\\xe9'
    """
    return raw.decode(errors="backslashreplace")


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[start : start + 2].hex()}" for start in range(0, len(units), 2))
