from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.records import Review
from tests.training.examples import example
from training.corpus import Account, Corpus
from training.example import example_of, text_key
from training.split import Cutoffs, Side, SplitPlan

DAY = 86_400_000
BY_CHANCE = SplitPlan(test_share=0.2, validation_share=0.2, later_share=0)


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with Corpus(tmp_path / "corpus.db") as opened:
        yield opened


def sides(corpus: Corpus) -> dict[str, Side]:
    """Return the side of every text."""
    return {text: side for side in Side for text in corpus.texts(side, with_unlabelled=True)}


def test_a_text_is_kept_once_whatever_its_case_punctuation_and_title(corpus: Corpus) -> None:
    long = "This kettle boils quickly and has never leaked in the two years since we bought it"
    corpus.add(
        [example(f"Good | {long}"), example(f"Nice! | {long.upper()}."), example("Short | one"), example("short")]
    )

    corpus.split(BY_CHANCE)

    assert sorted(sides(corpus)) == [f"Good | {long}", "Short | one", "short"]


def test_a_short_body_under_another_title_is_another_text() -> None:
    assert text_key("Great | Works") != text_key("Awful | Works")
    assert text_key("👍") != text_key("👎")


def test_all_reviews_of_a_customer_are_on_one_side(corpus: Corpus) -> None:
    corpus.add(example(f"text {number}", user_id=f"customer {number % 40}") for number in range(400))

    corpus.split(BY_CHANCE)

    side_of_customer: dict[int, set[Side]] = {}
    for text, side in sides(corpus).items():
        side_of_customer.setdefault(int(text.split()[1]) % 40, set()).add(side)
    assert all(len(of_one) == 1 for of_one in side_of_customer.values())
    assert set().union(*side_of_customer.values()) == set(Side)


def test_training_holds_no_review_as_new_as_those_set_apart_by_time(corpus: Corpus) -> None:
    corpus.add(example(f"text {day}", user_id=f"customer {day}", timestamp=day * DAY) for day in range(1_000))

    cutoffs = corpus.split(SplitPlan(test_share=0.2, validation_share=0.2, later_share=0.5))

    assert cutoffs == Cutoffs(validation=800 * DAY, test=900 * DAY)
    days = {side: [int(text.split()[1]) for text in corpus.texts(side)] for side in Side}
    assert max(days[Side.training]) < 800
    assert set(range(900, 1_000)) <= set(days[Side.test])
    assert set(range(800, 900)) <= set(days[Side.validation])
    assert min(days[Side.test]) < 100  # some by chance, from all years


def test_a_customer_who_wrote_lately_is_set_apart_with_all_earlier_reviews(corpus: Corpus) -> None:
    corpus.add(example(f"text {day}", user_id=f"customer {day}", timestamp=day * DAY) for day in range(100))
    corpus.add([example("early words of a late writer", user_id="customer 99", timestamp=0)])

    corpus.split(SplitPlan(later_share=1.0))

    assert sides(corpus)["early words of a late writer"] is Side.test


def test_rows_for_training_only_never_reach_validation_or_test(corpus: Corpus) -> None:
    corpus.add(example(f"text {number}", user_id=f"c{number}") for number in range(200))
    corpus.add(example(f"restored {number}", user_id=f"c{number}", is_train_only=True) for number in range(200))

    corpus.split(BY_CHANCE)

    found = sides(corpus)
    restored = {text: side for text, side in found.items() if text.startswith("restored")}
    assert set(restored.values()) == {Side.training}
    assert all(found[text.replace("restored", "text")] is Side.training for text in restored)


def test_an_unlabelled_review_is_for_training_only_and_asked_for(corpus: Corpus) -> None:
    corpus.add(example(f"text {number}") for number in range(200))
    corpus.add(example(f"silent {number}", rating=None) for number in range(200))

    corpus.split(BY_CHANCE)

    assert not [text for text in corpus.texts(Side.training) if text.startswith("silent")]
    with_all = list(corpus.texts(Side.training, with_unlabelled=True))
    assert len(with_all) == len(corpus.classes(Side.training, with_unlabelled=True))
    assert {text.startswith("silent") for text in with_all} == {True, False}
    assert not [text for text in corpus.texts(Side.test, with_unlabelled=True) if text.startswith("silent")]


def test_the_seed_moves_customers_and_the_order_of_reading_only_the_hash(corpus: Corpus, tmp_path: Path) -> None:
    examples = [example(f"text {number}", rating=1 + number % 5) for number in range(300)]
    corpus.add(examples)
    with Corpus(tmp_path / "other.db") as other:
        other.add(reversed(examples))
        other.split(BY_CHANCE)
        corpus.split(BY_CHANCE)
        assert sides(other) == sides(corpus)
        assert other.sha256() != corpus.sha256()  # the batches follow the order of reading

        other.split(SplitPlan(test_share=0.2, validation_share=0.2, later_share=0, seed=1))
        assert sides(other) != sides(corpus)


def test_classes_and_categories_stand_in_step_with_the_texts(corpus: Corpus) -> None:
    corpus.add([example("a", rating=1.0, category="Toys"), example("b", rating=2.5), example("c", rating=5.0)])

    corpus.split(SplitPlan(test_share=0, validation_share=0))

    assert list(corpus.texts(Side.training)) == ["a", "b", "c"]
    assert corpus.classes(Side.training).tolist() == [0, 2, 4]
    assert list(corpus.categories(Side.training)) == ["Toys", "unknown", "unknown"]


def test_an_example_is_cleaned_as_the_stream_cleans() -> None:
    review = Review(title="Caf&eacute;", text="so<br />good", rating=4.0, user_id="u", timestamp=7, category="Food")

    assert example_of(review) == ("Café | so good", 4.0, "u", 7, "Food", False)
    assert example_of(review, is_labelled=False).rating is None


def test_every_example_is_accounted_for(corpus: Corpus) -> None:
    corpus.add(example(f"text {day}", user_id=f"customer {day}", timestamp=day * DAY) for day in range(100))
    corpus.add([example("text 1"), example("TEXT 2")])
    corpus.add([])
    corpus.add([example("unrated", rating=None), example("new", is_train_only=True, timestamp=100 * DAY)])

    corpus.split(SplitPlan(test_share=0.2, validation_share=0.1, later_share=1))

    assert corpus.account() == Account(
        training=70, unlabelled=1, validation=10, test=20, train_only=0, left_out=1, repeats=2
    )


def test_ctrl_c_while_the_sides_are_chosen_is_no_full_disk(corpus: Corpus) -> None:
    def interrupted(_text: bytes, _customer: bytes) -> Side:
        raise KeyboardInterrupt

    corpus.add([example("text")])

    with pytest.raises(KeyboardInterrupt):
        corpus.assign(interrupted, tests_among_first=1)
    assert corpus.count() == 1


def test_an_account_may_be_of_the_first_examples_alone(corpus: Corpus) -> None:
    corpus.add([example("mine"), example("for training", is_train_only=True)])
    corpus.add([example("known"), example("MINE")])

    corpus.assign(lambda _text, customer: Side.test if customer else Side.training, tests_among_first=2)

    assert corpus.account(first=2)._replace(repeats=0) == Account(0, 0, 0, 1, train_only=1, left_out=0, repeats=0)
    assert corpus.account() == Account(0, 0, 0, 1, train_only=1, left_out=1, repeats=1)
