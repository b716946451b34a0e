import logging

import pytest

from stream_app.outages import FoldClients, Outages


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outages(clock: Clock, caplog: pytest.LogCaptureFixture) -> Outages:
    caplog.set_level(logging.WARNING)
    return Outages(clock)


def live(clock: Clock, outages: Outages, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        outages.look()


def test_one_line_when_it_begins_one_a_minute_one_when_it_ends(
    clock: Clock, outages: Outages, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(150):
        outages.fails("a batch", ConnectionError("broker is away"))
        outages.fails("the progress", ConnectionError("nobody listens"))
        live(clock, outages, 1)
    outages.works("the progress")
    outages.works("a batch")
    live(clock, outages, 300)

    assert caplog.messages == [
        "outage: broker is away; trying again until it is over",
        "outage: lasts for 60 s by now: broker is away",
        "outage: lasts for 120 s by now: broker is away",
        "the outage is over after 150 s",
    ]


def test_an_outage_lasts_until_every_part_works_again(clock: Clock, outages: Outages) -> None:
    outages.fails("a batch", TimeoutError())
    outages.fails("the progress", TimeoutError())
    clock.now += 5
    outages.works("a batch")
    assert outages.seconds == 5
    outages.works("the progress")
    assert outages.seconds is None


def record(name: str, message: str, *args: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord(name, level, "file.py", 1, message, args, None)


def test_what_the_client_says_of_an_outage_is_counted_in_its_lines(
    clock: Clock, outages: Outages, caplog: pytest.LogCaptureFixture
) -> None:
    fold = FoldClients(outages, clock)
    talk = record("aiokafka", "Unable connect to node with id %s: %s", 1, "refused")
    outages.fails("a batch", ConnectionError("broker is away"))
    assert not any(fold.filter(talk) for _ in range(600))
    live(clock, outages, 60)
    assert not fold.filter(record("kafka.net.manager", "anything"))
    outages.works("a batch")

    assert caplog.messages[1:] == [
        "outage: lasts for 60 s by now: broker is away (the Kafka client said so in 600 lines)",
        "the outage is over after 60 s (the Kafka client said so in 1 lines)",
    ]


def test_what_the_client_says_of_its_connection_without_an_outage_is_told_a_little_later_and_once_a_minute(
    clock: Clock, outages: Outages, caplog: pytest.LogCaptureFixture
) -> None:
    fold = FoldClients(outages, clock)
    for _ in range(100):
        fold.filter(record("aiokafka", "Unable connect to node with id %s: %s", 1, "certificate verify failed"))
        live(clock, outages, 1)

    assert caplog.messages == [
        "the Kafka client reports: Unable connect to node with id 1: certificate verify failed (and 9 lines like it)",
        "the Kafka client reports: Unable connect to node with id 1: certificate verify failed (and 59 lines like it)",
    ]


def test_an_unknown_message_passes_and_its_repetitions_once_a_minute_with_their_number(
    clock: Clock, outages: Outages
) -> None:
    fold = FoldClients(outages, clock)
    shown = []
    for number in range(130):
        one = record("aiokafka.consumer", "the disk of node %s is on fire", number)
        if fold.filter(one):
            shown.append(one.getMessage())
        clock.now += 1

    assert shown == [
        "the disk of node 0 is on fire",
        "the disk of node 60 is on fire (and 59 more like it)",
        "the disk of node 120 is on fire (and 59 more like it)",
    ]


def test_our_own_messages_and_other_libraries_pass_untouched(outages: Outages) -> None:
    fold = FoldClients(outages)
    ours = [record(name, "Heartbeat is ours") for name in ("stream_app.worker", "kafkaesque", "model", "root")]

    assert all(fold.filter(one) for one in ours * 3)


def test_a_rebalance_is_no_complaint(clock: Clock, outages: Outages, caplog: pytest.LogCaptureFixture) -> None:
    fold = FoldClients(outages, clock)

    assert not fold.filter(record("aiokafka", "Heartbeat failed for group %s because it is rebalancing", "x"))
    live(clock, outages, 100)
    assert caplog.messages == []
