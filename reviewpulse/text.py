"""The only text preparation there is, for training and scoring alike."""

import html
import re
import unicodedata
from typing import Final

CLEANING_VERSION: Final = 1
"""Goes up with every change of what `clean` or `model_text` return; a checkpoint records its own."""

LONGEST_TEXT: Final = 20_000
"""Characters of a text that are looked at: many times what a model reads, and few enough that no text, however
long or hostile, holds up the stream."""

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>|<!--[^>]{0,500}-->")
_HUGE_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{8,};?")  # no character has such a number; html.unescape raises
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff\ud800-\udfff]")
_UNSEEN = re.compile(
    r"[\u061c\u2061-\u206f\ufff9-\uffff\U000e0000-\U000e0fff]"
)  # of display only: not in CLEANING_VERSION
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    r"""Return text as a reader sees it: no tags, entities, control characters or runs of spaces.

    Entities are resolved twice, since shops ship them escaped twice; a `<` that opens no tag stays.
    What lies behind the first LONGEST_TEXT characters is left out.

    >>> clean("Great&nbsp;sound<br />not &amp;#34;loud&amp;#34;\x00 <3")
    'Great sound not "loud" <3'
    """
    text = _unescape(text[:LONGEST_TEXT])
    text = _TAG.sub(" ", text)
    text = _NOT_TEXT.sub(" ", text)
    text = unicodedata.normalize("NFC", text)
    return _SPACES.sub(" ", text).strip()


def has_text(text: str) -> bool:
    """Return whether anything is left of a text after cleaning; quick for a text that begins with a letter.

    >>> has_text(" fine"), has_text("<br />&nbsp;")
    (True, False)
    """
    return text.lstrip()[:1].isalnum() or bool(clean(text))


def readable(text: str) -> str:
    """Return text to show to people: entities and line breaks resolved, any other markup left to be seen.

    The caller shows it as text, never as markup.

    >>> readable("Loud &amp; clear<br />Buy <b>two</b>")
    'Loud & clear Buy <b>two</b>'
    """
    return visible(_BREAK.sub(" ", _unescape(text[:LONGEST_TEXT])))


def visible(text: str) -> str:
    r"""Return text on one line without what a terminal or a browser would obey unseen.

    That is control characters, changes of direction, and characters of no width.

    >>> visible("\x1b[31mred\n\u202etxt.exe\u2066")
    '[31mred txt.exe'
    """
    return _SPACES.sub(" ", _UNSEEN.sub(" ", _NOT_TEXT.sub(" ", text))).strip()


def model_text(title: str, text: str) -> str:
    """Return what the model reads of one review: the cleaned title, a bar, the cleaned text.

    >>> model_text("Loud", "but good")
    'Loud | but good'
    >>> model_text("", "no title")
    'no title'
    """
    title, text = clean(title), clean(text)
    return f"{title} | {text}" if title and text else title or text


def _unescape(text: str) -> str:
    for _ in range(2):
        text = html.unescape(_HUGE_REFERENCE.sub(" ", text))
    return text
