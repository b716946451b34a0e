"""The five classes, in the one order that every array, column and figure uses."""

from typing import Final, Literal, get_args

Label = Literal["very negative", "negative", "neutral", "positive", "very positive"]

LABELS: Final[tuple[Label, ...]] = get_args(Label)

COLOURS: Final[dict[Label, str]] = {
    "very negative": "#c2303f",
    "negative": "#ee9a80",
    "neutral": "#b3b7bb",
    "positive": "#7fb5de",
    "very positive": "#2a72b5",
}
"""Red over grey to blue, told apart with red-green and blue-yellow blindness, and on white and on near black."""


def label_of_stars(stars: float) -> Label:
    """Return the label of a rating of 1 to 5 stars; half stars round up.

    Raises ValueError outside 1 to 5.

    >>> label_of_stars(1), label_of_stars(3.0), label_of_stars(4.5)
    ('very negative', 'neutral', 'very positive')
    """
    return LABELS[class_of_stars(stars)]


def class_of_stars(stars: float) -> int:
    """Return the class index (0 to 4) of a rating of 1 to 5 stars; half stars round up.

    Raises ValueError outside 1 to 5.

    >>> class_of_stars(1), class_of_stars(2.5)
    (0, 2)
    """
    if not 1 <= stars <= 5:
        raise ValueError(f"{stars} stars is not 1 to 5")
    return int(stars + 0.5) - 1


def stars_of_label(label: Label) -> int:
    """Return the stars (1 to 5) that a label stands for.

    >>> stars_of_label("very positive")
    5
    """
    return LABELS.index(label) + 1
