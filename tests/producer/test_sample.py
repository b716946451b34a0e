"""The bundled sample is there, and all of it can be published."""

from producer.reading import read_reviews
from producer.sample import sample_path
from reviewpulse.records import Review


def test_every_row_of_the_sample_is_a_review_with_a_rating() -> None:
    outcomes = [outcome for _, outcome in read_reviews([sample_path()], lambda _: None)]
    assert len(outcomes) > 100
    assert all(isinstance(outcome, Review) and outcome.rating for outcome in outcomes)
