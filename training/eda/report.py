"""An exploration as Markdown, to be read by people; what comes from the files stands in it as plain text."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from training.eda.records import FileCounts, Lengths, Report, TellingWord
from training.eda.summary import shown_share, summary
from training.eda.words import LEAST_Z

SHOWN_YEARS: Final = 40
SHOWN_CATEGORIES: Final = 40

_MARKUP: Final = re.compile(r"([!\"#$%&()*+./:;<=>?@\[\\\]^_`{|}~])")


def markdown(report: Report) -> str:
    """Return report.md; the figures are named as training.eda.figures writes them."""
    sections = (
        _head(report),
        _files(report),
        _classes(report),
        _missing(report),
        _lengths(report),
        _time(report),
        _categories(report),
        _words(report),
    )
    return "\n\n".join(sections) + "\n"


def plain(text: str) -> str:
    r"""Return text that Markdown renders as itself.

    >>> plain("<b>a|b</b>_1.csv")
    '\\<b\\>a\\|b\\<\\/b\\>\\_1\\.csv'
    """
    return _MARKUP.sub(r"\\\1", text)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Return a table; the columns after the first text_columns hold numbers and stand flush right."""
    rule = ("---",) * text_columns + ("---:",) * (len(header) - text_columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _stars(mean_rating: float | None) -> str:
    return "" if mean_rating is None else f"{mean_rating:.2f}"


def _head(report: Report) -> str:
    findings = "\n".join(f"- {finding}" for finding in summary(report))
    return f"# What is in these reviews\n\nMade {report.made_at}.\n\n{findings}"


def _files(report: Report) -> str:
    header = ("file", "rows", "no review", "reviews", "unrated", "exact repeats", "repeated texts", "contradictions")
    files = (*report.files, report.total) if len(report.files) > 1 else report.files
    section = f"## Files\n\n{_table(header, map(_file_cells, files))}"
    if report.rejections:
        cells = ([row.name, f"{row.count:,}", shown_share(row.share)] for row in report.rejections)
        section += f"\n\n{_table(('why a row is no review', 'rows', 'of all rows'), cells)}"
    return (
        f"{section}\n\nAn exact repeat has a review_id that came before (where a file has none, it is derived from "
        "customer, product, time and text). A repeated text differs from an earlier one at most in case, spaces, "
        "punctuation or, if it is long, its title; a contradiction is one that carries another class. The first one "
        "may be in an earlier file."
    )


def _file_cells(file: FileCounts) -> list[str]:
    numbers = (file.rows, file.rejected, file.reviews, file.unrated)
    repeats = (file.exact_repeats, file.repeated_texts, file.contradictions)
    return [plain(file.name), *(f"{number:,}" for number in (*numbers, *repeats))]


def _classes(report: Report) -> str:
    header = ("class", "rated reviews", "share", "different texts", "share of texts")
    rows = (
        [row.label, f"{row.reviews:,}", shown_share(row.share), f"{row.texts:,}", shown_share(row.text_share)]
        for row in report.classes
    )
    return f"## Classes\n\n![Rated reviews of each class](classes.png)\n\n{_table(header, rows)}"


def _missing(report: Report) -> str:
    rows = ([plain(row.name), f"{row.count:,}", shown_share(row.share)] for row in report.missing)
    markup = report.markup
    held = (
        ("HTML tags", markup.tags),
        ("HTML entities", markup.entities),
        ("a title that says nothing but the stars", report.star_titles.reviews),
        ("more text than cleaning looks at", markup.cut_texts),
    )
    found = ([name, f"{count:,}", shown_share(count / report.total.reviews)] for name, count in held)
    return (
        f"## Missing fields and markup\n\n{_table(('field', 'reviews without it', 'share'), rows)}\n\n"
        f"{_table(('before cleaning', 'reviews', 'share'), found)}"
    )


def _lengths(report: Report) -> str:
    header = ("class", "texts", "shortest", "5%", "25%", "median", "75%", "95%", "longest", "mean")
    words = _table(header, (_length_cells(row, in_words=True) for row in report.lengths))
    characters = _table(header, (_length_cells(row, in_words=False) for row in report.lengths))
    return (
        "## Lengths\n\n![Length of the texts of each class](lengths.png)\n\n"
        f"Words:\n\n{words}\n\nCharacters:\n\n{characters}\n\n"
        "Of different texts, title and text together and cleaned, as a model reads them. 5% of the texts are no "
        "longer than the column 5% says, and so on."
    )


def _length_cells(row: Lengths, *, in_words: bool) -> list[str]:
    spread = row.words if in_words else row.characters
    if spread is None:
        return [row.name, "0", *[""] * 8]
    quantiles = (spread.p05, spread.p25, spread.median, spread.p75, spread.p95)
    counts = (row.texts, spread.shortest, *quantiles, spread.longest)
    return [row.name, *(f"{count:,}" for count in counts), f"{spread.mean:,.1f}"]


def _time(report: Report) -> str:
    if not report.years:
        return "## Over time\n\nNo review carries a time."
    cells = ([year.name, f"{year.reviews:,}", _stars(year.mean_rating)] for year in report.years[-SHOWN_YEARS:])
    left_out = max(len(report.years) - SHOWN_YEARS, 0)
    note = f"\n\n{left_out} earlier years are in report.json only." if left_out else ""
    return (
        "## Over time\n\n![Reviews and mean stars over time](over_time.png)\n\n"
        f"{_table(('year (UTC)', 'reviews', 'mean stars'), cells)}{note}\n\nMonths are in report.json."
    )


def _categories(report: Report) -> str:
    if not report.categories:
        return "## Categories\n\nNo review carries a category."
    shown = report.categories[:SHOWN_CATEGORIES]
    cells = ([plain(row.name), f"{row.reviews:,}", shown_share(row.share), _stars(row.mean_rating)] for row in shown)
    notes = []
    if len(report.categories) > SHOWN_CATEGORIES:
        notes.append(f"The {SHOWN_CATEGORIES} largest of {len(report.categories):,}; report.json has all.")
    if report.uncounted_category_reviews:
        notes.append(
            f"{report.uncounted_category_reviews:,} reviews are of categories that came when "
            f"{len(report.categories):,} were already counted."
        )
    section = f"## Categories\n\n{_table(('category', 'reviews', 'share', 'mean stars'), cells)}"
    return "\n\n".join((section, " ".join(notes))) if notes else section


def _words(report: Report) -> str:
    header = ("", *(row.label for row in report.telling_words))
    most = max(len(row.words) for row in report.telling_words)
    rows = (
        [f"{rank + 1}", *(_word_cell(row.words[rank : rank + 1]) for row in report.telling_words)]
        for rank in range(most)
    )
    section = "## Most telling words\n\n"
    if most:
        section += f"![Most telling words of each class](words.png)\n\n{_table(header, rows, len(header))}"
    else:
        section += "No word tells one class from the others."
    facts = report.vocabulary
    section += (
        f"\n\nIn brackets z, how surely a class uses a word more than the other classes together; {LEAST_Z} and more "
        "is shown, which one word in forty reaches by chance. Log-odds ratio with an informative Dirichlet prior "
        "(Monroe, Colaresi and Quinn, 2008). A word counts once a text; "
        f"words in fewer than {facts.least_texts} of the {facts.texts:,} different rated texts are left out. "
        "The figure's font lacks some scripts and shows their words as boxes."
    )
    if facts.prunings:
        section += (
            f" There were more words than are kept: {facts.prunings} times the rarest were forgotten, so the count "
            f"of a word may lack up to {facts.most_uncounted:,} texts."
        )
    return section


def _word_cell(words: Sequence[TellingWord]) -> str:
    return ", ".join(f"{plain(word.word)} ({word.z:.1f})" for word in words)
