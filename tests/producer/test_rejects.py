"""What did not get through lands in files that can be read, and sent, again."""

from pathlib import Path

import msgspec
import pytest

from producer.rejects import Ledger, Place, RejectedRow, free_name, raw_of, rejected_row
from reviewpulse.errors import ReviewFileError
from reviewpulse.files import Row, read_rows
from reviewpulse.forms import review_from_row
from reviewpulse.records import Review, review_from_fields


def test_nothing_lost_leaves_no_files(tmp_path: Path) -> None:
    with Ledger(tmp_path / "rejects.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_rejected_row_is_kept_with_its_place_and_bytes(tmp_path: Path) -> None:
    with Ledger(tmp_path / "rejects.jsonl") as ledger:
        ledger.reject(rejected_row(Place("a.csv", 3), b"caf\xe9", "not UTF-8"))
    row = msgspec.json.decode((tmp_path / "rejects.jsonl").read_bytes(), type=RejectedRow)
    assert row == RejectedRow("a.csv", 3, "not UTF-8", "caf\\xe9")


def test_rejects_of_an_earlier_run_are_kept(tmp_path: Path) -> None:
    for line in (1, 2):
        with Ledger(tmp_path / "rejects.jsonl") as ledger:
            ledger.reject(rejected_row(Place("a.csv", line), b"", ""))
    for number, name in ((1, "rejects.jsonl"), (2, "rejects-2.jsonl")):
        assert [row.fields["line"] for row in read_rows(tmp_path / name) if isinstance(row, Row)] == [number]


def test_an_undelivered_review_can_be_published_from_its_file_unchanged(tmp_path: Path) -> None:
    review = review_from_fields({"text": "loud", "rating": 5.0, "timestamp": 1_440_979_200_000, "asin": "B1"})
    assert isinstance(review, Review)
    with Ledger(tmp_path / "rejects.jsonl") as ledger:
        ledger.lose(review, Place("a.csv", 7), "no confirmation")
    (row,) = read_rows(tmp_path / "undelivered.jsonl")
    assert isinstance(row, Row)
    assert (row.fields["file"], row.fields["line"], row.fields["reason"]) == ("a.csv", 7, "no confirmation")
    assert review_from_row(row.fields) == review


def test_undelivered_reviews_never_replace_a_file(tmp_path: Path) -> None:
    for name in ("undelivered.jsonl", "undelivered-2.jsonl"):
        (tmp_path / name).write_text("kept")
    assert free_name(tmp_path / "undelivered.jsonl") == tmp_path / "undelivered-3.jsonl"


def test_a_rejects_file_that_cannot_be_written_is_an_error_with_the_cure(tmp_path: Path) -> None:
    with (
        Ledger(tmp_path / "no" / "rejects.jsonl") as ledger,
        pytest.raises(ReviewFileError, match="set REVIEWPULSE_REJECTS_FILE"),
    ):
        ledger.reject(rejected_row(Place("a.csv", 1), b"", ""))


def test_fields_of_any_kind_have_a_raw_form() -> None:
    assert raw_of({"a": float("nan"), "b": 1j}) == b'{"a":null,"b":"1j"}'
