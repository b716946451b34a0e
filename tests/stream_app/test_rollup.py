"""Whether a roll-up can be that of the rows."""

import pytest

from stream_app.rollup import Rollup, StarsCount, Total

FIVE = StarsCount(5, counted=Total(10, 6.0), rows=Total(10, 6.0))
TWO = StarsCount(2, counted=Total(4, 2.0), rows=Total(4, 2.0))


def faults(*by_stars: StarsCount, most_pruned: int = 0) -> list[str]:
    return list(Rollup(by_stars, most_pruned).faults())


def test_equal_counts_add_up_and_sums_need_not_be_equal_to_the_last_bit() -> None:
    many = StarsCount(5, Total(10**7, 6e6), Total(10**7, 6e6 + 1e-4))

    assert faults() == faults(TWO, FIVE) == faults(many) == []


@pytest.mark.parametrize("most_pruned", [0, 100])
def test_a_row_that_is_not_counted_is_a_fault_though_rows_were_pruned(most_pruned: int) -> None:
    assert faults(TWO, FIVE._replace(counted=Total(9, 5.4)), most_pruned=most_pruned) == [
        "with 5 stars sentiment_by_second counts 9, predictions has 10 rows"
    ]


def test_no_more_may_be_without_a_row_than_were_pruned() -> None:
    without = FIVE._replace(rows=Total(7, 4.5))

    assert faults(TWO, without, most_pruned=3) == []
    assert faults(TWO, without, most_pruned=2) == [
        "sentiment_by_second counts 3 without a row, of which 2 may have been pruned"
    ]


@pytest.mark.parametrize("confidence", [5.99, 6.01, -1.0, 1e300, float("nan")])
def test_a_sum_of_confidences_that_is_not_that_of_the_rows_is_a_fault(confidence: float) -> None:
    (fault,) = faults(TWO, FIVE._replace(counted=Total(10, confidence)))

    assert fault.startswith("with 5 stars sentiment_by_second has a sum of confidences of")


@pytest.mark.parametrize(("confidence", "is_well"), [(5.99, False), (6.0, True), (9.0, True), (9.01, False)])
def test_what_was_pruned_had_a_confidence_between_nought_and_one(confidence: float, is_well: bool) -> None:
    pruned = FIVE._replace(counted=Total(13, confidence))

    assert (faults(pruned, most_pruned=3) == []) is is_well
