from reviewpulse.records import Origin, Rejected, Review, TextLimit
from stream_app.batch import Message, Outcome, decode_batch, unseen
from tests.stream_app.fakes import SOURCE, review_bytes


def test_every_message_becomes_a_review_or_a_reject() -> None:
    messages = [Message(0, 7, review_bytes("fine", review_id="a")), Message(1, 0, b"{broken"), Message(1, 1, None)]

    decoded = decode_batch(SOURCE, messages, TextLimit())

    assert decoded.reviews == [(Origin(SOURCE, 0, 7), Review(text="fine", review_id="a"))]
    assert [(origin.partition, origin.offset, record.raw) for origin, record in decoded.rejected] == [
        (1, 0, b"{broken"),
        (1, 1, None),
    ]


def test_a_partition_without_stored_rows_is_unseen_from_its_start() -> None:
    assert unseen([Message(3, 0, b"x")], {0: 9}) == [Message(3, 0, b"x")]


def test_next_offsets_cover_scored_and_rejected_records() -> None:
    outcome = Outcome(
        [],
        [
            (Origin(SOURCE, 0, 4), Rejected(b"", "r")),
            (Origin(SOURCE, 0, 3), Rejected(b"", "r")),
            (Origin(SOURCE, 2, 0), Rejected(b"", "r")),
        ],
    )

    assert outcome.next_offsets == {0: 5, 2: 1}
