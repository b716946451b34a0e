import itertools
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewpulse.errors import ReviewFileError, TrainingError
from reviewpulse.labels import LABELS
from reviewpulse.progress import SilentProgress
from reviewpulse.records import Review, to_milliseconds
from training.eda.explore import count_files, explore
from training.eda.figures import write_figures
from training.eda.groups import CategoryTally
from training.eda.lengths import spread_of
from training.eda.records import (
    Category,
    ClassCounts,
    Count,
    FileCounts,
    Lengths,
    Markup,
    Period,
    Report,
    Spread,
    StarTitles,
)
from training.eda.report import markdown
from training.eda.summary import summary
from training.eda.words import Vocabulary, log_odds_z

NOW = datetime(2026, 1, 2, tzinfo=UTC)
IN_2019 = to_milliseconds(datetime(2019, 5, 31, 23, tzinfo=UTC))


def file_of(path: Path, rows: Iterable[object]) -> Path:
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else msgspec.json.encode(row) for row in rows))
    return path


def report_of(files: list[Path], tmp_path: Path) -> Report:
    return count_files(files, tmp_path / "repeats.db", now=NOW, progress=SilentProgress())


def counts(name: str, rows: int, reviews: int, unrated: int, *repeats: int) -> FileCounts:
    exact_repeats, repeated_texts, contradictions = repeats or (0, 0, 0)
    return FileCounts(
        name=name,
        rows=rows,
        reviews=reviews,
        unrated=unrated,
        exact_repeats=exact_repeats,
        repeated_texts=repeated_texts,
        contradictions=contradictions,
    )


def test_a_file_named_after_a_category_gives_it_to_its_rows(tmp_path: Path) -> None:
    rows = [{"text": "Good", "rating": 5}, {"text": "Fine", "rating": 4, "category": "Toys"}]

    report = report_of(
        [file_of(tmp_path / "Gift_Cards.jsonl", rows), file_of(tmp_path / "a.jsonl", rows[:1])], tmp_path
    )

    assert {category.name: category.reviews for category in report.categories} == {"Gift_Cards": 1, "Toys": 1}
    assert next(count.count for count in report.missing if count.name == "category") == 1


def test_rows_classes_gaps_and_markup_are_counted(tmp_path: Path) -> None:
    rows = [
        {"text": "Good &amp; cheap", "rating": 5, "title": "Yes", "user_id": "a", "asin": "b"},
        {"text": "Broke<br />at once", "rating": 1, "timestamp": IN_2019, "category": "Toys"},
        {"text": "Fine", "rating": 4.5},
        {"text": "No stars"},
        {"text": "x", "rating": "none of your business"},
        {"text": "y", "rating": "nor of yours"},
        {"text": " "},
        b"{broken",
    ]

    report = report_of([file_of(tmp_path / "a.jsonl", rows)], tmp_path)

    assert report.total == counts("all files", 8, 4, 1)
    assert report.files == (counts("a.jsonl", 8, 4, 1),)
    assert report.rejections == (
        Count("rating is not a number", 2, 0.25),
        Count("no text", 1, 0.125),
        Count("not a JSON object", 1, 0.125),
    )
    expected = zip(LABELS, (1, 0, 0, 0, 2), (0.333333, 0, 0, 0, 0.666667), strict=True)
    assert report.classes == tuple(
        ClassCounts(label=label, reviews=reviews, share=share, texts=reviews, text_share=share)
        for label, reviews, share in expected
    )
    assert report.missing == (
        Count("title", 3, 0.75),
        Count("rating", 1, 0.25),
        Count("user_id", 3, 0.75),
        Count("timestamp", 3, 0.75),
        Count("asin", 3, 0.75),
        Count("category", 3, 0.75),
    )
    assert report.markup == Markup(tags=1, entities=1, cut_texts=0)


def test_titles_that_say_nothing_but_the_stars_are_counted_and_told(tmp_path: Path) -> None:
    titles = ["Five Stars", "five stars!", "&#53; star", "One Star", "Five stars for the price", "", "Good"]
    rows: list[object] = [{"text": f"text {place}", "rating": 5, "title": title} for place, title in enumerate(titles)]
    rows.append({"text": "unrated", "title": "Five Stars"})

    report = report_of([file_of(tmp_path / "a.jsonl", rows)], tmp_path)

    assert report.star_titles == StarTitles(reviews=5, rated=4, telling=3)
    assert any("such as 'Five Stars': 5 (62.5%); in 75.0% of the rated ones" in said for said in summary(report))


