"""Every review that was sent is either confirmed or reported as undelivered, and waiting has an end."""

import logging

from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, TopicAuthorizationFailedError

from producer.rejects import Place
from producer.sender import MOST_IN_FLIGHT, Sender
from reviewpulse.records import Review
from tests.producer.fakes import FakeClock, FakeDelivery, FakeKafka

Lost = list[tuple[str, str, str]]


def make_sender(kafka: FakeKafka, lost: Lost, clock: FakeClock | None = None) -> Sender:
    def on_undelivered(review: Review, place: Place, reason: str) -> None:
        lost.append((review.text, str(place), reason))

    return Sender(kafka, "reviews", 60, on_undelivered, clock=clock or FakeClock())


def send(sender: Sender, *numbers: int) -> None:
    for number in numbers:
        sender.send(Review(text=f"text {number}", review_id=f"id {number}"), Place("a.jsonl", number))


def test_a_review_travels_under_its_id_to_the_topic() -> None:
    kafka = FakeKafka()
    send(make_sender(kafka, []), 1)
    assert kafka.sent == [("reviews", b"id 1", Review(text="text 1", review_id="id 1"))]


def test_a_review_counts_as_delivered_only_when_confirmed() -> None:
    kafka = FakeKafka(lambda *_: None)
    sender = make_sender(kafka, [])
    send(sender, 1, 2)
    assert (sender.sent, sender.delivered, sender.undelivered) == (2, 0, 0)
    kafka.deliveries[0].confirm()
    send(sender, 3)
    assert (sender.sent, sender.delivered, sender.undelivered) == (3, 1, 0)


def test_a_failed_delivery_is_reported_with_its_place_and_is_an_outage() -> None:
    kafka = FakeKafka(lambda delivery, n: delivery.fail(KafkaTimeoutError("x")) if n == 1 else delivery.confirm())
    lost: Lost = []
    sender = make_sender(kafka, lost)
    send(sender, 1, 2, 3)
    sender.settle()
    assert lost == [("text 2", "a.jsonl:2", "no confirmation within 60 s")]
    assert (sender.sent, sender.delivered, sender.undelivered) == (2, 1, 1)  # the third is not sent any more
    assert sender.outage == "no confirmation within 60 s"


def test_a_review_that_is_too_large_is_lost_without_an_outage() -> None:
    def refuse(_delivery: FakeDelivery, number: int) -> None:
        if number == 0:
            raise MessageSizeTooLargeError("2000000 bytes")

    def refuse_once(delivery: FakeDelivery, number: int) -> None:
        delivery.confirm()
        if not lost:
            refuse(delivery, number)

    lost: Lost = []
    sender = make_sender(FakeKafka(refuse_once), lost)
    send(sender, 1, 2)
    sender.settle()
    assert [row[:2] for row in lost] == [("text 1", "a.jsonl:1")]
    assert (sender.sent, sender.delivered, sender.outage) == (2, 1, None)


def test_a_refusal_is_an_outage_in_kafkas_words() -> None:
    kafka = FakeKafka(lambda delivery, _: delivery.fail(TopicAuthorizationFailedError("reviews")))
    sender = make_sender(kafka, [])
    send(sender, 1)
    sender.settle()
    assert sender.outage is not None
    assert "TopicAuthorizationFailedError" in sender.outage


def test_waiting_for_reports_that_never_come_ends() -> None:
    kafka, clock = FakeKafka(lambda *_: None), FakeClock(step_seconds=0.1)
    lost: Lost = []
    sender = make_sender(kafka, lost, clock)
    send(sender, *range(100))
    sender.settle()
    assert (sender.sent, sender.delivered, sender.undelivered, len(lost)) == (100, 0, 100, 100)
    assert clock.now < 100


def test_the_reviews_in_flight_are_bounded_and_an_outage_ends_the_sending() -> None:
    kafka, clock = FakeKafka(lambda *_: None), FakeClock(step_seconds=0.001)
    sender = make_sender(kafka, [], clock)
    send(sender, *range(MOST_IN_FLIGHT))
    assert (sender.undelivered, sender.outage) == (0, None)
    assert sender.send(Review(text="one too many"), Place("a.jsonl", 0)) is False
    assert (sender.sent, sender.undelivered, len(kafka.sent)) == (MOST_IN_FLIGHT, 1, MOST_IN_FLIGHT)


def test_urgency_ends_the_wait_and_still_counts_what_was_confirmed() -> None:
    kafka = FakeKafka(lambda delivery, number: delivery.confirm() if number == 1 else None)
    lost: Lost = []
    sender = Sender(kafka, "reviews", 60, lambda r, p, w: lost.append((r.text, str(p), w)), is_urgent=lambda: True)
    send(sender, 1, 2)
    sender.settle()
    assert [row[0] for row in lost] == ["text 1"]
    assert sender.delivered == 1


def test_kafkas_own_log_is_silent_only_while_sending_and_only_by_default() -> None:
    from producer.sender import silent_kafka_log

    logger = logging.getLogger("kafka")
    logger.setLevel(logging.NOTSET)
    with silent_kafka_log():
        assert logger.level == logging.CRITICAL
    assert logger.level == logging.NOTSET
    logger.setLevel(logging.INFO)
    try:
        with silent_kafka_log():
            assert logger.level == logging.INFO
    finally:
        logger.setLevel(logging.NOTSET)
