from hypothesis import given
from hypothesis import strategies as st

from reviewpulse.records import Review
from training.corpus import build_corpus


def review(text: str, rating: float | None = 5, user_id: str | None = None) -> Review:
    return Review(text=text, rating=rating, user_id=user_id)


def test_a_text_is_kept_once_whatever_its_case_and_markup() -> None:
    corpus = build_corpus([review("Good &amp; cheap"), review("good & cheap<br />", 1)], validation_share=0.0, seed=0)

    assert corpus.training.texts == ["Good & cheap"]
    assert corpus.training.classes == [4]


def test_a_review_without_rating_is_left_out() -> None:
    assert build_corpus([review("x", None)], validation_share=0.5, seed=0).training.texts == []


@given(
    st.lists(st.tuples(st.text("abc", min_size=1, max_size=4), st.integers(0, 5)), max_size=60),
    st.integers(0, 3),
)
def test_no_customer_and_no_text_stands_on_both_sides(rows: list[tuple[str, int]], seed: int) -> None:
    reviews = [review(f"{text} by {user}", user_id=str(user)) for text, user in rows]
    users = {f"{text} by {user}": user for text, user in rows}

    corpus = build_corpus(reviews, validation_share=0.4, seed=seed)

    sides = [set(corpus.training.texts), set(corpus.validation.texts)]
    assert not sides[0] & sides[1]
    assert not {users[text] for text in sides[0]} & {users[text] for text in sides[1]}
    assert sides[0] | sides[1] == set(users)


def test_the_split_and_the_hash_depend_on_data_and_seed_alone() -> None:
    reviews = [review(f"text {number}") for number in range(200)]

    first, again = (build_corpus(reviews, validation_share=0.2, seed=1) for _ in range(2))
    other = build_corpus(reviews, validation_share=0.2, seed=2)

    assert first == again
    assert first.validation.texts != other.validation.texts
    assert first.sha256 == other.sha256
    assert 20 <= len(first.validation.texts) <= 60
