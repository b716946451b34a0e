"""How far back a topic reaches, by the keys of its records."""

from typing import NamedTuple

import pytest
from kafka.partitioner.default import murmur2

from stream_app.horizon import Horizon

ALWAYS, NEVER = float("-inf"), float("inf")


class Record(NamedTuple):
    partition: int
    offset: int
    timestamp: int
    key: bytes | None


def key_of(partition: int, partitions: int = 4) -> str:
    """Return a key that Kafka's clients put into this of so many partitions."""
    return next(key for key in map(str, range(1_000)) if (murmur2(key.encode()) & 0x7FFFFFFF) % partitions == partition)


def reach(firsts: dict[int, int], records: list[Record]) -> list[float]:
    """Return from when on a key of each of the four partitions is held."""
    horizon = Horizon(firsts)
    assert list(horizon.watched(records)) == records
    return [horizon.held_from_ms(key_of(partition)) for partition in range(4)]


def kept(partition: int, offset: int, timestamp: int) -> Record:
    return Record(partition, offset, timestamp, key_of(partition).encode())


def test_a_partition_that_is_empty_now_hides_nothing_that_went_to_the_others() -> None:
    records = [kept(0, 0, 50), kept(2, 9, 70), kept(2, 10, 60), kept(0, 1, 90)]

    assert reach({0: 0, 1: 5, 2: 9, 3: 0}, records) == [ALWAYS, NEVER, 70, ALWAYS]


def test_a_topic_that_has_lost_nothing_holds_all() -> None:
    assert reach(dict.fromkeys(range(4), 0), [kept(1, 0, 50)._replace(key=None)]) == [ALWAYS] * 4


def test_records_deleted_between_the_question_and_the_reading_are_seen() -> None:
    assert reach(dict.fromkeys(range(4), 0), [kept(1, 3, 50)]) == [50] * 4


@pytest.mark.parametrize("key", [None, key_of(1).encode(), key_of(3).encode()])
def test_where_keys_do_not_tell_the_partition_the_youngest_beginning_counts(key: bytes | None) -> None:
    records = [kept(0, 2, 50), kept(1, 4, 70), Record(2, 0, 60, key)]

    assert reach({0: 2, 1: 4, 2: 0, 3: 0}, records) == [70] * 4
    assert reach({0: 2, 1: 4, 2: 0, 3: 8}, records) == [NEVER] * 4
