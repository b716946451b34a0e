"""Publishing through a real broker: everything arrives, and a broker that vanishes is reported row by row."""

import gzip
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaConsumer

from producer.publish import PublishOptions, run
from producer.sample import sample_path
from reviewpulse.broker import client_options
from reviewpulse.embedded import EmbeddedBroker
from reviewpulse.errors import BrokerError
from reviewpulse.records import Review, decode_review
from reviewpulse.settings import KafkaSettings, ProducerSettings


def received(kafka: KafkaSettings, expected: int) -> list[tuple[bytes, Review]]:
    """Return (key, review) of what is on the topic, waiting a little for the expected number."""
    consumer = KafkaConsumer(
        kafka.reviews_topic, auto_offset_reset="earliest", consumer_timeout_ms=3000, **client_options(kafka)
    )
    try:
        records = []
        for record in consumer:
            review = decode_review(record.value)
            assert isinstance(review, Review)
            records.append((record.key, review))
            if len(records) == expected:
                break
        return records
    finally:
        consumer.close()


def reviews_file(path: Path, count: int) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.writelines(b'{"text": "review %d"}\n' % number for number in range(count))
    return path


def test_the_sample_arrives_whole_each_review_under_its_id(kafka: KafkaSettings, tmp_path: Path) -> None:
    settings = ProducerSettings(rejects_file=str(tmp_path / "rejects.jsonl"))
    report = run([sample_path()], kafka, settings, PublishOptions())
    records = received(kafka, report.sent)
    assert (report.delivered, report.rejected, report.exit_code) == (report.sent, 0, 0)
    assert len(records) == report.sent
    assert all(key.decode() == review.review_id for key, review in records)


def test_a_broker_that_vanishes_is_reported_and_the_rest_can_be_sent_to_the_next_one(tmp_path: Path) -> None:
    path = reviews_file(tmp_path / "many.jsonl.gz", 30_000)
    settings = ProducerSettings(delivery_seconds=3, rejects_file=str(tmp_path / "rejects.jsonl"))
    with EmbeddedBroker() as broker:
        kafka = KafkaSettings(broker=broker.address)
        threading.Timer(1, broker.stop).start()
        report = run([path], kafka, settings, PublishOptions(rate_per_second=2000))
    assert report.exit_code == 1
    assert report.outage == "no confirmation within 3 s"
    assert 0 < report.delivered < report.sent < 30_000
    assert report.seconds < 20
    kept = [msgspec.json.decode(line) for line in report.undelivered_file.read_bytes().splitlines()]
    assert len(kept) == report.undelivered == report.sent - report.delivered
    assert report.last_place == f"{path}:{report.sent}"
    with EmbeddedBroker() as broker:
        kafka = KafkaSettings(broker=broker.address)
        again = run([report.undelivered_file], kafka, settings, PublishOptions())
        texts = Counter(review.text for _, review in received(kafka, again.sent))
    assert texts == Counter(row["text"] for row in kept)


def test_no_broker_is_an_error_that_names_the_address(tmp_path: Path) -> None:
    kafka = KafkaSettings(broker="127.0.0.1:9", connect_seconds=1)
    with pytest.raises(BrokerError, match=r"no Kafka answers at 127\.0\.0\.1:9"):
        run([reviews_file(tmp_path / "a.jsonl.gz", 1)], kafka, ProducerSettings(), PublishOptions())


@pytest.mark.parametrize(("loop", "exit_code"), [(False, 130), (True, 0)])
def test_ctrl_c_delivers_what_was_sent_and_nothing_is_miscounted(tmp_path: Path, loop: bool, exit_code: int) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from producer.publish import PublishOptions, run
        from reviewpulse.stopping import stop_on_signals
        from reviewpulse.settings import KafkaSettings, ProducerSettings
        with stop_on_signals() as stop:
            print("ready", flush=True)
            report = run([Path(sys.argv[1])], KafkaSettings(broker=sys.argv[2]), ProducerSettings(),
                         PublishOptions(rate_per_second=1000, loop=sys.argv[3] == "True"), stop=stop)
        print(report.sent, report.delivered)
        sys.exit(report.exit_code)
    """)
    path = reviews_file(tmp_path / "a.jsonl.gz", 100 if loop else 100_000)
    with EmbeddedBroker() as broker:
        command = [sys.executable, "-c", program, str(path), broker.address, str(loop)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Timer(3, os.kill, (process.pid, signal.SIGINT)).start()
            output, errors = process.communicate(timeout=60)
        sent, delivered = map(int, output.split())
        arrived = received(KafkaSettings(broker=broker.address), sent)
    assert (process.returncode, errors) == (exit_code, "")
    assert 100 < sent == delivered == len(arrived)
