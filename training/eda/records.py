"""What an exploration finds, in the form of report.json; report.md and the figures show the same numbers."""

import msgspec

from reviewpulse.labels import Label


class FileCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One file's rows; a repeat is counted where it stands, also when the first form is in an earlier file."""

    name: str
    rows: int
    reviews: int
    unrated: int
    """Reviews without a rating."""
    exact_repeats: int
    """Reviews whose review_id, given or derived, has come before."""
    repeated_texts: int
    """Reviews whose title and text have come before but for case, spaces, punctuation (training.example.text_key)."""
    contradictions: int
    """Repeated texts whose class differs from the one that the text came with first."""

    @property
    def rejected(self) -> int:
        """Return how many rows are no review."""
        return self.rows - self.reviews


class Count(msgspec.Struct, frozen=True):
    """How many rows or reviews fall under a name, and their share (0 to 1) of all that could."""

    name: str
    count: int
    share: float


class ClassCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How often a class comes, in all rated reviews and among different texts; shares are 0 to 1."""

    label: Label
    reviews: int
    share: float
    texts: int
    text_share: float


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How a length is spread; p05 is the least length that 5% of the texts do not exceed, and so on. No estimate."""

    mean: float
    shortest: int
    p05: int
    p25: int
    median: int
    p75: int
    p95: int
    longest: int


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """The lengths of a class's different texts (title and text, cleaned); None where there is no text."""

    name: str
    """The class, or `all` with the unrated ones."""
    texts: int
    characters: Spread | None
    words: Spread | None


class Markup(msgspec.Struct, frozen=True, kw_only=True):
    """How many reviews hold HTML before cleaning, and how many are longer than cleaning looks at."""

    tags: int
    entities: int
    cut_texts: int


class StarTitles(msgspec.Struct, frozen=True, kw_only=True):
    """How many reviews have a title that says nothing but the stars; in how many of the rated it tells the class."""

    reviews: int
    rated: int
    telling: int


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A month (`2019-05`) or a year (`2019`), UTC."""

    name: str
    reviews: int
    class_counts: tuple[int, ...]
    """Rated reviews in label order."""
    mean_rating: float | None
    """Stars; None without a rated review."""


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A category's reviews, their share (0 to 1) of all, and their mean stars (None when all are unrated)."""

    name: str
    reviews: int
    share: float
    mean_rating: float | None


class TellingWord(msgspec.Struct, frozen=True, kw_only=True):
    """A word that a class's texts use more than the others: the shares (0 to 1) are of texts that use it."""

    word: str
    z: float
    texts: int
    share: float
    share_elsewhere: float


class ClassWords(msgspec.Struct, frozen=True):
    """A class's most telling words, the most telling first."""

    label: Label
    words: tuple[TellingWord, ...]


class VocabularyFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the telling words were chosen from."""

    texts: int
    words: int
    least_texts: int
    """A word in fewer texts is not looked at."""
    prunings: int
    """How often the rarest words had to be forgotten."""
    most_uncounted: int
    """The most texts that any word's count can lack by that; 0 means that all counts are exact."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an exploration finds."""

    made_at: str
    """UTC, ISO 8601."""
    cleaning_version: int
    total: FileCounts
    files: tuple[FileCounts, ...]
    rejections: tuple[Count, ...]
    classes: tuple[ClassCounts, ...]
    missing: tuple[Count, ...]
    lengths: tuple[Lengths, ...]
    markup: Markup
    star_titles: StarTitles
    future_reviews: int
    """Reviews dated later than made_at; they are in months and years but not in the figure."""
    years: tuple[Period, ...]
    months: tuple[Period, ...]
    categories: tuple[Category, ...]
    uncounted_category_reviews: int
    """Reviews of categories that came when there were already too many to count."""
    vocabulary: VocabularyFacts
    telling_words: tuple[ClassWords, ...]
