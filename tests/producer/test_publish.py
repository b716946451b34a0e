"""A publication sends what the files hold, in order and at the pace, and its report adds up."""

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka.errors import KafkaTimeoutError

from producer.publish import Publication, PublishOptions, check_request
from producer.rejects import Ledger
from producer.report import PublishReport
from producer.sender import Sender
from reviewpulse.errors import ReviewFileError, SettingsError
from reviewpulse.progress import Status
from reviewpulse.settings import ProducerSettings
from reviewpulse.stopping import Stop
from tests.producer.fakes import FakeClock, FakeKafka


class Shown(list[Status]):
    """A progress that remembers."""

    def show(self, status: Status) -> None:
        self.append(status)


def publish(
    files: list[Path],
    kafka: FakeKafka,
    *,
    stop: Stop | None = None,
    clock: FakeClock | None = None,
    progress: Shown | None = None,
    **options: Any,
) -> PublishReport:
    clock, stop = clock or FakeClock(), stop or Stop()
    with Ledger(files[0].with_name("rejects.jsonl")) as ledger:
        sender = Sender(kafka, "reviews", 60, ledger.lose, lambda: stop.is_urgent, clock)
        publication = Publication(files, PublishOptions(**options), sender, ledger, stop, clock, clock.sleep)
        return publication.run(progress if progress is not None else Shown())


def texts_file(path: Path, *texts: str) -> Path:
    path.write_text("\n".join(texts))
    return path


def stop_after(stop: Stop, reviews: int) -> FakeKafka:
    def confirm_and_stop(delivery: Any, number: int) -> None:
        delivery.confirm()
        stop.requests += number + 1 == reviews

    return FakeKafka(confirm_and_stop)


def test_files_go_out_whole_and_in_order(tmp_path: Path) -> None:
    kafka = FakeKafka()
    files = [texts_file(tmp_path / "b.txt", "one", "two"), texts_file(tmp_path / "a.txt", "three")]
    report = publish(files, kafka)
    assert kafka.texts == ["one", "two", "three"]
    assert (report.sent, report.delivered, report.rejected, report.undelivered, report.exit_code) == (3, 3, 0, 0, 0)


def test_the_category_of_a_2023_file_comes_from_its_name(tmp_path: Path) -> None:
    kafka = FakeKafka()
    publish([texts_file(tmp_path / "Gift_Cards.jsonl", '{"text": "ok"}')], kafka)
    assert kafka.sent[0][2].category == "Gift_Cards"


