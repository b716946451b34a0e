"""The line from topic to store with a worker in its own process, on both brokers."""

import gzip
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from producer.sample import sample_path
from reviewpulse.broker import connect_admin, ensure_topics
from reviewpulse.classifier import available_device
from reviewpulse.settings import KafkaSettings
from tests.integration.processes import Desk, wait_until

REAL_REVIEWS = Path(__file__).parents[3] / "shared" / "data" / "Gift_Cards.jsonl.gz"


@pytest.fixture
def desk(tmp_path: Path, kafka: KafkaSettings, tiny_checkpoint: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, kafka, tiny_checkpoint)
    yield desk
    desk.clear()


@pytest.fixture(scope="session")
def thousands_of_reviews(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Return a file of real reviews and how many it holds; where there is none, the sample nine times over."""
    if REAL_REVIEWS.exists():
        return REAL_REVIEWS, 3_942
    path = tmp_path_factory.mktemp("reviews") / "reviews.jsonl"
    path.write_text(sample_path().read_text() * 9)
    return path, len(path.read_text().splitlines())


def test_every_review_of_a_file_ends_in_the_store_and_in_the_predictions(
    desk: Desk, thousands_of_reviews: tuple[Path, int]
) -> None:
    path, count = thousands_of_reviews
    with desk.worker():
        code, output = desk.run("publish", str(path))
        assert (code, f"{count:,} of {count:,}" in output) == (0, True), output
        wait_until(lambda: desk.count("predictions") >= count, f"{count} rows")

    assert desk.count("predictions") == count
    assert desk.count("rejections") == 0
    event_ids = [headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)]
    assert (len(event_ids), len(set(event_ids))) == (count, count)
    assert {row[0] for row in desk.query("SELECT event_id FROM predictions")} == set(event_ids)
    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(count,)]
    assert desk.query("SELECT sum(high_watermark - next_offset) FROM offsets") == [(0,)]


def test_broken_records_among_reviews_end_in_the_rejected_topic_untouched(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    broken = [b"{broken", b"\xff\xfe\x00", b'{"title": "no text"}', b'{"text": "x", "rating": 11}', b""]
    good = [b'{"text": "good %d"}' % number for number in range(20)]
    desk.send(*good[:10], *broken, *good[10:])

    with desk.worker() as worker:
        wait_until(lambda: desk.count("predictions") + desk.count("rejections") >= 25, "25 rows")

    assert "stopped; scored 20 reviews, rejected 5\n" in desk.output_of(worker)
    assert re.search(f"loaded checkpoint .* on {available_device('auto')}\n", desk.output_of(worker))
    assert (desk.count("predictions"), desk.count("rejections")) == (20, 5)
    rejected = desk.records(desk.kafka.rejected_topic)
    assert sorted(value or b"" for value, _ in rejected) == sorted(broken)
    assert all(headers["reason"] and headers["source_topic"] == desk.kafka.reviews_topic for _, headers in rejected)
    places = {(int(headers["source_partition"]), int(headers["source_offset"])) for _, headers in rejected}
    assert places == set(desk.query('SELECT "partition", "offset" FROM rejections'))


def test_broken_lines_of_a_file_end_in_the_rejects_file(desk: Desk) -> None:
    lines = [b'{"text": "good", "rating": 5}', b"{broken", b'{"rating": 5, "title": "x", "text": ""}']
    (desk.folder / "mixed.jsonl").write_bytes(b"\n".join([*lines, b'{"text": "fine", "rating": 9}']))

    with desk.worker():
        code, output = desk.run("publish", "mixed.jsonl")
        wait_until(lambda: desk.count("predictions") >= 1, "a row")

    assert (code, desk.count("predictions")) == (0, 1), output
    rejects = [json.loads(line) for line in (desk.folder / "rejects.jsonl").read_text().splitlines()]
    assert [(reject["file"], reject["line"]) for reject in rejects] == [
        ("mixed.jsonl", 2),
        ("mixed.jsonl", 3),
        ("mixed.jsonl", 4),
    ]


def test_a_killed_worker_loses_nothing_and_stores_nothing_twice(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    desk.send(*(b'{"text": "review %d"}' % number for number in range(5_000)))
    for kill_at in (1, 1_000):
        process = desk.start("work", REVIEWPULSE_BATCH_REVIEWS="16")
        wait_until(lambda at=kill_at: desk.count("predictions") >= at, f"{kill_at} rows")  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert desk.count("predictions") < 5_000, "the kill came too late to prove anything"

    with desk.worker():
        wait_until(lambda: desk.count("predictions") >= 5_000, "5,000 rows")

    assert desk.count("predictions") == 5_000
    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(5_000,)]
    event_ids = {headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)}
    assert len(event_ids) == 5_000


def test_a_topic_made_anew_is_read_from_its_start_by_the_running_worker(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    desk.send(*(b'{"text": "old %d"}' % number for number in range(200)))
    with desk.worker() as worker:
        wait_until(lambda: desk.count("predictions") >= 200, "200 rows")
        client = connect_admin(desk.kafka)
        client.delete_topics([desk.kafka.reviews_topic])
        client.close()
        make_topics_again(desk.kafka)
        desk.send(*(b'{"text": "new %d"}' % number for number in range(100)))
        wait_until(lambda: len(desk.query("SELECT text FROM predictions WHERE text LIKE 'new%'")) >= 100, "the new")

    assert desk.count("predictions") == 300
    assert desk.count("sources") == 2
    assert "Traceback" not in desk.output_of(worker)


def make_topics_again(kafka: KafkaSettings) -> None:
    """Make the topics, again and again until Kafka has forgotten the deleted one."""

    def is_made() -> bool:
        ensure_topics(kafka)
        client = connect_admin(kafka)
        (topic,) = client.describe_topics([kafka.reviews_topic])
        client.close()
        return bool(topic["error_code"] == 0)

    wait_until(is_made, "the topic is there again", seconds=20)


def test_a_worker_that_joins_and_leaves_under_load_loses_nothing_and_stores_nothing_twice(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    reviews = [b'{"text": "review %d"}' % number for number in range(3_000)]
    settings = {"REVIEWPULSE_BATCH_REVIEWS": "16"}
    with desk.worker(**settings) as first:
        desk.send(*reviews[:1_500])
        wait_until(lambda: desk.count("predictions") >= 16, "a batch")
        with desk.worker(**settings) as second:
            wait_until(lambda: desk.is_reading(second), "the second worker reads")
            desk.send(*reviews[1_500:2_500])
            wait_until(lambda: desk.count("predictions") >= 2_500, "2,500 rows")
        desk.send(*reviews[2_500:])
        wait_until(lambda: desk.count("predictions") >= 3_000, "3,000 rows")

    assert desk.count("predictions") == 3_000
    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(3_000,)]
    assert len({headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)}) == 3_000
    assert desk.scored_by(first) + desk.scored_by(second) == 3_000
    assert min(desk.scored_by(first), desk.scored_by(second)) > 0


def test_the_workers_option_runs_so_many_and_stops_them_in_order(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    with desk.worker("--workers", "2") as process:
        desk.send(*(b'{"text": "review %d"}' % number for number in range(500)))
        wait_until(lambda: desk.count("predictions") >= 500, "500 rows")

    assert desk.count("predictions") == 500
    assert desk.output_of(process).count("stopped; scored") == 2
    assert "Traceback" not in desk.output_of(process)


def test_when_one_of_two_workers_is_killed_the_other_is_stopped_and_the_command_fails(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    process = desk.start("work", "--workers", "2")
    wait_until(lambda: "processes" in desk.output_of(process), "the workers are started")
    pids = [int(pid) for pid in re.findall(r"processes (\d+), (\d+)", desk.output_of(process))[0]]

    os.kill(pids[0], signal.SIGKILL)

    assert process.wait(60) == 1
    assert f"process {pids[0]} ended with exit code -9" in desk.output_of(process)
    assert not Path(f"/proc/{pids[1]}").exists()


def test_without_kafka_the_worker_says_where_it_looked_and_what_to_do(tmp_path: Path, tiny_checkpoint: Path) -> None:
    nowhere = KafkaSettings(broker="127.0.0.1:1")
    code, output = Desk(tmp_path, nowhere, tiny_checkpoint).run("work", REVIEWPULSE_CONNECT_SECONDS="0.5")

    assert code == 1
    assert output.startswith("error: no Kafka answers at 127.0.0.1:1")
    assert "reviewpulse broker" in output


def test_a_file_that_was_cut_short_is_named_and_what_came_before_is_delivered(desk: Desk) -> None:
    whole = gzip.compress(
        b"".join(b'{"text": "review %d %s"}\n' % (n, os.urandom(40).hex().encode()) for n in range(2_000))
    )
    (desk.folder / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])

    with desk.worker():
        code, output = desk.run("publish", "cut.jsonl.gz")
        wait_until(lambda: desk.count("predictions") > 500, "some hundred rows")

    assert code == 1
    assert "cut.jsonl.gz" in output


def test_a_worker_told_to_stop_in_the_middle_stops_at_once_and_the_next_goes_on(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    desk.send(*(b'{"text": "review %d"}' % number for number in range(2_000)))
    with desk.worker(REVIEWPULSE_BATCH_REVIEWS="8"):
        wait_until(lambda: desk.count("predictions") >= 8, "a batch")
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert desk.count("predictions") < 2_000, "the stop came too late to prove anything"

    with desk.worker():
        wait_until(lambda: desk.count("predictions") >= 2_000, "2,000 rows")

    event_ids = [headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)]
    assert (len(event_ids), len(set(event_ids))) == (2_000, 2_000)


def test_large_records_that_wait_in_the_topic_do_not_fill_the_memory(desk: Desk) -> None:
    record = b'{"text": "%s"}' % (b"long " * 180_000)  # 0.9 MB
    worker = desk.start_stub(STUB_SECONDS="0.3", REVIEWPULSE_BATCH_REVIEWS="16")
    process = psutil.Process(worker.pid)
    wait_until(lambda: desk.is_reading(worker), "the worker reads")
    before, most = process.memory_info().rss, 0
    desk.send(*[record] * 240, spread=True)

    def is_done() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return desk.count("predictions") >= 240

    wait_until(is_done, "240 rows")
    assert (most - before) / 1e6 < 120, "216 MB waited in the topic"