def test_repeats_are_found_across_files_and_counted_where_they_stand(tmp_path: Path) -> None:
    first = [{"text": "Works well", "rating": 5, "user_id": "a"}, {"text": "Bad", "rating": 1}]
    second = [
        {"text": "Works well", "rating": 5, "user_id": "a"},
        {"text": "works WELL!", "rating": 5, "user_id": "b"},
        {"text": "Works well.", "rating": 2},
        {"text": "Works, well"},
    ]
    files = [file_of(tmp_path / "a.jsonl", first), file_of(tmp_path / "b.jsonl", second)]

    report = report_of(files, tmp_path)

    assert report.files == (counts("a.jsonl", 2, 2, 0), counts("b.jsonl", 4, 4, 1, 1, 4, 1))
    assert report.total == counts("all files", 6, 6, 1, 1, 4, 1)
    assert [(row.reviews, row.texts) for row in report.classes] == [(1, 1), (1, 0), (0, 0), (0, 0), (3, 1)]


def test_lengths_are_of_the_different_texts_that_a_model_reads(tmp_path: Path) -> None:
    rows = [
        {"text": "two <b>words</b>", "rating": 1},
        {"text": "Two words!", "rating": 1},
        {"title": "Title", "text": "it's a text", "rating": 1},
        {"text": "unrated"},
    ]

    report = report_of([file_of(tmp_path / "a.jsonl", rows)], tmp_path)

    worst, *others, everything = report.lengths
    assert worst == Lengths(
        name="very negative",
        texts=2,
        characters=Spread(mean=14.0, shortest=9, p05=9, p25=9, median=9, p75=19, p95=19, longest=19),
        words=Spread(mean=3.0, shortest=2, p05=2, p25=2, median=2, p75=4, p95=4, longest=4),
    )
    assert others == [Lengths(name=label, texts=0, characters=None, words=None) for label in LABELS[1:]]
    assert (everything.name, everything.texts) == ("all", 3)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_quantiles_are_exact(lengths: list[int]) -> None:
    spread = spread_of(Counter(lengths))

    assert spread
    found = [spread.p05, spread.p25, spread.median, spread.p75, spread.p95]
    assert found == np.quantile(lengths, [0.05, 0.25, 0.5, 0.75, 0.95], method="inverted_cdf").tolist()


def test_time_is_counted_by_month_and_year_and_the_future_told_apart(tmp_path: Path) -> None:
    later = to_milliseconds(datetime(2019, 6, 1, tzinfo=UTC))
    future = to_milliseconds(datetime(2031, 1, 1, tzinfo=UTC))
    moments = [(IN_2019, 5), (IN_2019, 2), (later, None), (future, 3), (None, 1)]
    rows = [{"text": f"t{n}", "timestamp": moment, "rating": stars} for n, (moment, stars) in enumerate(moments)]

    report = report_of([file_of(tmp_path / "a.jsonl", rows)], tmp_path)

    assert report.months == (
        Period(name="2019-05", reviews=2, class_counts=(0, 1, 0, 0, 1), mean_rating=3.5),
        Period(name="2019-06", reviews=1, class_counts=(0, 0, 0, 0, 0), mean_rating=None),
        Period(name="2031-01", reviews=1, class_counts=(0, 0, 1, 0, 0), mean_rating=3.0),
    )
    assert [(year.name, year.reviews, year.mean_rating) for year in report.years] == [
        ("2019", 3, 3.5),
        ("2031", 1, 3.0),
    ]
    assert report.future_reviews == 1


def test_words_that_tell_a_class_are_found_and_words_that_all_use_are_not(tmp_path: Path) -> None:
    habits = {1: "the awful thing", 2: "the meagre thing", 3: "the middling thing", 4: "the nice thing"}
    habits[5] = "the superb thing"
    rows = [{"text": f"{habits[n % 5 + 1]} n{n}", "rating": n % 5 + 1} for n in range(500)]
    rows += [{"text": "alone " * 900, "rating": 5}]

    report = report_of([file_of(tmp_path / "a.jsonl", rows)], tmp_path)

    found = [[word.word for word in words.words] for words in report.telling_words]
    assert found == [["awful"], ["meagre"], ["middling"], ["nice"], ["superb"]]
    best = report.telling_words[0].words[0]
    assert (best.texts, best.share, best.share_elsewhere) == (100, 1.0, 0.0)
    facts = report.vocabulary
    assert (facts.texts, facts.least_texts, facts.prunings, facts.most_uncounted) == (501, 5, 0, 0)