def test_rejected_rows_are_written_down_and_are_no_failure(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", '{"text": "ok"}', "nonsense", '{"text": "ok", "rating": 7}')
    report = publish([path], FakeKafka())
    rows = [msgspec.json.decode(line) for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines()]
    assert [(row["line"], row["reason"]) for row in rows][1] == (3, "rating 7 is not 1 to 5")
    assert rows[0] == {"file": str(path), "line": 2, "reason": rows[0]["reason"], "raw": "nonsense"}
    assert (report.delivered, report.rejected, report.exit_code) == (1, 2, 0)
    assert report.lines()[1:] == [
        "rejected 2 rows that are no review, most often for not a JSON object (1); "
        f"they and the reasons: {tmp_path}/rejects.jsonl"
    ]


def test_a_file_without_any_review_is_a_failure_that_names_the_commonest_reason(tmp_path: Path) -> None:
    """It looked like success: nothing of nothing sent, exit code 0."""
    rows = ["R1,lovely,5,2020-01-01", "R2,awful,1,2020-01-02", "R3,awful,1"]
    report = publish([texts_file(tmp_path / "mine.csv", "review_id,body,stars,when", *rows)], FakeKafka())
    assert (report.sent, report.rejected, report.exit_code) == (0, 3, 1)
    assert report.lines()[1:] == [
        "rejected 3 rows that are no review, most often for fields of no known form (2); "
        f"they and the reasons: {tmp_path}/rejects.jsonl",
        "no row of the files is a review, most often for fields of no known form (2); "
        "the README names the columns that are read",
    ]


def test_a_limit_counts_reviews_that_were_sent(tmp_path: Path) -> None:
    kafka = FakeKafka()
    report = publish([texts_file(tmp_path / "a.jsonl", "bad", *['{"text": "ok"}'] * 5)], kafka, limit=2)
    assert (report.sent, report.rejected, report.exit_code) == (2, 1, 0)


def test_a_loop_begins_again_and_rejects_only_once(tmp_path: Path) -> None:
    kafka = FakeKafka()
    report = publish([texts_file(tmp_path / "a.jsonl", "bad", '{"text": "ok"}')], kafka, loop=True, limit=5)
    assert (report.sent, report.rejected) == (5, 1)


def test_a_loop_over_nothing_ends_with_a_fault(tmp_path: Path) -> None:
    report = publish([texts_file(tmp_path / "a.jsonl", "bad", "bad")], FakeKafka(), loop=True)
    assert (report.sent, report.rejected, report.exit_code) == (0, 2, 1)
    assert report.fault == "there is no review in the files; --loop has nothing to repeat"


def test_a_rate_is_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    report = publish([texts_file(tmp_path / "a.txt", *"abcdefghijk")], FakeKafka(), clock=clock, rate_per_second=2)
    assert report.seconds == pytest.approx(5.0)


def test_reviews_own_times_are_kept_by_a_speedup(tmp_path: Path) -> None:
    rows = [msgspec.json.encode({"text": "a", "timestamp": 10**12 + 60_000 * n}).decode() for n in range(3)]
    report = publish([texts_file(tmp_path / "a.jsonl", *rows)], FakeKafka(), speedup=60)
    assert report.seconds == pytest.approx(2.0)


def test_ctrl_c_ends_a_file_early_with_130_and_says_where(tmp_path: Path) -> None:
    stop = Stop()
    path = texts_file(tmp_path / "a.txt", "one", "two", "three")
    report = publish([path], stop_after(stop, reviews=2), stop=stop)
    assert (report.sent, report.delivered, report.exit_code) == (2, 2, 130)
    assert report.lines()[-1] == f"stopped after {path}:2; the rows behind it were not sent"


def test_ctrl_c_is_how_a_loop_ends_well(tmp_path: Path) -> None:
    stop = Stop()
    report = publish([texts_file(tmp_path / "a.txt", "one")], stop_after(stop, reviews=7), stop=stop, loop=True)
    assert (report.sent, report.delivered, report.exit_code) == (7, 7, 0)


def test_ctrl_c_is_noticed_while_waiting_for_the_pace(tmp_path: Path) -> None:
    stop, clock = Stop(), FakeClock()
    report = publish(
        [texts_file(tmp_path / "a.txt", "one", "two")],
        stop_after(stop, reviews=1), stop=stop, clock=clock, rate_per_second=0.001,
    )  # fmt: skip
    assert report.sent == 1
    assert clock.now < 1


@pytest.mark.parametrize(("presses", "waits"), [(1, True), (2, False)])
def test_ctrl_c_waits_for_delivery_reports_and_a_second_one_does_not(tmp_path: Path, presses: int, waits: bool) -> None:
    def interrupt(_delivery: object, _number: int) -> None:
        stop.requests += presses

    stop = Stop()
    path = texts_file(tmp_path / "a.txt", "one", "two")
    report = publish([path], FakeKafka(interrupt), stop=stop, clock=FakeClock(step_seconds=1))
    assert (report.sent, report.undelivered, report.exit_code) == (1, 1, 1)
    assert (report.seconds > 60) is waits


def test_an_outage_ends_the_sending_and_every_unconfirmed_review_is_kept(tmp_path: Path) -> None:
    kafka = FakeKafka(lambda delivery, n: delivery.confirm() if n < 2 else delivery.fail(KafkaTimeoutError("gone")))
    path = texts_file(
        tmp_path / "a.jsonl", *(f'{{"text": "text {number}"}}' for number in range(9)), "not read any more"
    )
    report = publish([path], kafka)
    assert (report.delivered, report.sent, report.exit_code) == (2, 2 + report.undelivered, 1)
    assert (report.undelivered < 7, report.rejected) == (True, 0)
    kept = [msgspec.json.decode(line) for line in (tmp_path / "undelivered.jsonl").read_bytes().splitlines()]
    assert [(row["file"], row["line"], row["text"]) for row in kept] == [
        (str(path), number + 1, f"text {number}") for number in range(2, report.sent)
    ]
    told = report.lines()
    assert told[1].startswith(f"NOT confirmed by Kafka: {report.undelivered} reviews ({path}:3")
    assert told[-1] == f"stopped after {path}:{report.sent}; the rows behind it were not sent"


def test_a_damaged_file_is_a_fault_after_its_last_good_row(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n")[:-6])
    report = publish([path], FakeKafka())
    assert (report.delivered, report.exit_code) == (2, 1)
    assert report.fault == f"{path} ends in the middle, after row 2; download it again"


def test_progress_is_bytes_of_all_files_or_reviews_of_a_limit(tmp_path: Path) -> None:
    files = [texts_file(tmp_path / name, *["text"] * 1000) for name in ("a.txt", "b.txt")]
    whole, limited, endless = Shown(), Shown(), Shown()
    publish(files, FakeKafka(), clock=FakeClock(step_seconds=0.01), progress=whole)
    publish(files, FakeKafka(), clock=FakeClock(step_seconds=0.01), progress=limited, limit=500)
    publish(files, FakeKafka(), clock=FakeClock(step_seconds=0.01), progress=endless, limit=None, loop=False)
    size_bytes = sum(path.stat().st_size for path in files)
    assert {status.total for status in whole} == {size_bytes}
    assert [status.done for status in whole] == sorted(status.done for status in whole)
    assert whole[-1].done > size_bytes * 0.8
    assert {status.total for status in limited} == {500}
    assert limited[-1].note.endswith("/s")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"limit": 0}, "--limit 0 must be 1 or more"), ({"rate_per_second": 1.0, "speedup": 1.0}, "exclude each other")],
)
def test_options_that_make_no_sense_are_refused_before_anything_else(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        check_request([tmp_path / "missing.txt"], ProducerSettings(), PublishOptions(**options))


def test_a_second_file_that_is_missing_shows_before_the_first_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ReviewFileError, match=r"missing\.txt"):
        check_request(
            [texts_file(tmp_path / "a.txt", "one"), tmp_path / "missing.txt"], ProducerSettings(), PublishOptions()
        )


def test_the_rejects_file_is_never_one_of_the_files_being_read(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "rejects.jsonl", "x")
    with pytest.raises(SettingsError, match="would be overwritten"):
        check_request([path], ProducerSettings(rejects_file=str(path)), PublishOptions())
