"""What a published record and its row say has one checksum, whatever it is and on whichever store."""

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewpulse.labels import LABELS, Label
from reviewpulse.records import (
    LATEST_TIMESTAMP,
    Origin,
    Probabilities,
    Rejected,
    Review,
    decode_scored,
    scored,
)
from reviewpulse.schema import connect, predictions, rejections
from stream_app.batch import Outcome
from stream_app.checksums import prediction_checksum, reason_checksum
from stream_app.store import PredictionStore
from stream_app.stored import PREDICTED, StoredRows
from stream_app.topics import rejection_headers
from tests.stream_app.fakes import NOW, SOURCE

Answer = tuple[Probabilities, Label, tuple[str, str], datetime]

names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)
reviews = st.builds(
    Review,
    text=st.just("x"),
    review_id=names,
    rating=st.none() | st.floats(1, 5),
    timestamp=st.none() | st.integers(0, LATEST_TIMESTAMP),
)
answers: st.SearchStrategy[Answer] = st.tuples(
    st.tuples(*[st.floats(0, 1).map(abs)] * 5),  # no negative nought: SQLite does not keep the sign
    st.sampled_from(LABELS),
    st.tuples(names, names),
    st.datetimes(timezones=st.just(UTC)),
)


def test_no_store_changes_a_prediction_or_a_reason(store_url: str) -> None:
    engine = connect(store_url, writable=True)
    store, offsets = PredictionStore(engine), iter(range(0, 1_000_000, 2))
    source_id = store.register(SOURCE)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(reviews, answers, st.text(max_size=600))
    def check(review: Review, answer: Answer, reason: str) -> None:
        origin = Origin(SOURCE, 0, next(offsets))
        said, rejected = scored(review, *answer, origin), Rejected(b"{", reason)
        beside = Origin(SOURCE, 0, origin.offset + 1)
        store.write(source_id, Outcome([(origin, review, said)], [(beside, rejected)]), NOW, {})

        *_, row, rejection = StoredRows(engine, SOURCE).rows(0, below=origin.offset + 2)

        assert row.said == prediction_checksum(decode_scored(said.encode()))
        assert rejection.said == reason_checksum(dict(rejection_headers(beside, rejected))["reason"].decode())

    check()
    engine.dispose()


def test_each_column_counts(sqlite_url: str) -> None:
    engine = connect(sqlite_url, writable=True)
    origin, review = Origin(SOURCE, 0, 0), Review(text="x", review_id="r", rating=3, timestamp=7)
    said = scored(review, (0.1, 0.1, 0.1, 0.1, 0.6), "very positive", ("m", "1"), NOW, origin)
    store = PredictionStore(engine)
    rejected = (Origin(SOURCE, 0, 1), Rejected(b"{", "why"))
    store.write(store.register(SOURCE), Outcome([(origin, review, said)], [rejected]), NOW, {})
    seen = [[prediction_checksum(said), reason_checksum("why")]]

    for table, name in [*((predictions, name) for name in PREDICTED), (rejections, "reason")]:
        with engine.begin() as connection:
            connection.execute(table.update().values({name: 9}))
        seen.append([row.said for row in StoredRows(engine, SOURCE).rows(0, below=2)])

    assert len({tuple(checksums) for checksums in seen}) == len(PREDICTED) + 2
    engine.dispose()
