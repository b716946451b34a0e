"""Titles that say nothing but the stars, such as the 'Five Stars' that Amazon filled in: they give the rating away."""

import re
from typing import Final

_NUMBERS: Final = ("one", "two", "three", "four", "five")
_STARS: Final = re.compile(rf"\W*({'|'.join(_NUMBERS)}|[1-5])\W*stars?\W*", re.IGNORECASE)


def stars_of_title(title: str) -> int | None:
    """Return the stars that a title says when it says nothing else, else None.

    >>> stars_of_title("Five Stars"), stars_of_title("1 star!"), stars_of_title("Five stars for the price")
    (5, 1, None)
    """
    said = _STARS.fullmatch(title)
    if said is None:
        return None
    number = said[1].lower()
    return _NUMBERS.index(number) + 1 if number in _NUMBERS else int(number)


def says_only_stars(model_text: str) -> bool:
    """Return whether the title of what a model reads (see reviewpulse.text.model_text) says nothing but the stars.

    >>> says_only_stars("Five Stars | works well"), says_only_stars("five stars")
    (True, False)
    """
    title, bar, _ = model_text.partition(" | ")
    return bool(bar) and stars_of_title(title) is not None