def test_z_scores_are_those_of_the_formula() -> None:
    counts = np.array([[30.0, 10.0], [70.0, 90.0]])  # (words, classes)

    z = log_odds_z(counts, np.array([100.0, 100.0]))

    here, elsewhere = 30 + 20, 10 + 20  # the prior: the word's fifth of all uses, with the weight of a class
    log_odds = np.log(here / (200 - here)) - np.log(elsewhere / (200 - elsewhere))
    first = log_odds / np.sqrt(1 / here + 1 / elsewhere)
    assert z[0] == pytest.approx([first, -first])
    assert (z[1] * z[0] < 0).all()


def test_no_word_tells_a_class_that_is_alone_or_empty() -> None:
    assert not log_odds_z(np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([4.0, 0.0])).any()
    assert not log_odds_z(np.array([[3.0, 1.0]]), np.array([3.0, 1.0])).any()


def test_a_vocabulary_stays_bounded_keeps_common_words_and_says_what_it_lost() -> None:
    vocabulary = Vocabulary(most_words=100)

    for number in range(2_000):
        vocabulary.add(["common", f"rare{number}"], label=number % 2)

    facts = vocabulary.facts()
    assert facts.words <= 100
    assert facts.prunings == facts.most_uncounted > 10
    assert vocabulary._texts["common"] == 2_000


def test_categories_beyond_the_bound_are_counted_together() -> None:
    tally = CategoryTally(most_categories=2)

    for category, rating in [("b", 1), ("a", 5), ("a", 4), ("c", 3), ("a", None), (None, 3)]:
        tally.add(Review(text="t", rating=rating, category=category))

    assert tally.categories(all_reviews=6) == (
        Category(name="a", reviews=3, share=0.5, mean_rating=4.5),
        Category(name="b", reviews=1, share=0.166667, mean_rating=1.0),
    )
    assert tally.uncounted_reviews == 1


def test_the_folder_holds_a_report_and_figures_to_look_at(tmp_path: Path) -> None:
    moments = itertools.cycle([IN_2019, None])
    rows = [{"text": f"word{n % 5} {n}", "rating": n % 5 + 1, "timestamp": next(moments)} for n in range(300)]
    source = file_of(tmp_path / "a.jsonl", rows)

    folder = explore([source], tmp_path / "deep" / "found", now=NOW, progress=SilentProgress())

    assert folder == tmp_path / "deep" / "found"
    assert [path.name for path in folder.parent.iterdir()] == ["found"]
    figures = ["classes.png", "lengths.png", "over_time.png", "words.png"]
    assert sorted(path.name for path in folder.iterdir()) == [*figures[:3], "report.json", "report.md", *figures[3:]]
    report = msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)
    assert report == report_of([source], tmp_path)
    told = (folder / "report.md").read_text()
    assert told == markdown(report)
    for figure in figures:
        start = (folder / figure).read_bytes()[:24]
        assert (start[:8], int.from_bytes(start[16:20], "big")) == (b"\x89PNG\r\n\x1a\n", 1_200)
        assert f"]({figure})" in told


