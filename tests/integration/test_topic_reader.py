"""Reading what a topic holds, on both brokers."""

import contextlib

import pytest
from kafka import KafkaProducer

from reviewpulse.broker import client_options, ensure_topics
from reviewpulse.embedded import EmbeddedBroker
from reviewpulse.errors import BrokerError
from reviewpulse.settings import KafkaSettings
from stream_app.topic_reader import MOST_RECORDS, TopicReader
from tests.brokers import fresh_topics


@pytest.fixture
def topic(kafka: KafkaSettings) -> str:
    ensure_topics(kafka)
    return kafka.reviews_topic


def send(kafka: KafkaSettings, partitions: list[int], filling: bytes = b"") -> None:
    """Send records 0, 1, 2 ... to these partitions, each a millisecond after the one before."""
    with contextlib.closing(KafkaProducer(**client_options(kafka))) as producer:
        for number, partition in enumerate(partitions):
            moment_ms = 1_700_000_000_000 + number
            producer.send(kafka.reviews_topic, b"%d" % number + filling, partition=partition, timestamp_ms=moment_ms)
        producer.flush()


def test_an_empty_topic_has_ends_and_no_records_however_often_it_is_asked(kafka: KafkaSettings, topic: str) -> None:
    with TopicReader(kafka, topic) as reader:
        assert reader.ends() == dict.fromkeys(range(4), 0)
        assert reader.ends() == dict.fromkeys(range(4), 0)
        assert list(reader.all_records()) == list(reader.newest_last()) == list(reader.records(0)) == []


def test_all_of_a_partition_is_read_in_order_again_and_again(kafka: KafkaSettings, topic: str) -> None:
    count = MOST_RECORDS + 10
    send(kafka, [2] * count)

    with TopicReader(kafka, topic) as reader:
        assert reader.ends() == {0: 0, 1: 0, 2: count, 3: 0}
        for _ in range(2):
            assert [record.offset for record in reader.records(2)] == list(range(count))
        assert [record.offset for record in reader.records(2, start=count - 3)] == list(range(count - 3, count))
        assert len(list(reader.all_records())) == count
        assert len(list(reader.all_records({2: count - 4}))) == 4
        assert reader.first_offsets() == dict.fromkeys(range(4), 0)


def test_the_newest_of_all_partitions_come_last(kafka: KafkaSettings, topic: str) -> None:
    partitions = [0] * 50 + [1, 2, 0, 3, 3, 1] * 20 + [2] * 50
    send(kafka, partitions)

    with TopicReader(kafka, topic) as reader:
        read = [(record.timestamp, record.partition, record.value) for record in reader.newest_last()]

    assert sorted(read) == read
    assert sorted(int(value) for _, _, value in read) == list(range(len(partitions)))


def test_so_many_that_no_client_holds_them_at_once_are_read_by_their_times(kafka: KafkaSettings, topic: str) -> None:
    """A client that paused partitions stopped after some 2,400 of these: it never handed over what it had fetched."""
    count = 12_000
    send(kafka, [number * number % 7 % 4 for number in range(count)], filling=b"x" * 500)

    with TopicReader(kafka, topic) as reader:
        read = [int(record.value.rstrip(b"x")) for record in reader.newest_last()]

    assert read == list(range(count))


def test_a_broker_that_goes_away_is_an_error_soon(kafka: KafkaSettings) -> None:
    with EmbeddedBroker() as broker:
        gone = fresh_topics(broker.address).model_copy(update={"connect_seconds": 1.0})
        ensure_topics(gone)
        reader = TopicReader(gone, gone.reviews_topic)
    with pytest.raises(BrokerError):
        reader.ends()
    reader.close()
    with pytest.raises(BrokerError, match="no Kafka answers"):
        TopicReader(gone, gone.reviews_topic)


def test_a_topic_that_is_not_there_is_named(kafka: KafkaSettings) -> None:
    with pytest.raises(BrokerError, match="there is no topic"):
        TopicReader(kafka, "nowhere")
