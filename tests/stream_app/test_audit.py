"""The comparison as a pure function: streams of records, rows and published records in, differences out."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewpulse.records import Origin, Review, decode_review
from stream_app.audit import Limits, PartitionAudit
from stream_app.checksums import digest
from stream_app.evidence import Published, StoredRow, align, content_of
from stream_app.report import Difference, Fault
from tests.stream_app.fakes import SOURCE


class Record(NamedTuple):
    offset: int
    value: bytes | None


def record(offset: int) -> Record:
    """Return a review, or every fifth time something that is none."""
    return Record(offset, b"{broken" if offset % 5 == 4 else b'{"text": "review %d", "rating": 3}' % offset)


def row(offset: int) -> StoredRow:
    """Return the row that belongs to record(offset)."""
    review = decode_review(record(offset).value)
    if not isinstance(review, Review):
        return StoredRow(offset, None, (), b"a reason", 1_000)
    return StoredRow(offset, Origin(SOURCE, 0, offset).event_id, content_of(review), b"a prediction", 1_000)


def published(offset: int, copies: int = 1) -> Published:
    """Return what was published of record(offset)."""
    if row(offset).is_scored:
        return Published(offset, True, b"a prediction", b"", f"predictions 0/{offset}", copies)
    return Published(offset, False, b"a reason", digest(record(offset).value), f"rejected 0/{offset}", copies)


def all_held(_key: str) -> float:
    """Say that no topic has lost a record."""
    return float("-inf")


def limits(next_offset: int, **changes: object) -> Limits:
    given = Limits(next_offset, lambda: 0, lambda: 0, all_held, all_held, longest_text=1_500, is_complete=False)
    return given._replace(**changes)  # type: ignore[arg-type]


def judged(
    records: Sequence[Record],
    rows: Sequence[StoredRow],
    sayings: Sequence[Published],
    bounds: Limits,
) -> tuple[list[tuple[Fault, int | None]], Counter[str], list[Difference]]:
    tally: Counter[str] = Counter()
    audit = PartitionAudit(SOURCE, 0, bounds, tally)
    found = list(audit.differences(align(records, rows, sayings)))
    return [(difference.fault, difference.offset) for difference in found], tally, found


def all_of(count: int) -> tuple[list[Record], list[StoredRow], list[Published]]:
    return (
        [record(offset) for offset in range(count)],
        [row(offset) for offset in range(count)],
        [published(offset) for offset in range(count)],
    )


@given(st.sets(st.integers(0, 40)), st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_what_is_aligned_is_everything_in_order(sent: set[int], stored: list[int], told: list[int]) -> None:
    aligned = list(
        align(
            [record(offset) for offset in sorted(sent)],
            [row(offset) for offset in sorted(stored)],
            [published(offset) for offset in sorted(told)],
        )
    )

    assert [here.offset for here in aligned] == sorted({*sent, *stored, *told})
    assert [here.offset for here in aligned if here.record] == sorted(sent)
    assert [found.offset for here in aligned for found in here.rows] == sorted(stored)
    assert [found.offset for here in aligned for found in here.published] == sorted(told)


@given(
    count=st.integers(0, 30),
    lost=st.sets(st.integers(0, 29)),
    unpublished=st.sets(st.integers(0, 29)),
    invented=st.sets(st.integers(30, 35)),
    next_offset=st.integers(0, 40),
)
def test_exactly_what_is_missing_or_too_much_is_named(
    count: int, lost: set[int], unpublished: set[int], invented: set[int], next_offset: int
) -> None:
    records, rows, sayings = all_of(count)
    lost, unpublished = ({offset for offset in chosen if offset < count} for chosen in (lost, unpublished))
    rows = [here for here in rows if here.offset not in lost and here.offset < next_offset]
    sayings = [here for here in sayings if here.offset not in unpublished]
    sayings += [published(offset) for offset in sorted(invented)]

    faults, tally, _ = judged(records, rows, sayings, limits(next_offset))

    expected = [(Fault.LOST, offset) for offset in lost if offset < next_offset]
    expected += [(Fault.UNPUBLISHED, offset) for offset in unpublished - lost if offset < next_offset]
    expected += [(Fault.FOREIGN, offset) for offset in invented]
    assert sorted(faults, key=str) == sorted(expected, key=str)
    assert tally["records"] == count
    assert tally["not_yet_processed"] == max(count - next_offset, 0)
    assert tally["scored"] + tally["rejected"] == len(rows)


@pytest.mark.parametrize(("name", "value"), [("text", "x"), ("rating", 2.0), ("title", "t"), ("timestamp", 5)])
def test_each_field_of_a_row_is_compared_and_named(name: str, value: object) -> None:
    records, rows, sayings = all_of(3)
    review = decode_review(records[1].value)
    assert isinstance(review, Review)
    rows[1] = rows[1]._replace(content=content_of(msgspec.structs.replace(review, **{name: value})))

    faults, _, found = judged(records, rows, sayings, limits(3))

    assert faults == [(Fault.DIFFERING, 1)]
    assert f"another {name} than was sent" in found[0].what


def test_a_repeated_prediction_is_counted_and_one_of_them_has_to_say_what_the_row_says() -> None:
    records, rows, _ = all_of(2)
    other = published(1)._replace(said=b"another model's")

    faults, tally, _ = judged(records, rows, [published(0, copies=3), other, published(1)], limits(2))
    assert (faults, tally["repeated"]) == ([], 3)

    faults, _, found = judged(records, rows, [published(0), other], limits(2))
    assert faults == [(Fault.DIFFERING, 1)]
    assert found[0].what == "its row has another prediction than was published as predictions 0/1"


def test_a_review_that_the_model_failed_on_may_be_rejected_with_its_bytes_only() -> None:
    rejected = StoredRow(0, None, (), b"a reason", 1_000)
    told = Published(0, False, b"a reason", digest(record(0).value), "rejected 0/0", 1)

    assert judged([record(0)], [rejected], [told], limits(1))[0] == []
    assert judged([record(0)], [rejected], [], limits(1))[0] == [(Fault.UNPUBLISHED, 0)]
    assert judged([record(0)], [rejected], [told._replace(value=digest(b"else"))], limits(1))[0] == [
        (Fault.DIFFERING, 0)
    ]
    assert judged([record(0)], [rejected], [told._replace(said=b"another")], limits(1))[0] == [(Fault.DIFFERING, 0)]


def test_a_record_that_is_no_review_must_not_be_scored() -> None:
    assert judged([record(4)], [row(3)._replace(offset=4, event_id=Origin(SOURCE, 0, 4).event_id)], [], limits(5))[
        0
    ] == [(Fault.DIFFERING, 4), (Fault.UNPUBLISHED, 4)]


def test_rows_pruned_after_their_time_are_not_lost() -> None:
    records, rows, sayings = all_of(6)

    faults, tally, _ = judged(records, rows[4:], sayings, limits(6, kept_from=lambda: 3))

    assert (faults, tally["pruned"]) == ([(Fault.LOST, 3)], 3)


def test_records_that_kafka_has_deleted_are_no_fault() -> None:
    records, rows, sayings = all_of(6)

    faults, tally, _ = judged(records[4:], rows, sayings, limits(6, held_from=lambda: 3))

    assert (faults, tally["no_longer_in_topic"]) == ([(Fault.FOREIGN, 3)], 3)


def test_predictions_that_kafka_has_deleted_are_no_fault() -> None:
    records, rows, _ = all_of(6)

    faults, tally, _ = judged(records, rows, [], limits(6, predictions_from_ms=lambda _key: 1_000.0))

    assert (faults, tally["no_longer_published"]) == ([(Fault.UNPUBLISHED, 4)], 5)


def test_only_what_has_the_key_of_a_partition_that_was_cut_may_be_gone() -> None:
    records, rows, _ = all_of(6)
    keys = {rows[1].review_id, Origin(SOURCE, 0, 4).event_id}

    def cut(key: str) -> float:
        return float("inf") if key in keys else float("-inf")

    faults, _, _ = judged(records, rows, [], limits(6, predictions_from_ms=cut, rejected_from_ms=cut))

    assert faults == [(Fault.UNPUBLISHED, offset) for offset in (0, 2, 3, 5)]


def test_a_rejection_may_have_been_stored_some_time_after_it_was_published() -> None:
    late = [row(4)._replace(at_ms=at_ms) for at_ms in (1_000, 61_000, 3_601_000)]
    bounds = limits(5, rejected_from_ms=lambda _key: 1_000.0)

    assert [judged([record(4)], [here], [], bounds)[0] for here in late] == [[], [], [(Fault.UNPUBLISHED, 4)]]


def test_a_row_with_the_event_id_of_another_record_is_a_second_row() -> None:
    records, rows, sayings = all_of(3)
    rows[1] = rows[1]._replace(event_id=rows[0].event_id)

    assert judged(records, rows, sayings, limits(3))[0] == [(Fault.DOUBLED, 1)]
    assert judged([*records[:1], *records[2:]], rows, sayings, limits(3))[0] == [(Fault.DOUBLED, 1)]


def test_rows_in_both_tables_are_two_rows_of_one_record() -> None:
    records, rows, sayings = all_of(1)
    twice = [*rows, StoredRow(0, None, (), b"a reason", 1_000)]

    assert (Fault.DOUBLED, 0) in judged(records, twice, sayings, limits(1))[0]


def test_with_complete_nothing_may_be_left() -> None:
    records, _, sayings = all_of(2)

    faults, tally, _ = judged(records, [], sayings, limits(0, is_complete=True))

    assert (faults, tally["in_flight"]) == ([(Fault.LOST, 0), (Fault.LOST, 1)], 2)


@pytest.mark.parametrize(("length", "is_cut"), [(1_499, False), (1_500, True), (1_999, True)])
def test_a_text_may_be_cut_at_the_workers_limit_or_a_larger_one_of_earlier_but_not_before(
    length: int, is_cut: bool
) -> None:
    long = b'{"text": "%s"}' % (b"x" * 2_000)
    review = decode_review(long)
    assert isinstance(review, Review)
    cut = row(0)._replace(content=content_of(msgspec.structs.replace(review, text="x" * length)))

    faults, tally, found = judged([Record(0, long)], [cut], [published(0)], limits(1))

    assert (tally["cut"], faults) == ((1, []) if is_cut else (0, [(Fault.DIFFERING, 0)]))
    assert is_cut or found[0].what == "its row has another text than was sent"


def test_what_was_rejected_though_readable_is_counted() -> None:
    rejected = StoredRow(1, None, (), b"too long", 1_000)
    said = [published(0), Published(1, False, b"too long", digest(record(1).value), "rejected 0/1", 1)]

    faults, tally, _ = judged([record(0), record(1)], [row(0), rejected], said, limits(2))

    assert (faults, tally["rejected_readable"]) == ([], 1)