def test_reviews_without_stars_dates_and_words_still_make_a_report_and_figures(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no word\nNo word!\n")

    folder = explore([tmp_path / "a.txt"], tmp_path / "found", now=NOW, progress=SilentProgress())

    told = (folder / "report.md").read_text()
    assert r"| a\.txt | 2 | 0 | 2 | 2 | 0 | 1 | 0 |" in told
    assert "No word tells one class from the others." in told
    assert "No review carries a time." in told
    assert "No review carries a category." in told
    assert len(list(folder.glob("*.png"))) == 4


def test_the_report_holds_words_and_numbers_but_no_text_and_no_markup(tmp_path: Path) -> None:
    rows: list[object] = [{"text": f"secret{n} plan", "rating": n % 5 + 1, "category": "<i>|*a*\n"} for n in range(9)]
    rows += [{"text": "t", "rating": "secret rating"}, {"secret header": "x"}]

    report = report_of([file_of(tmp_path / "<b>_&_`c`|d.jsonl", rows)], tmp_path)

    told = markdown(report)
    assert "secret" not in told
    assert b"secret" not in msgspec.json.encode(report)
    assert r"| \<b\>\_\&\_\`c\`\|d\.jsonl | 11 |" in told
    assert r"| \<i\>\|\*a\* | 9 |" in told


def test_words_in_scripts_that_the_figures_lack_are_drawn_without_a_warning(tmp_path: Path) -> None:
    rows = [{"text": f"很好 {n}" if n % 2 else f"不好 {n}", "rating": 1 + 4 * (n % 2)} for n in range(100)]

    report = report_of([file_of(tmp_path / "a.jsonl", rows)], tmp_path)
    write_figures(report, tmp_path)

    assert [words.words[0].word for words in report.telling_words if words.words] == ["不好", "很好"]
    assert (tmp_path / "words.png").exists()


def test_the_summary_says_what_to_notice(tmp_path: Path) -> None:
    future = to_milliseconds(datetime(2031, 1, 1, tzinfo=UTC))
    rows: list[object] = [{"text": f"fine {n}", "rating": 5, "user_id": "a", "timestamp": IN_2019} for n in range(150)]
    rows += [{"text": f"bad <br> {n}", "rating": 1, "user_id": "a", "timestamp": future} for n in range(50)]
    rows += [{"text": "bad 1", "rating": 2}, {"text": "no stars"}, b"{broken"]

    report = report_of([file_of(tmp_path / "a.jsonl", rows)], tmp_path)

    assert summary(report) == (
        "202 reviews in 1 file.",
        "Rows that are no review: 1 of 203 (0.5%), most often for: not a JSON object. They are passed over.",
        "Reviews without a rating: 1 (0.5%). No class can be learned from them.",
        "There is no 'neutral' review at all.",
        "There is no 'positive' review at all.",
        "'very positive' is 150.0 times as frequent as 'negative'. Always answering 'very positive' would be right "
        "for 74.6% of the rated reviews: judge a model by macro-F1, not by accuracy.",
        "Different texts that are 'very negative': 50. So few make figures for this class shaky.",
        "Different texts that are 'negative': 0. So few make figures for this class shaky.",
        "Reviews that repeat an earlier text: 1 (0.5%); reviews that are exact repeats: 0. Training keeps each text "
        "once. Repeated texts with another class than the first: 1.",
        "Reviews without a date: 2 (1.0%). They cannot be held out as the newest ones.",
        "Reviews without a customer: 2 (1.0%). The split cannot keep together what one person wrote.",
        "Reviews dated later than this report: 50. Check the clock they came from.",
        "Half of the texts have at most 2 words, 95% at most 2. A word is one token or more; a model reads the first "
        "--max-tokens of them.",
        "HTML tags stand in 24.8% of the reviews, HTML entities in 0.0%; cleaning resolves them.",
    )


def test_a_folder_that_exists_is_never_touched(tmp_path: Path) -> None:
    source = file_of(tmp_path / "a.jsonl", [{"text": "t"}])
    (tmp_path / "found").mkdir()

    with pytest.raises(TrainingError, match=r"found exists already.*--into"):
        explore([source], tmp_path / "found", now=NOW, progress=SilentProgress())

    assert not list((tmp_path / "found").iterdir())


def test_files_without_a_review_are_refused_with_the_reasons_and_leave_nothing(tmp_path: Path) -> None:
    source = file_of(tmp_path / "a.jsonl", [{"text": ""}, {"stars": 5}, {"text": " "}])

    with pytest.raises(TrainingError, match=r"none of the 3 rows .* no text \(2\), fields of no known form \(1\)"):
        explore([source], tmp_path / "found", now=NOW, progress=SilentProgress())

    assert list(tmp_path.iterdir()) == [source]


def test_a_damaged_second_file_leaves_nothing(tmp_path: Path) -> None:
    first = file_of(tmp_path / "a.jsonl", [{"text": "t"}])
    second = file_of(tmp_path / "b.jsonl.gz", [b"no gzip"])

    with pytest.raises(ReviewFileError, match=r"b\.jsonl\.gz is damaged"):
        explore([first, second], tmp_path / "found", now=NOW, progress=SilentProgress())

    assert sorted(tmp_path.iterdir()) == [first, second]


def test_a_place_that_cannot_be_written_is_named_with_the_cure(tmp_path: Path) -> None:
    source = file_of(tmp_path / "a.jsonl", [{"text": "t"}])

    with pytest.raises(TrainingError, match=r"cannot write .*found.*--into"):
        explore([source], source / "found", now=NOW, progress=SilentProgress())
