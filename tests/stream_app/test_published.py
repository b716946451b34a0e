"""Sorting out what was published: of the checked source, of another one, of none."""

import hashlib
from collections import Counter
from typing import NamedTuple

import pytest

from reviewpulse.records import Origin, Rejected, Review, Source, decode_scored, scored
from stream_app.checksums import digest, prediction_checksum, reason_checksum
from stream_app.published import PublishedTable, Saying, Sorting, Sources
from stream_app.report import Difference, Fault
from stream_app.topics import prediction_headers, rejection_headers
from tests.stream_app.fakes import NOW, SOURCE

EARLIER = Source(SOURCE.cluster_id, SOURCE.topic, "topic-id-0")
ELSEWHERE = Source(SOURCE.cluster_id, "other reviews", "topic-id-9")


class Record(NamedTuple):
    partition: int
    offset: int
    value: bytes | None
    headers: list[tuple[str, bytes]]


def prediction(source: Source, label: str = "very positive", offset: int = 5) -> Record:
    origin = Origin(source, 1, offset)
    said = scored(Review(text="x"), (0.1, 0.1, 0.1, 0.1, 0.6), "very positive", ("m", "1"), NOW, origin)
    value = said.encode().replace(b'"label":"very positive"', b'"label":"%s"' % label.encode())
    return Record(2, 7, value, prediction_headers(origin))


WITHOUT_ZONE = (prediction(SOURCE).value or b"").replace(b"2026-01-02T03:04:05Z", b"0001-01-01T00:00:00")


def rejection(value: bytes | None, *more: tuple[str, bytes]) -> Record:
    return Record(0, 3, value, [*rejection_headers(Origin(SOURCE, 1, 5), Rejected(value, "why")), *more])


def sorting() -> tuple[Sorting, Counter[str], list[Difference]]:
    tally, found = Counter[str](), list[Difference]()
    return Sorting(Sources(SOURCE, [EARLIER]), "said", tally, found.append), tally, found


def test_a_prediction_of_the_source_is_taken() -> None:
    sort, tally, found = sorting()
    record = prediction(SOURCE)
    said = prediction_checksum(decode_scored(record.value or b""))

    assert list(sort.predictions([record])) == [Saying(1, 5, True, said, b"", "said 2/7")]
    assert (tally, found) == ({"predictions": 1}, [])


@pytest.mark.parametrize("source", [EARLIER, ELSEWHERE])
def test_predictions_of_other_sources_are_counted_apart(source: Source) -> None:
    sort, tally, found = sorting()

    assert list(sort.predictions([prediction(source)])) == []
    assert (tally["of_other_sources"], found) == (1, [])


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (prediction(Source("c", SOURCE.topic, "nobody's")), Fault.FOREIGN),
        (prediction(SOURCE)._replace(headers=[]), Fault.FOREIGN),
        (prediction(SOURCE)._replace(headers=[("event_id", None)]), Fault.FOREIGN),  # type: ignore[list-item]
        (prediction(SOURCE)._replace(value=b"{"), Fault.FOREIGN),
        (prediction(SOURCE)._replace(value=b"\xff"), Fault.FOREIGN),
        (prediction(SOURCE)._replace(value=WITHOUT_ZONE), Fault.FOREIGN),
        (prediction(SOURCE, offset=2**64), Fault.FOREIGN),
        (prediction(SOURCE, label="neutral"), Fault.DIFFERING),
    ],
)
def test_a_prediction_of_nothing_is_named_with_its_place(record: Record, fault: Fault) -> None:
    sort, _, found = sorting()

    assert list(sort.predictions([record])) == []
    assert [(one.fault, one.topic, one.partition, one.offset) for one in found] == [(fault, "said", 2, 7)]


def test_a_rejection_is_known_by_its_bytes_or_by_their_checksum() -> None:
    sort, _, found = sorting()
    checksum = hashlib.sha256(b"large").hexdigest().encode()

    sayings = list(sort.rejections([rejection(b"{"), rejection(None), rejection(None, ("value_sha256", checksum))]))

    assert [saying.value for saying in sayings] == [digest(b"{"), digest(None), digest(b"large")]
    assert {saying.said for saying in sayings} == {reason_checksum("why")}
    assert found == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("source_partition", b"x"), ("source_offset", b"1")],
        [("value_sha256", b"z")],
        [header for header in rejection_headers(Origin(SOURCE, 1, 5), Rejected(b"{", "why")) if header[0] != "reason"],
    ],
)
def test_a_rejection_without_its_headers_is_named(headers: list[tuple[str, bytes]]) -> None:
    sort, _, found = sorting()

    assert list(sort.rejections([rejection(b"{")._replace(headers=headers)])) == []
    assert [one.fault for one in found] == [Fault.FOREIGN]


def test_equal_sayings_are_counted_and_those_that_differ_are_kept_in_order_of_their_places() -> None:
    first, other = Saying(0, 1, True, b"5 stars", b"", "a"), Saying(0, 1, True, b"4 stars", b"", "b")
    later = Saying(0, 9, False, b"why", b"{", "c")
    with PublishedTable() as table:
        table.add([later, first, other, first, first._replace(partition=3)])

        told = [(said.offset, said.is_scored, said.said, said.copies) for said in table.of_partition(0)]
        assert told == [(1, True, b"4 stars", 1), (1, True, b"5 stars", 2), (9, False, b"why", 1)]
        assert table.partitions() == {0, 3}
